package Trifecta::Bench::Load;

# Runs bench/load/, which make builds as build/bench/load.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP qw(decode_json);

use Trifecta::Bench::Deadline qw(child);

our @EXPORT_OK = qw(load programs);

my $root;


# Builds what is written in C.  $root is the folder of the sources.

sub programs {
    ($root) = @_;
    system('make', '-s', '-C', $root, 'bench-build') == 0
        or die "bench/load/ could not be built: see above\n";
}


# load($port, $path, connections => 16, header => [...], ...) is what it
# printed.  Unless errors => 1 is given, one error is the end: a ratio of
# which one side refused its work says nothing.

sub load {
    my ($port, $path, %opt) = @_;
    my ($errors, $name) = delete @opt{qw(errors name)};
    # under valgrind nothing meets its deadline
    $errors ||= -e "$_/callgrind" for $ENV{TRIFECTA_BENCH_PROFILE} // '/none';
    my @args;

    for my $key (sort keys %opt) {
        for my $value (ref $opt{$key} ? @{ $opt{$key} } : $opt{$key}) {
            push @args, "--$key", $value if defined $value;
        }
    }

    my $pid = open my $fh, '-|', "$root/build/bench/load", @args, $port, $path
        or die "$root/build/bench/load: $!\n";
    child($pid);
    my $out = do { local $/; <$fh> } // '';
    close $fh or die "build/bench/load failed for " . ($name // $path) . "\n";

    my $got = decode_json($out);
    my $wrong = $got->{bad} + $got->{broken};
    die +($name // $path) . ": $wrong of " . ($got->{good} + $wrong)
        . " requests failed (the last with status $got->{worst})\n"
        if $wrong && !$errors;

    return $got;
}

1;
