package Trifecta::Fault::Check;

# What must be true of a round, proved over what clients saw, what Redis and
# PostgreSQL hold, and what really ran.
#
#   my ($wrong, $count) = Trifecta::Fault::Check::check(\%seen, \%mode);
#
# wrong is a list of { inv, what }; inv is the number of the promise in the
# manual (docs/faults.md).  count has jobs (submits), accepted (ids with a 202
# or 200), unknown (operations), given_up (accepted ids that poll as 410
# because the mode may lose them).
#
# seen (see Trifecta::Fault::Collect, which fills it):
#   ops      operations, from Trifecta::Fault::Load::history
#   final    id => { status, state, response } of one more GET at the end
#   rows     id => { tenant, owner, state, attempt, query, deleted }
#   results  [{ job, attempt, body }]
#   audit    [{ id, old => {state, attempt}, new => {...} }], in the order in
#            which PostgreSQL committed it to the row
#   trace    [{ t, pid, attempt, canary }], executions
#   hashes   id => { state, crashes, lost, fails } in Redis
#   said     id => { live => [[[attempt, n, type, text]...]...], stored }: what
#            it had said by several moments, and the events that are stored
#   sampled  what was wrong with the sets of the queue while the load ran
#   left     what an idle queue should not have
#   log      lines that no log should have
#
# mode:
#   gives_up    1: accepted jobs may be lost, if they poll as 410
#   forgets     1: accepted jobs are kept, but what they said may be lost
#   may_fail    qr/code/: error codes with which jobs may end as failed
#               although nothing in them fails
#   may_die     1: jobs may end as dead
#   executions  1: a job ran at most 1 + crashes + lost leases + failures
#   redis_away  1: a job that was deleted may be read once more until the
#               ledger has written the delete, for only Redis knows of it
#   killed      [{ pid, t }] workers that were killed, another one living
#   reclaim     s within which another one must have begun what they ran

use strict;
use warnings;

use Trifecta::Test::Events;

my %TERMINAL = map { $_ => 1 } qw(succeeded failed cancelled dead);


sub check {
    my ($seen, $mode) = @_;
    my $self = bless { seen => $seen, mode => $mode || {}, wrong => [] },
                     __PACKAGE__;

    $self->_index;
    $self->_replies;
    $self->_one_end;
    $self->_one_id;
    $self->_results;
    $self->_attempts;
    $self->_executions;
    $self->_cancelled;
    $self->_said;

    $self->_bad('7,9', $_) for @{ $seen->{sampled} || [] };
    $self->_bad('8', $_) for @{ $seen->{left} || [] };
    $self->_bad('log', $_) for @{ $seen->{log} || [] };

    return ($self->{wrong}, {
        jobs => $self->{jobs}, accepted => scalar keys %{ $self->{accepted} },
        unknown => scalar(grep { $_->{ev} eq 'unknown' } @{ $seen->{ops} }),
        given_up => scalar keys %{ $self->{given_up} } });
}


sub _bad {
    my ($self, $inv, @what) = @_;
    push @{ $self->{wrong} }, { inv => $inv, what => join ' ', @what };
}


# Who is who: ids of canaries, and which ids were accepted for certain.

