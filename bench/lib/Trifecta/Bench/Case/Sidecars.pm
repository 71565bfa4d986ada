package Trifecta::Bench::Case::Sidecars;

# The same jobs with more sidecars, and with the queue in two shards, each on
# a Redis of its own.  Two tenants submit, whose jobs lie in different shards
# where there are two.

use strict;
use warnings;

use Trifecta::Bench::Case::Jobs;
use Trifecta::Bench::Queues;
use Trifecta::Bench::Stack;

my @SIDECARS = (1, 2, 4);
my $THREADS = 32;


sub what { 'jobs that do nothing, with more sidecars and shards' }

sub columns { Trifecta::Bench::Case::Jobs::columns() }
sub targets { }


sub rows {
    my ($env) = @_;
    my %mock = (mock => { noop => 'echo' });
    my @stacks = map { Trifecta::Bench::Stack::stack($env->{root}, %mock,
        shards => $_) } ['redis'], ['redis', 'redis1'];
    my @rows;

    $env->{t} = \@stacks;
    for my $t (@stacks) {
        my $q = Trifecta::Bench::Queues->new($env, $t);
        push @rows, map { { leaves => '', name => sprintf('%d sidecar%s,'
            . ' %d shard%s', $_, $_ > 1 ? 's' : '', $t->shards,
            $t->shards > 1 ? 's' : ''), measure => $q->ours(warm => 200,
            at_once => 16, size => 1024, sidecars => $_, threads => $THREADS,
            headers => [headers($t, $stacks[1])]) } } @SIDECARS;
    }

    return @rows;
}


# Two tenants in two shards of the stack that has two.

sub headers {
    my ($t, $two) = @_;
    my %by_shard = map { $two->shard_of($_) => $_ } qw(globex acme default);

    die "these tenants have one shard\n" if keys %by_shard < 2;
    return map { 'Authorization: Bearer ' . $t->token(exp => time + 86400,
        tenant => $by_shard{$_}) } 0, 1;
}

1;
