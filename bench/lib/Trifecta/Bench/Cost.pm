package Trifecta::Bench::Cost;

# What processes have used: microseconds of processor time and bytes of
# memory, from /proc, of groups of processes.
#
#   my $cost = Trifecta::Bench::Cost->new(nginx => [$pid], redis => [$pid]);
#   my $before = $cost->cpu;      { nginx => microseconds, redis => ... }
#   $cost->memory                 { nginx => bytes, ... }
#
# A group is the processes given and all that descend from them.  The time is
# that of the scheduler (schedstat: nanoseconds, of each thread) and, for what
# has ended in between, that of the clock's ticks which its parent was told.

use strict;
use warnings;

use POSIX ();

my $HZ = POSIX::sysconf(POSIX::_SC_CLK_TCK());


sub new {
    my ($class, %group) = @_;
    return bless { group => \%group }, $class;
}


sub _line {
    my ($file) = @_;
    open my $fh, '<', $file or return '';
    return scalar(<$fh>) // '';
}


sub tree {
    my @tree = @_;

    for my $pid (@tree) {
        push @tree, map { split ' ', _line($_) }
            glob "/proc/$pid/task/*/children";
    }

    my %seen;
    return grep { !$seen{$_}++ } @tree;
}


sub cpu {
    my ($self) = @_;
    my %us;

    for my $name (keys %{ $self->{group} }) {
        $us{$name} += _cpu($_) for tree(@{ $self->{group}{$name} });
    }

    return \%us;
}


sub _cpu {
    my ($pid) = @_;
    my ($ns, $dead) = (0, 0);

    $ns += (split ' ', _line($_))[0] // 0
        for glob "/proc/$pid/task/*/schedstat";

    my @f = split ' ', _line("/proc/$pid/stat") =~ s/.*\)//sr;
    $dead = ($f[13] + $f[14]) / $HZ * 1e6 if @f > 14;

    return $ns / 1000 + $dead;
}


# What each has for itself: shared memory is counted once, with its share.

sub memory {
    my ($self) = @_;
    my %bytes;

    for my $name (keys %{ $self->{group} }) {
        for my $pid (tree(@{ $self->{group}{$name} })) {
            open my $fh, '<', "/proc/$pid/smaps_rollup" or next;
            while (<$fh>) {
                $bytes{$name} += 1024 * $1 if /^Pss:\s+(\d+) kB/;
            }
        }
    }

    return \%bytes;
}


# Who else was busy: the share of all processors that was not idle and not
# ours, between two calls, and the load.

sub machine {
    my @f = split ' ', _line('/proc/stat');
    my $sum = 0;

    $sum += $_ for @f[1 .. 8];
    return { ticks => $sum, idle => $f[4] + $f[5],
             load => (split ' ', _line('/proc/loadavg'))[0] };
}


sub others {
    my ($before, $after, $ours) = @_;
    my $ticks = $after->{ticks} - $before->{ticks} or return 0;
    my $busy = $ticks - ($after->{idle} - $before->{idle});

    my $rest = ($busy - $ours / 1e6 * $HZ) / $ticks;
    return $rest < 0 ? 0 : $rest;
}

1;
