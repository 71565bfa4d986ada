# The short form of the fault suite: one round of each cell that is quick.  A
# round breaks a running stack under load and proves afterwards, over all that
# clients saw and the stores hold, that no promise was broken; the long form is
# scripts/test fault.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/fault/lib";
use Test::More;

use Trifecta::Fault::Runner;

my @cells = grep { $_->{quick} } Trifecta::Fault::Runner::cells();
my $seed = $ENV{TRIFECTA_TEST_SEED} // int rand 2**30;

plan tests => 1 + @cells;
cmp_ok(scalar @cells, '>', 10, 'there are cells');
note("seed $seed");

Trifecta::Fault::Runner::in_memory(3);
Trifecta::Fault::Runner::run(cells => \@cells, rounds => 1, jobs => 3,
    seed => $seed, on_round => sub {
    my ($r) = @_;
    my @wrong = @{ $r->{violations} };
    my ($cell) = grep { $_->{name} eq $r->{cell} } @cells;

    ok(!@wrong && $r->{accepted} > 0, "$r->{cell}: $cell->{what}")
        or diag(map({ "[$_->{inv}] $_->{what}\n" }
                    @wrong > 20 ? @wrong[0 .. 19] : @wrong),
                "$r->{accepted} jobs were accepted\n",
                "again: scripts/test fault --cell $r->{cell} "
                . "--seed $r->{seed}\n");
});
