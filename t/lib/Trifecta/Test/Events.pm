package Trifecta::Test::Events;

# What a job says while it runs, read where it is.  Exports:
#
#   live_events($t, $id)    from Redis: a list of [attempt, n, type, text]
#   events_of($entries)     the same of what XRANGE has answered
#   stored_events($t, $id)  the same from PostgreSQL's rows, once it has ended
#   text_of(@events)        what is not void of them
#   contradicts(\@live, \@stored, $end)   what is wrong with what was read live
#                           of a job that has ended, a line each: it has gaps,
#                           or the stored events are others.  $end is the
#                           attempt that succeeded, or undef

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();

our @EXPORT = qw(live_events stored_events events_of text_of contradicts);


sub live_events {
    my ($t, $id) = @_;
    my $shard = hex substr $id, 15, 2;

    return events_of($t->shard_client($shard)->cmd('XRANGE',
        $t->prefix($shard) . ":ev:$id", '-', '+'));
}


sub events_of {
    my ($entries) = @_;

    return map {
        my %f = @{ $_->[1] };
        my ($of, $n) = split /-/, $_->[0];
        [0 + $of, 0 + $n, $f{t}, $f{d}];
    } @$entries;
}


sub stored_events {
    my ($t, $id) = @_;
    my $row = $t->sql('admin', 'SELECT j.attempt, j.streamed, r.body, '
        . 'array_to_json(r.deltas) FROM trifecta.job j '
        . 'LEFT JOIN trifecta.job_result r ON r.job = j.id WHERE j.id = ?',
        $id)->[0];
    my ($attempt, $streamed, $body, $deltas) = @$row;
    my $json = JSON::PP->new->allow_nonref;

    $streamed = defined $streamed ? $json->decode($streamed) : {};
    $deltas = defined $deltas ? $json->decode($deltas) : [];
    utf8::encode($body) if defined $body && utf8::is_utf8($body);

    # the runs, and of each the attempt and whether it said that it searched

    my @runs = @{ $streamed->{earlier} || [] };
    my @marks = @runs ? @{ $streamed->{marks} }
                      : [$attempt, $streamed->{search} ? 1 : 0];
    my ($from, @last) = (0);

    for my $end (@$deltas) {
        push @last, substr $body, $from, $end - $from;
        $from = $end;
    }

    # what was never cut is one piece
    push @runs, defined $body ? (@$deltas ? \@last : [$body])
                              : $streamed->{last} || [];

    my @events;
    my $n = 0;

    for my $i (0 .. $#runs) {
        my ($of, $searched) = @{ $marks[$i] };

        if ($i && $of == $marks[$i - 1][0]) {
            push @events, [$of, ++$n, 'r', ''];
        } else {
            $n = 0;
        }

        push @events, [$of, ++$n, 's', ''] if $searched;

        for my $piece (@{ $runs[$i] }) {
            utf8::encode($piece) if utf8::is_utf8($piece);
            push @events, [$of, ++$n, 'd', $piece];
        }
    }

    return @events;
}


sub text_of {
    my ($attempt, $text) = (0, '');

    for my $e (@_) {
        $text = '' if $e->[0] != $attempt || $e->[2] eq 'r';
        $text .= $e->[3];
        $attempt = $e->[0];
    }

    return $text;
}


# What an earlier attempt said is stored if Redis still knew of it when the
# next one began; then all of it is.

sub contradicts {
    my ($live, $stored, $end) = @_;
    my %is = map { ("$_->[0]-$_->[1]" => "$_->[2] $_->[3]") } @$stored;
    my %known = map { ($_->[0] => 1) } @$stored;
    my ($attempt, $last) = (0, 0);
    my @wrong;

    $known{$end} = 1 if defined $end;

    for my $e (@$live) {
        my ($of, $n, $type, $text) = @$e;
        my $is = $is{"$of-$n"};

        push @wrong, "its event $of-$n came behind $attempt-$last"
            if $of < $attempt || $n != ($of == $attempt ? $last + 1 : 1);
        push @wrong, "its event $of-$n is of an attempt after its end"
            if defined $end && $of > $end;
        push @wrong, "it said $of-$n '$type $text', stored is "
            . (defined $is ? "'$is'" : 'nothing')
            if defined $is ? $is ne "$type $text" : $known{$of};
        ($attempt, $last) = ($of, $n);
    }

    return @wrong;
}

1;
