package Trifecta::Bench::Stats;

# What rounds come to.  A figure of a row is the median of its rounds, and the
# spread beside it is half of the way from the smallest to the largest, in
# percent of the median.  A ratio of two rows is the median of the ratios
# within each round, in which both met the same machine: the ratio of two
# medians would compare the best minute of one with the worst of the other.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(median spread paired figure);


sub median {
    my @v = sort { $a <=> $b } grep { defined } @_;

    return undef unless @v;
    return @v % 2 ? $v[@v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2;
}


sub spread {
    my @v = sort { $a <=> $b } grep { defined } @_;
    my $median = median(@v);

    return undef unless $median;
    return 100 * ($v[-1] - $v[0]) / 2 / $median;
}


# The median of a[i] / b[i], and their smallest and largest; nothing when no
# round has both.

sub paired {
    my ($x, $y) = @_;
    my @ratio = sort { $a <=> $b } map { $x->[$_] / $y->[$_] }
        grep { defined $x->[$_] && $y->[$_] } 0 .. $#$x;

    return @ratio ? (median(@ratio), @ratio[0, -1]) : ();
}


# A number as a table shows it: three digits that mean something.

sub figure {
    my ($v) = @_;

    return '-' unless defined $v;
    return '0' if $v == 0;
    return sprintf '%.2f', $v if abs $v < 10;
    return sprintf '%.1f', $v if abs $v < 100;
    return sprintf '%.0f', $v;
}

1;
