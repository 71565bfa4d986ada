package Trifecta::Bench::Case::Ingest;

# bench/ingest measures and prints by itself; its figures are of ours only.

use strict;
use warnings;

use Trifecta::Bench::Program;

sub what { 'documents come and go: chunks a second' }

sub apart { 1 }


sub parts {
    my ($env) = @_;
    my @runs = $env->{quick} ? ['--chunks', 100]
        : ([], map { ['--chunks', $_] } 1000, 10_000, 100_000);

    $env->{ingested} = [];
    return map { my @args = @$_; { limit => 400,
        name => @args ? "$args[1] chunks" : 'small and large documents',
        run => sub { push @{ $env->{ingested} },
            Trifecta::Bench::Program::output($env, 'ingest', @args) } } }
        @runs;
}


# One table: the first line of each is the same.

sub text {
    my ($env) = @_;
    my %seen;

    return "### ingest\n\n```\n" . join('', grep {
        !/^folder / || !$seen{$_}++ } map { /.*\n/g } @{ $env->{ingested} })
        . "```\n\n";
}


sub figures { $_[0]{ingested} }

1;
