package Trifecta::Bench::Progress;

# What is measured, and about how long the rest takes.  On a terminal it is
# one line that is written over; elsewhere a line now and then.
#
#   my $p = Trifecta::Bench::Progress->new($fh, \@names, \%seconds);
#   $p->begin($case);
#   $p->at('round 1 of 3: ours', 0.25);     that much of the case is done
#   $p->clear;                              before something else is written
#
# %seconds is what each case takes on an idle machine with two processors.
# How much longer or shorter the cases so far took is how much the others
# will.

use strict;
use warnings;

use Time::HiRes qw(time);

my $EVERY = 20;             # seconds between two lines


sub new {
    my ($class, $fh, $names, $seconds) = @_;
    return bless { fh => $fh, names => $names, seconds => $seconds,
        start => time, line => 0, tty => -t $fh, done => 0,
        expected => 0, taken => 0, now => -1 }, $class;
}


sub begin {
    my ($p, $case) = @_;

    $p->end if $p->{now} >= 0;
    $p->{now}++;
    $p->{case} = $case;
    $p->{begun} = time;
    $p->{line} = 0;
    $p->at('getting ready', 0);
}


sub end {
    my ($p) = @_;
    $p->{expected} += $p->{seconds}{ $p->{case} };
    $p->{taken} += time - $p->{begun};
}


# Seconds that are left.

sub left {
    my ($p, $done) = @_;
    my $here = $p->{seconds}{ $p->{case} };
    my $taken = time - $p->{begun};
    my ($expected, $really) = ($p->{expected} + $done * $here,
                               $p->{taken} + ($done ? $taken : 0));
    # a few seconds say nothing yet
    my $factor = $expected < 10 ? 1 : $really / $expected;
    my $rest = (1 - $done) * $here;

    $rest += $p->{seconds}{$_}
        for @{ $p->{names} }[$p->{now} + 1 .. $#{ $p->{names} }];
    $factor = $factor < 0.2 ? 0.2 : $factor > 5 ? 5 : $factor;
    return $rest * $factor;
}


sub at {
    my ($p, $what, $done) = @_;
    my $now = time;

    return if !$p->{tty} && $now - $p->{line} < $EVERY;
    $p->{line} = $now;

    my $left = $p->left($done);
    my $text = sprintf '%s (%d of %d), %s; %s so far, about %s left',
        $p->{case}, $p->{now} + 1, scalar @{ $p->{names} }, $what,
        map { _minutes($_) } $now - $p->{start}, $left;
    print { $p->{fh} } $p->{tty} ? "\r\e[K$text" : "bench/run: $text\n";
}


sub clear {
    my ($p) = @_;
    print { $p->{fh} } "\r\e[K" if $p->{tty};
}


sub _minutes {
    my ($s) = @_;
    return $s < 90 ? sprintf '%.0f s', $s : sprintf '%.0f min', $s / 60;
}

1;
