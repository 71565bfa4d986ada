package Trifecta::Bench::Program;

# Runs a program of bench/ that prints its own table, with the release build.

use strict;
use warnings;

use Trifecta::Bench::Deadline qw(child);

sub run {
    my ($env, $name, @args) = @_;
    return '### ' . join(' ', $name, @args) . "\n\n```\n"
        . output($env, $name, @args) . "```\n\n";
}


sub output {
    my ($env, $name, @args) = @_;
    my $root = $env->{root};

    local $ENV{TRIFECTA_BIN} = $ENV{TRIFECTA_BIN}
        // "$root/build/release/trifecta";
    local $ENV{TRIFECTA_MODULE} = $ENV{TRIFECTA_MODULE}
        // "$root/build/release/ngx_http_trifecta_module.so";

    my $pid = open my $fh, '-|', "$root/bench/$name", @args
        or die "bench/$name: $!\n";
    child($pid);
    my $out = do { local $/; <$fh> } // '';
    close $fh or die "bench/$name failed\n$out";

    return $out;
}

1;
