package Trifecta::Bench::Rounds;

# Rows that are measured in turn, ABCABC, and what they come to.
#
# A row is { name => ..., leaves => 'what it leaves out', measure => sub },
# and the sub returns { column => number } for one round.  A row that dies, or
# takes longer than its "limit" of seconds, is not measured again and has no
# figures, only what it died of.  A target is
#
#   { name => 'what is promised', over => row, under => row,
#     column => 'cpu', most | least => ratio, quick => 1 }
#
# and compares "column" of one row with that of another ("under" left out:
# the figure itself is compared).

use strict;
use warnings;

use Exporter qw(import);
use POSIX ();
use Time::HiRes qw(sleep time);

use Trifecta::Bench::Cost;
use Trifecta::Bench::Deadline qw(within);
use Trifecta::Bench::Profile;
use Trifecta::Bench::Stats qw(median spread paired figure);

our @EXPORT_OK = qw(rounds judge markdown targets cost_of attempt);


our $LIMIT = 150;           # seconds of one row in one round


# Runs every row once a round.  say => sub hears before each what it is and
# how much is done; each => sub gets after each what is there so far.

sub rounds {
    my ($case, $rows, $rounds, %on) = @_;
    my %values;
    # all that we have started, and the load generator
    my $all = Trifecta::Bench::Cost->new(all => [$$]);
    my ($before, $start) = (Trifecta::Bench::Cost::machine(), time);
    my $ours = -$all->cpu->{all};
    my $done = 0;

    for my $round (1 .. $rounds) {
        for my $row (@$rows) {
            my $part = $done++ / ($rounds * @$rows);
            next if defined $row->{failed};
            $on{say}->("round $round of $rounds: $row->{name}", $part)
                if $on{say};
            my $got = eval { within($row->{limit} // $LIMIT,
                                    sub { $row->{measure}->($round) }) };
            if ($got) {
                $values{$row->{name}}{$_}[$round - 1] = $got->{$_}
                    for keys %$got;
            } else {
                $row->{failed} = $@ || "it measured nothing\n";
                delete $values{$row->{name}};
            }
            next if !$on{each};
            $on{each}->(_sum_up($case, $rows, $round, \%values, $start,
                                $before, $ours + $all->cpu->{all}));
        }
    }

    return _sum_up($case, $rows, $rounds, \%values, $start, $before,
                   $ours + $all->cpu->{all});
}


sub _sum_up {
    my ($case, $rows, $rounds, $values, $start, $before, $ours) = @_;
    my $after = Trifecta::Bench::Cost::machine();

    return {
        case => $case, rounds => $rounds, seconds => time - $start,
        load => [map { $_->{load} } $before, $after],
        others => Trifecta::Bench::Cost::others($before, $after, $ours),
        rows => [map { { name => $_->{name}, leaves => $_->{leaves} // '',
            failed => $_->{failed}, values => $values->{$_->{name}} } } @$rows],
    };
}


# A row that could not even be prepared (its package is not installed, say) is
# one that fails.

sub attempt {
    my ($name, $code) = @_;
    my $row = eval { $code->() };
    my $error = $@;

    return $row // { name => $name, measure => sub { die $error } };
}


# What one piece of work costs each group of processes, by the clock and per
# request: cost_of($cost, sub { ...; return ($n, %more) }).

sub cost_of {
    my ($cost, $code) = @_;
    my $idle = $cost->memory;
    my $look = _look($cost);
    Trifecta::Bench::Profile::begin($cost);
    my $before = $cost->cpu;
    my ($n, %got) = eval { $code->() };
    my $error = $@;
    my $after = $cost->cpu;
    Trifecta::Bench::Profile::end($cost);
    my $most = $look->();

    die $error unless defined $n;
    my %memory = (idle => $idle, load => $most, after => $cost->memory);

    for my $when (keys %memory) {
        $got{"mem $when"} += $_ / 1e6 for values %{ $memory{$when} };
    }
    $got{"mem of $_"} = $most->{$_} / 1e6 for keys %$most;

    for my $name (keys %$after) {
        my $us = $after->{$name} - $before->{$name};
        $got{"cpu $name"} = $us / ($n || 1);
        $got{cpu} += $got{"cpu $name"};
    }

    return \%got;
}


# Looks at the memory while the work is done: after some tenths of a second,
# and then every two seconds, because it takes some time itself.  Returns a sub
# that ends it and returns what was the most.