sub _index {
    my ($self) = @_;
    my $seen = $self->{seen};

    $self->{$_} = {} for qw(accepted given_up canary_of script_of stopped
                            deleted by_canary maybe);
    $self->{jobs} = 0;

    for my $op (@{ $seen->{ops} }) {
        my $id = $op->{id};

        if ($op->{kind} eq 'submit') {
            $self->{jobs}++;
            push @{ $self->{by_canary}{$op->{canary}} }, $op;
            next unless defined $id;

            if ($op->{ev} eq 'ok') {
                $self->{accepted}{$id} = 1;
                $self->{durable}{$id} = 1 if $op->{was_durable};
            }

            # two questions of one key have one id: the first one's
            if (!$op->{other} && ($op->{ev} eq 'ok' || $op->{status} == 504)) {
                $self->{canary_of}{$id} //= $op->{canary};
                $self->{script_of}{$op->{canary}} = $op->{script} // '';
            }
            $self->{owner}{$id} = "$op->{tenant} $op->{owner}";

        } elsif ($op->{kind} =~ /^(?:cancel|delete)$/) {
            my $target = $op->{target} // $id;
            next unless defined $target;
            push @{ $self->{stopped}{$target} }, $op;
            push @{ $self->{deleted}{$target} }, $op
                if $op->{kind} eq 'delete';
        }
    }

    # the question that came first with a key that was used for two: the row
    # says which
    for my $op (grep { $_->{kind} eq 'submit' && $_->{other} && $_->{id}
                       && $_->{ev} eq 'ok' } @{ $seen->{ops} })
    {
        my $row = $seen->{rows}{$op->{id}} or next;
        next unless index($row->{query} // '', $op->{canary}) >= 0;
        $self->{canary_of}{$op->{id}} = $op->{canary};
        $self->{script_of}{$op->{canary}} = $op->{script} // '';
    }
}


# What each answer says by itself: a success has the right text, a job is of
# whoever asks for it, an accepted job is never unknown.

sub _replies {
    my ($self) = @_;

    for my $op (@{ $self->{seen}{ops} }) {
        $self->_reply($op->{id} // $op->{target}, $op, "op $op->{op}")
            if $op->{status};
    }

    for my $id (sort keys %{ $self->{seen}{final} }) {
        $self->_reply($id, $self->{seen}{final}{$id}, 'the last GET');
    }
}


sub _reply {
    my ($self, $id, $r, $who) = @_;

    $self->_bad('1', "$who: $id is answered with 404")
        if defined $id && $r->{status} == 404;

    return unless ($r->{state} // '') eq 'succeeded';

    my $canary = $self->{canary_of}{$id};
    my $text = $r->{response} // '(none)';

    # a canary that the generator never heard of the id
    return unless defined $canary;

    $self->_bad('6', "$who: $id succeeded with the answer '$text', not that "
        . "of $canary")
        unless $text =~ /^pid=\d+ attempt=\d+ \Q$canary\E\z/;
}


# 1 and 4: one end, and it stays.  Every state that somebody saw, in the order
# in which it cannot be explained by overtaking.

sub _one_end {
    my ($self) = @_;
    my ($seen, $mode) = @$self{qw(seen mode)};
    my %saw;

    for my $op (@{ $seen->{ops} }) {
        my $id = $op->{id} // next;
        my $state = ($op->{status} // 0) == 410 && $op->{kind} ne 'submit'
                    ? 'gone' : $op->{state} // next;

        # a submit that was replayed says how its job stands, too
        push @{ $saw{$id} }, { t0 => $op->{t0}, t1 => $op->{t1},
                               state => $state, who => "op $op->{op}" };
    }

    for my $id (sort keys %{ $seen->{final} }) {
        my $f = $seen->{final}{$id};
        my $end = $f->{status} == 410 ? 'gone' : $f->{state} // '';

        if ($end ne 'gone' && !$TERMINAL{$end}) {
            $self->_bad('1', "$id does not end: GET says",
                "$f->{status} $end");
            next;
        }

        $self->_end_is_allowed($id, $end);

        for my $a (@{ $saw{$id} || [] }) {
            next unless $TERMINAL{$a->{state}};
            $self->_bad('4', "$id was $a->{state} ($a->{who}) and is $end")
                if $a->{state} ne $end && !$self->_forgotten($a->{state})
                   && !($end eq 'gone' && $self->{deleted}{$id});
        }
    }

    for my $id (sort keys %saw) {
        my @order = sort { $a->{t1} <=> $b->{t1} } @{ $saw{$id} };
        my $last;

        for my $b (@order) {
            for my $a (@order) {
                last if $a->{t1} > $b->{t0};
                next unless $TERMINAL{$a->{state}} || $a->{state} eq 'gone';
                next if $b->{state} eq $a->{state}
                     || $self->_forgotten($a->{state});
                next if $b->{state} eq 'gone'
                     && ($self->{deleted}{$id} || $mode->{gives_up});
                next if $a->{state} eq 'gone' && $mode->{redis_away}
                     && $self->{deleted}{$id}
                     && ($seen->{final}{$id}{status} // 0) == 410;
                $self->_bad('4', "$id was $a->{state} ($a->{who}), then",
                    "$b->{state} ($b->{who})");
                $last = 1;
                last;
            }
            last if $last;
        }
    }

    $self->_bad('1', "$_ was accepted and nobody asked for it at the end")
        for grep { !$seen->{final}{$_} } sort keys %{ $self->{accepted} };
}


# Where Redis may lose what it said, it may lose a cancel or a delete, too.

sub _forgotten {
    my ($self, $state) = @_;
    return $self->{mode}{gives_up} && $state =~ /^(?:cancelled|gone)$/;
}


sub _end_is_allowed {
    my ($self, $id, $end) = @_;
    my ($seen, $mode) = @$self{qw(seen mode)};
    my $canary = $self->{canary_of}{$id};
    my $script = defined $canary ? $self->{script_of}{$canary} : undef;

    if ($end eq 'gone') {
        return unless $self->{accepted}{$id};

        # one that was lost before it was deleted has no row that says so
        return if $self->{deleted}{$id}
                  && ($seen->{rows}{$id} || !$mode->{gives_up});

        if ($mode->{gives_up} && !$self->{durable}{$id}) {
            $self->{given_up}{$id} = 1;
            return;
        }

        return if $self->{deleted}{$id};

        $self->_bad('1', $self->{durable}{$id}
            ? "$id was in PostgreSQL, said its 202, and is lost"
            : "$id was accepted and is lost");

    } elsif ($end eq 'cancelled') {
        $self->_bad('1', "$id is cancelled, and nobody cancelled it")
            unless $self->{stopped}{$id};

    } elsif ($end eq 'failed') {
        my $code = $seen->{final}{$id}{code} // '';
        return if defined $script && $script =~ /fail=1/
               && $code eq 'internal_error';
        return if $mode->{may_fail} && $code =~ $mode->{may_fail};
        $self->_bad('1', "$id failed with '$code', and its question did not",
            'ask for that');

    } elsif ($end eq 'dead') {
        $self->_bad('1', "$id is dead") unless $mode->{may_die};
    }
}


# 3: one job for all submits of a key and text, no job for what was refused.
# Ids that nobody was told are in the rows.

sub _one_id {
    my ($self) = @_;
    my $seen = $self->{seen};
    my (%of_key, %of_canary, %refused);

    for my $op (grep { $_->{kind} eq 'submit' } @{ $seen->{ops} }) {
        next unless $op->{key};
        my $key = "$op->{tenant} $op->{owner} $op->{key}";
        $of_key{$key}{$op->{id}} = 1 if $op->{ev} eq 'ok';
        $self->{key_of}{$op->{canary}} = $key;
    }

    for my $id (sort keys %{ $seen->{rows} }) {
        my $row = $seen->{rows}{$id};
        my ($canary) = ($row->{query} // '') =~ /say=(\S+)/ or next;
        my $ops = $self->{by_canary}{$canary} or next;

        push @{ $of_canary{$canary} }, $id;
        $of_key{$self->{key_of}{$canary}}{$id} = 1
            if defined $self->{key_of}{$canary};

        $self->_bad('3', "$id is there, and its question was refused:",
            map { $_->{why} // $_->{status} } @$ops)
            unless grep { $_->{ev} ne 'fail' } @$ops;
        $self->_bad('3', "$id is of $row->{tenant} $row->{owner}, asked by",
            "$ops->[0]{tenant} $ops->[0]{owner}")
            if $row->{tenant} ne $ops->[0]{tenant}
               || $row->{owner} !~ /(?:^|:)\Q$ops->[0]{owner}\E\z/;
    }

    for my $key (sort keys %of_key) {
        my @ids = grep { !$self->{given_up}{$_} } sort keys %{ $of_key{$key} };
        $self->_bad('3', "$key has the jobs", @ids) if @ids > 1;
    }

    for my $canary (sort keys %of_canary) {
        my @ids = @{ $of_canary{$canary} };
        $self->_bad('3', "$canary was asked once and has the jobs", @ids)
            if @ids > 1 && !defined $self->{key_of}{$canary};
    }
}


# Retention removes jobs and results, in steps and while they are collected.

sub _old {
    my ($id) = @_;
    return $id =~ /^([0-9a-f]{8})-([0-9a-f]{4})-/
           && (hex($1) * 65536 + hex $2) / 1000 < time - 30 * 86400;
}


# 2 and 6: a result belongs to the attempt that its job ended with.

sub _results {
    my ($self) = @_;
    my $seen = $self->{seen};
    my %of;

    push @{ $of{$_->{job}} }, $_ for @{ $seen->{results} || [] };

    for my $id (sort keys %of) {
        my @results = @{ $of{$id} };
        my $row = $seen->{rows}{$id};

        $self->_bad('2', "$id has", scalar @results, 'results')
            if @results > 1;

        if (!$row) {
            $self->_bad('2', "$id has a result and no row") unless _old($id);
            next;
        }

        for my $r (@results) {
            $self->_bad('2', "$id ended at attempt $row->{attempt}, its",
                "result is of $r->{attempt}")
                if $r->{attempt} != $row->{attempt};
            $self->_bad('2', "$id is $row->{state} and has a result")
                if $row->{state} ne 'succeeded';
            $self->_bad('5', "$id: the text '$r->{body}' is not of attempt",
                $r->{attempt})
                if $r->{body} =~ /^pid=\d+ attempt=(\d+)/
                   && $1 != $r->{attempt};
        }
    }

    for my $id (sort keys %{ $seen->{rows} }) {
        my $row = $seen->{rows}{$id};
        $self->_bad('2', "$id succeeded and has no result")
            if $row->{state} eq 'succeeded' && !$row->{deleted} && !$of{$id}
               && !_old($id);
    }

    # what a client was told at the end is what is stored
    for my $id (sort keys %{ $seen->{final} }) {
        my $f = $seen->{final}{$id};
        my $row = $seen->{rows}{$id} or next;
        $self->_bad('4', "$id is $row->{state} in PostgreSQL, a GET says",
            $f->{state}) if $f->{state} && $f->{state} ne $row->{state};
        $self->_bad('6', "a GET of $id answers another text than the stored")
            if ($f->{state} // '') eq 'succeeded' && $of{$id}
               && ($f->{response} // '') ne $of{$id}[0]{body};
    }
}


# 4 and 5 where they are decided: each change of a row.

sub _attempts {
    my ($self) = @_;

    for my $change (@{ $self->{seen}{audit} || [] }) {
        my ($id, $old, $new) = @$change{qw(id old new)};
        next unless $old;

        $self->_bad('4', "the row of $id went from $old->{state} to",
            $new->{state})
            if $TERMINAL{$old->{state}} && $new->{state} ne $old->{state};
        $self->_bad('4', "the row of $id is $old->{state} and got attempt",
            $new->{attempt})
            if $TERMINAL{$old->{state}} && $new->{attempt} != $old->{attempt};
        $self->_bad('5', "the row of $id went from attempt $old->{attempt}",
            "to $new->{attempt}") if $new->{attempt} < $old->{attempt};
        $self->_bad('5', "the row of $id began again at attempt",
            $new->{attempt})
            if $new->{state} eq 'running' && !$TERMINAL{$old->{state}}
               && $new->{lease} ne $old->{lease}
               && $new->{attempt} <= $old->{attempt};
    }
}


# 5, 10 and 11 in what really ran.

sub _executions {
    my ($self) = @_;
    my ($seen, $mode) = @$self{qw(seen mode)};
    my %ran;

    push @{ $ran{$_->{canary}} }, $_ for @{ $seen->{trace} || [] };

    for my $canary (sort keys %ran) {
        my @runs = sort { $a->{t} <=> $b->{t} } @{ $ran{$canary} };
        my %once;

        for my $run (@runs) {
            $self->_bad('5', "$canary ran twice as attempt $run->{attempt}")
                if $once{$run->{attempt}}++;
        }

        for my $dead (@{ $mode->{killed} || [] }) {
            $self->_reclaimed($canary, $dead, @runs);
        }
    }

    my %id_of = reverse %{ $self->{canary_of} };

    for my $canary (sort keys %ran) {
        my $id = $id_of{$canary} // next;
        my $h = $seen->{hashes}{$id};
        my $n = @{ $ran{$canary} };

        if ($mode->{executions} && $h && defined $h->{crashes}) {
            my $most = 1 + $h->{crashes} + $h->{lost} + $h->{fails};
            $self->_bad('10', "$id ran $n times: $h->{crashes} crashes,",
                "$h->{lost} lost leases, $h->{fails} failures") if $n > $most;
        }

        $self->_bad('11', "$id kills its worker and ran $n times")
            if ($self->{script_of}{$canary} // '') =~ /kill=/ && $n > 4
               && $mode->{executions};
    }
}


# What a worker that was killed had begun, and nobody had ended before, is
# begun by another one in time.

sub _reclaimed {
    my ($self, $canary, $dead, @runs) = @_;
    my ($lost) = grep { $_->{pid} == $dead->{pid} && $_->{t} <= $dead->{t} }
                 reverse @runs;
    return unless $lost && $self->{mode}{reclaim};

    my ($next) = grep { $_->{t} > $dead->{t} } @runs;
    return unless $next && $next->{attempt} == $lost->{attempt} + 1;

    my $took = $next->{t} - $dead->{t};
    $self->_bad('10', sprintf '%s was taken over after %.1f s', $canary, $took)
        if $took > $self->{mode}{reclaim};
}


# 12: what was cancelled while it waited never runs.

sub _cancelled {
    my ($self) = @_;
    my %ran;

    return if $self->{mode}{gives_up};

    push @{ $ran{$_->{canary}} }, $_ for @{ $self->{seen}{trace} || [] };

    for my $id (sort keys %{ $self->{stopped} }) {
        my $canary = $self->{canary_of}{$id} // next;

        for my $op (@{ $self->{stopped}{$id} }) {
            # a delete does not say whether the job was running already
            next unless $op->{ev} eq 'ok'
                        && ($op->{state} // '') eq 'cancelled';

            for my $run (grep { $_->{t} > $op->{t1} } @{ $ran{$canary} || [] })
            {
                $self->_bad('12', "$id was cancelled (op $op->{op}) and began",
                    sprintf('attempt %d, %.2f s later', $run->{attempt},
                            $run->{t} - $op->{t1}));
            }
        }
    }
}


# 13: what was read of a job while it ran is what is stored, and together it
# is the answer.  A Redis that lost what it had said is told it once more, but
# who read it before has read more than the next attempt knows of.

sub _said {
    my ($self) = @_;
    my ($seen, $mode) = @$self{qw(seen mode)};
    my $said = $seen->{said} || {};
    my $lossy = $mode->{gives_up} || $mode->{forgets};
    my %body = map { $_->{job} => $_->{body} } @{ $seen->{results} || [] };

    for my $op (grep { $_->{events} } @{ $seen->{ops} }) {
        my $who = "op $op->{op} followed $op->{id}";

        $self->_bad('13', "$who to an end that is none") if !$op->{end};
        $self->_bad('13', "$who: it said '" . text_of(@{ $op->{events} })
            . "', then the answer was '$op->{response}'")
            if defined $op->{response}
               && text_of(@{ $op->{events} }) ne $op->{response};
    }

    for my $id (sort keys %$said) {
        my $row = $seen->{rows}{$id} or next;
        my $ok = $row->{state} eq 'succeeded' && defined $body{$id};
        next if $row->{deleted} || $lossy && !$ok;

        my $end = $ok ? $row->{attempt} : undef;
        my $stored = $said->{$id}{stored};
        my %wrong;

        for my $live (@{ $said->{$id}{live} }) {
            my @read = $lossy ? grep { $_->[0] == $end } @$live : @$live;
            $wrong{$_} = 1 for contradicts(\@read, $stored, $end);
        }

        $wrong{"it said '" . text_of(@$stored) . "', the answer is '$body{$id}'"}
            = 1 if $ok && @$stored && $stored->[-1][0] == $end
                   && $stored->[-1][2] eq 'd'
                   && text_of(@$stored) ne $body{$id};

        $self->_bad('13', "$id: $_") for sort keys %wrong;
    }
}

1;
