# One cell for each crash point of include/trifecta/fault.h: under load, a
# process meets the point at a random passage and dies there.  See
# Trifecta::Fault::Round for what a row may have.
#
# Two points are not among them, for no load brings a program there:
# relet.answered wants a Redis that went back in time, cancel.beaten a message
# that got lost.  t/crash_points.t has both.

package Trifecta::Fault::Points;

use strict;
use warnings;

use File::Basename qw(dirname);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use Trifecta::Test::Old;

my %NOT = map { $_ => 1 } qw(relet.answered cancel.beaten);
my $PATIENCE = 8;       # s
my %PATIENCE = (prune => 30, days => 30);

# Passages of a second or so; of those that are rare, the first one kills.
my %OFTEN = (submit => 20, claim => 10, begin => 10, started => 10, run => 20,
             emit => 20, complete => 10, finish => 20, ledger => 10, pump => 1,
             heart => 3);

# A round of the reconciler each second or so.
my %often = (test => { sidecar => { reconcile => '1s' } });

# Jobs of two months ago are old.
my %forgets = (test => { sidecar => { retention => '30d' } });

# All jobs that run when it is told to leave go back soon.
my %soon = (test => { sidecar => { drain_timeout => '300ms' } });


sub points {
    my $file = dirname(__FILE__) . '/../../include/trifecta/fault.h';
    open my $fh, '<', $file or die "$file: $!\n";
    local $/;
    return <$fh> =~ /^ {4}X\((EDGE|SIDECAR), (\w+), (\w+),\s+"([^"]*)"/mg;
}


sub met {
    my ($s, $file, $from, $point) = @_;
    open my $fh, '<', $file or return 0;
    seek $fh, $from, 0;
    local $/;
    return (<$fh> // '') =~ /^crash point \Q$point\E, /m;
}


# Starts it armed, lets the load run until it has met its point: 1 or 0.

sub meets {
    my ($s, $what, $point, $n, $file, $then) = @_;
    my $t = $s->{t};
    my $old = $t->{opt}{proc_env}{$what};
    my @what = $what eq 'nginx' ? 'nginx' : ('sidecar', 0);

    # the one before may have met it just now
    $s->stop(@what);
    my $from = -s $file // 0;
    $t->{opt}{proc_env}{$what} = { %{ $old || {} },
                                   TRIFECTA_FAULT => "$point:$n" };
    $t->launch(@what);
    $t->{opt}{proc_env}{$what} = $old;
    $then->($s) if $then;

    my ($step) = split /\./, $point;
    my $end = clock_gettime(CLOCK_MONOTONIC) + ($PATIENCE{$step} // $PATIENCE);
    until (met($s, $file, $from, $point)) {
        return 0 if clock_gettime(CLOCK_MONOTONIC) > $end;
        $s->rest(0.05);
    }

    return 1;
}


sub in_the_edge {
    my ($s, $point, $n) = @_;
    my $file = "$s->{t}{dir}/log/error.log";

    meets($s, 'nginx', $point, $n, $file)
        or meets($s, 'nginx', $point, 1, $file)
        or die "$point was not met\n";
    $s->rest($s->rand(0, 0.5));

    # the next round is another's
    $s->stop('nginx');
    $s->start('nginx');
}


sub in_a_sidecar {
    my ($s, $point, $n, $then) = @_;
    my $file = "$s->{t}{dir}/log/sidecar0.log";

    meets($s, 'sidecar', $point, $n, $file, $then)
        or meets($s, 'sidecar', $point, 1, $file, $then)
        or die "$point was not met\n";

    # it says so, then it dies
    my $proc = $s->{t}->proc('sidecar', 0);
    my $end = clock_gettime(CLOCK_MONOTONIC) + $PATIENCE;
    $s->rest(0.02) while $proc->alive && clock_gettime(CLOCK_MONOTONIC) < $end;
    push @{ $s->{killed} }, { pid => $proc->pid,
        t => clock_gettime(CLOCK_MONOTONIC) };
    $s->rest($s->rand(0, 3.5));
}


# The other one dies, and what it ran is taken over.

sub other_one_dies {
    my ($s) = @_;
    $s->rest(0.5);
    $s->kill('sidecar', 1) if $s->{t}->proc('sidecar', 1)->alive;
}

sub told_to_leave {
    my ($s) = @_;
    $s->rest($s->rand(0.5, 1));
    $s->{t}->proc('sidecar', 0)->signal('TERM');
}


# As after a restart of Redis: it has to be compared before it is used, and no
# other sidecar is there to do it.

sub is_not_adopted {
    my ($s) = @_;
    $s->kill('sidecar', 1) if $s->{t}->proc('sidecar', 1)->alive;
    $s->{t}->redis('HDEL', '{trifecta:0}:meta', 'server');
}


# Long ago there were jobs, too; a sidecar looks for those soon after its start.

sub has_old_jobs {
    my ($s) = @_;
    my $t = $s->{t};
    my $days = 60 + ++$s->{old};
    Trifecta::Test::Old::old_partitions($t, $days);
    Trifecta::Test::Old::old_rows($t, $_, 20) for $days, $days + 500;
}


my %THEN = (prune => \&has_old_jobs, reclaim => \&other_one_dies,
            release => \&told_to_leave, drain => \&told_to_leave,
            rebuild => \&is_not_adopted);

sub cell {
    my ($program, $step, $moment, $what) = @_;
    my $point = "$step.$moment";
    my $edge = $program eq 'EDGE';
    my $leaves = ($THEN{$step} // 0) == \&told_to_leave;
    my $often = $OFTEN{$step} // 1;

    return {
        name => "at-$step-$moment",
        what => 'kill -9 of ' . ($edge ? 'a worker of nginx' : 'a sidecar')
                . " at $point: $what",
        quick => $point eq 'begin.committed' || $point eq 'complete.committed',
        stack => $leaves ? { %soon }
               : $step eq 'reconcile' ? { %often }
               : $step eq 'prune' ? { %forgets } : undef,
        inject => sub {
            my ($s) = @_;
            my $n = 1 + int $s->rand(0, $often);
            $edge ? in_the_edge($s, $point, $n)
                  : in_a_sidecar($s, $point, $n, $THEN{$step});
        },
        # what is given back begins again elsewhere, and no counter moves
        mode => $leaves ? {} : { executions => 1 },
        load => $step eq 'durable' ? { durable => 1 }
              : $step eq 'retry' || $step eq 'pump' ? { flaky => 0.3 }
              : $step eq 'reclaim' ? { long => 0.4, clients => 12 }
              : $leaves ? { long => 0.4 }
              : $step eq 'emit' ? { says => 0.6 }
              : $step eq 'cancel' ? { clients => 8, cancel => 20,
                                      long => 0.7 } : {},
    };
}


my @points = points();
my @cells;

while (my @row = splice @points, 0, 4) {
    push @cells, cell(@row) unless $NOT{"$row[1].$row[2]"};
}

@cells;