my ($FIRST, $NEXT) = (0.4, 2);

sub _look {
    my ($cost) = @_;

    pipe my $in, my $out or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        my $parent = getppid;
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        close $in;
        $out->autoflush(1);
        for (my $wait = $FIRST; ; $wait = $NEXT) {
            sleep $wait;
            POSIX::_exit(0) if getppid != $parent;
            my $now = $cost->memory;
            print $out join(' ', map { "$_=$now->{$_}" } keys %$now), "\n";
        }
    }

    close $out;
    return sub {
        my %most = %{ $cost->memory };
        kill 'KILL', $pid;
        waitpid $pid, 0;
        while (my $line = <$in>) {
            # the last one may be cut off
            next unless $line =~ /\n/;
            for (split ' ', $line) {
                my ($name, $bytes) = split /=/;
                $most{$name} = $bytes if $bytes > ($most{$name} // 0);
            }
        }
        return \%most;
    };
}


# Each target with what was measured: ratio, its range and whether it holds.
# A target of which a row was not measured is left out.

sub judge {
    my ($result, @targets) = @_;
    my %values = map { $_->{name} => $_->{values} } @{ $result->{rows} };
    my @judged;

    for my $target (@targets) {
        my $over = $values{$target->{over}}{$target->{column}} or next;
        my $under = $target->{under}
            ? $values{$target->{under}}{$target->{column}} : [map { 1 } @$over];
        my ($ratio, $low, $high) = paired($over, $under || []) or next;

        push @judged, { %$target, ratio => $ratio, low => $low, high => $high,
            held => defined $target->{most} ? $ratio <= $target->{most}
                                            : $ratio >= $target->{least} };
    }

    return @judged;
}


sub _bound {
    my ($t) = @_;
    return defined $t->{most} ? "at most $t->{most}" : "at least $t->{least}";
}


# A table as the manual has it, the memory, and the targets below it.

sub markdown {
    my ($result, $columns, @judged) = @_;
    my $last = $result->{last} // 'leaves out';

    my $text = "### $result->{case}\n\n" . _table($result, $columns, $last)
        . sprintf "\n%d rounds in %.0f s; load %s before and %s after;"
        . " %.0f %% of the processors went to others.\n",
        $result->{rounds}, $result->{seconds}, @{ $result->{load} },
        100 * $result->{others};

    my %group;
    for my $row (@{ $result->{rows} }) {
        /^mem of (.*)/ && $group{$1}++ for keys %{ $row->{values} || {} };
    }
    $text .= "\n" . _table($result, [['mem idle', 'MB idle'],
        ['mem load', 'MB under load'], ['mem after', 'MB after'],
        map { ["mem of $_", "of these $_"] } sort keys %group]) if %group;

    return $text . targets(@judged) . "\n";
}


# What was wanted, and what became of it.

sub targets {
    my (@judged) = @_;

    return '' if !@judged;
    return "\n| ratio | measured | wanted | |\n|---|---:|---|---|\n"
        . join '', map { sprintf "| %s | %s (%s to %s) | %s | %s |\n",
            $_->{name}, (map { figure($_) } @$_{qw(ratio low high)}),
            _bound($_), $_->{held} ? 'held' : 'missed' } @judged;
}


# With a last column of words, or without one; then a row without figures is
# none.

sub _table {
    my ($result, $columns, $last) = @_;
    my @used = grep { my $c = $_->[0];
        grep { $_->{values}{$c} } @{ $result->{rows} } } @$columns;

    my $text = '| | ' . join(' | ', map({ $_->[1] } @used), $last // ())
        . " |\n|---|" . '---:|' x @used . ($last ? '---|' : '') . "\n";

    for my $row (@{ $result->{rows} }) {
        next unless $last || grep { $row->{values}{$_->[0]} } @used;
        $text .= "| $row->{name} | " . join(' | ', map({
            my $v = $row->{values}{$_->[0]};
            my $spread = $v && $result->{rounds} > 1 ? spread(@$v) : undef;
            !$v ? '' : figure(median(@$v))
                . (defined $spread ? sprintf ' ±%.0f%%', $spread : '');
        } @used), !$last ? () : defined $row->{failed} ? 'FAILED'
                                                       : $row->{leaves})
            . " |\n";
    }

    return $text;
}

1;
