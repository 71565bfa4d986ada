package Trifecta::Bench::Case::Search;

# bench/index measures and prints by itself; its figures are of ours only.

use strict;
use warnings;

use Trifecta::Bench::Program;

my %out;                    # by the number of chunks


sub what { 'a question to a large collection, by PostgreSQL and by an index' }

sub apart { 1 }


sub parts {
    my ($env) = @_;
    my @sizes = $env->{quick} ? 500 : (1000, 10_000, 100_000);

    $env->{searched} = {};
    return map { my $n = $_; { name => "$n chunks", limit => 120 + $n / 250,
        run => sub { $env->{searched}{$n} = measured($env, $n) } } } @sizes;
}


# Once in a run: "growth" wants it, too.

sub measured {
    my ($env, $chunks) = @_;

    return $out{$chunks} //= Trifecta::Bench::Program::output($env, 'index',
        $chunks, $env->{quick} ? (10, 1) : (100, 2));
}


sub text {
    my ($env) = @_;
    my $done = $env->{searched};

    return "### search\n\n" . join '', map {
        "`bench/index $_`\n\n```\n$done->{$_}```\n\n" }
        sort { $a <=> $b } keys %$done;
}


sub figures { $_[0]{searched} }

1;
