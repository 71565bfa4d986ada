package Trifecta::Bench::Case::Sizes;

# The same jobs in other sizes, submitted by so many clients at once, for half
# of the time of other rows: there are many.

use strict;
use warnings;

use Trifecta::Bench::Case::Jobs;
use Trifecta::Bench::Queues;
use Trifecta::Bench::Stack;

my @SIZES = (256, 1024, 16384);
my @AT_ONCE = (1, 32, 256);
my @PEERS = ('BullMQ, results in PostgreSQL', 'pg-boss');


sub what { 'jobs of 256 bytes to 16 KiB, submitted by 1 to 256 at once' }

sub columns { Trifecta::Bench::Case::Jobs::columns() }
sub targets { }
sub rounds { 2 }


sub rows {
    my ($env) = @_;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
        mock => { noop => 'echo' });
    my $q = Trifecta::Bench::Queues->new($env, $t);
    my @peers = !$env->{peers} ? () : grep { my $name = $_->{name};
        grep { $_ eq $name } @PEERS } Trifecta::Bench::Queues::best();
    my @rows;

    for my $size (@SIZES) {
        for my $at_once ($env->{quick} ? 32 : @AT_ONCE) {
            my %how = (size => $size, at_once => $at_once,
                       seconds => $env->{seconds} / 2);
            push @rows, map { { name => sprintf('%s, %d B, %d at once',
                $_->[0], $size, $at_once), leaves => $_->[2],
                measure => $_->[1] } }
                ['ours', $q->ours(%how, warm => 100,
                    threads => $Trifecta::Bench::Case::Jobs::THREADS), ''],
                map { [$_->{name}, $q->peer({ %$_, warm => 100 }, %how),
                       $_->{leaves}] } @peers;
        }
    }

    return @rows;
}


1;
