package Trifecta::Bench::Rounds;

# Rows that are measured in turn, ABCABC, and what they come to.
#
# A row is { name => ..., leaves => 'what it leaves out', measure => sub },
# and the sub returns { column => number } for one round.  A row that dies is
# not measured again and has no figures, only what it died of.  A target is
#
#   { name => 'what is promised', over => row, under => row,
#     column => 'cpu', most | least => ratio, quick => 1 }
#
# and compares "column" of one row with that of another ("under" left out:
# the figure itself is compared).

use strict;
use warnings;

use Exporter qw(import);
use Time::HiRes qw(time);

use Trifecta::Bench::Cost;
use Trifecta::Bench::Stats qw(median spread paired figure);

our @EXPORT_OK = qw(rounds judge markdown cost_of attempt);


# Runs every row once a round; $say->(text) hears of the progress.

sub rounds {
    my ($case, $rows, $rounds, $say) = @_;
    my %values;
    # all that we have started, and the load generator
    my $all = Trifecta::Bench::Cost->new(all => [$$]);
    my ($before, $start) = (Trifecta::Bench::Cost::machine(), time);
    my $ours = -$all->cpu->{all};

    for my $round (1 .. $rounds) {
        for my $row (@$rows) {
            next if defined $row->{failed};
            $say->("$case, round $round: $row->{name}") if $say;
            my $got = eval { $row->{measure}->($round) };
            if (!$got) {
                $row->{failed} = $@;
                delete $values{$row->{name}};
                next;
            }
            $values{$row->{name}}{$_}[$round - 1] = $got->{$_} for keys %$got;
        }
    }

    my $after = Trifecta::Bench::Cost::machine();
    $ours += $all->cpu->{all};

    return {
        case => $case, rounds => $rounds, seconds => time - $start,
        load => [map { $_->{load} } $before, $after],
        others => Trifecta::Bench::Cost::others($before, $after, $ours),
        rows => [map { { name => $_->{name}, leaves => $_->{leaves} // '',
            failed => $_->{failed}, values => $values{$_->{name}} } } @$rows],
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
    my $before = $cost->cpu;
    my ($n, %got) = $code->();
    my $after = $cost->cpu;

    for my $name (keys %$after) {
        my $us = $after->{$name} - $before->{$name};
        $got{"cpu $name"} = $us / ($n || 1);
        $got{cpu} += $got{"cpu $name"};
    }

    return \%got;
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


# A table as the manual has it, and the targets below it.

sub markdown {
    my ($result, $columns, @judged) = @_;
    my @used = grep { my $c = $_->[0];
        grep { $_->{values}{$c} } @{ $result->{rows} } } @$columns;

    my $text = "### $result->{case}\n\n| | "
        . join(' | ', map { $_->[1] } @used) . " | leaves out |\n|---|"
        . '---:|' x @used . "---|\n";

    for my $row (@{ $result->{rows} }) {
        $text .= "| $row->{name} | " . join(' | ', map {
            my $v = $row->{values}{$_->[0]};
            my $spread = $v && $result->{rounds} > 1 ? spread(@$v) : undef;
            !$v ? '' : figure(median(@$v))
                . (defined $spread ? sprintf ' ±%.0f%%', $spread : '');
        } @used) . ' | ' . (defined $row->{failed} ? 'FAILED'
                                                   : $row->{leaves}) . " |\n";
    }

    $text .= sprintf "\n%d rounds in %.0f s; load %s before and %s after;"
        . " %.0f %% of the processors went to others.\n",
        $result->{rounds}, $result->{seconds}, @{ $result->{load} },
        100 * $result->{others};

    if (@judged) {
        $text .= "\n| ratio | measured | wanted | |\n|---|---:|---|---|\n"
            . join '', map { sprintf "| %s | %s (%s to %s) | %s | %s |\n",
                $_->{name}, (map { figure($_) } @$_{qw(ratio low high)}),
                _bound($_), $_->{held} ? 'held' : 'missed' } @judged;
    }

    return "$text\n";
}

1;
