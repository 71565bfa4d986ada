package Trifecta::Test::Promises;

# What a test was promised, and whether it was kept:
#
#   my $p = Trifecta::Test::Promises->new($t, patience => 1);
#   my $job = $p->ask('say=hello', want => 'succeeded');
#   ...                         whatever may happen to the stack
#   my @broken = $p->broken(crashes => 1, seconds => 20);
#
# ask() posts a script for the model "test" with an Idempotency-Key of its own
# and returns { id, script, ... }; id is undef when nobody knows whether it was
# accepted.  cancel($job) and delete($job) do that, and return the answer; what
# then is wanted, the test says: $job->{want} is the state that the job must
# end in, or "deleted"; code is that of its error, runs how often its work may
# begin if nothing dies (1).
#
# broken() sends each question again with its key: an id that was promised must
# come back, and a question whose answer was lost must become one job, not two.
# Then it waits for every end and returns one line for each thing that is wrong:
# another state, another text, other events than those that were read while it
# ran, an end that changed, a row or a result too many,
# more executions than 1 + crashes, what is left in an idle queue.  How long it
# waits for what does not come is multiplied with patience.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use Trifecta::Test::Events;

my $Q = '/api/v1/query';
my $P = '{trifecta:0}';


sub new {
    my ($class, $t, %o) = @_;
    return bless { t => $t, jobs => [], patience => 1, %o }, $class;
}


sub jobs { @{ $_[0]{jobs} } }


sub _post {
    my ($self, $job) = @_;
    return $self->{t}->post($Q, { query => $job->{script}, model => 'test' },
        headers => { 'Idempotency-Key' => $job->{key},
            $job->{prefer} ? (Prefer => $job->{prefer}) : () }, timeout => 5);
}


sub ask {
    my ($self, $script, %job) = @_;
    my $job = { script => $script, want => 'succeeded', runs => 1, %job,
                key => sprintf('%d-%d', $$, ++$self->{t}{promised}) };

    $job->{answer} = $self->_post($job);
    $job->{id} = $job->{answer}{json}{query_id}
        if $job->{answer}{status} == 202;

    push @{ $self->{jobs} }, $job;
    return $job;
}


sub cancel {
    my ($self, $job) = @_;
    return $self->{t}->post("$Q/$job->{id}/cancel", '', timeout => 5);
}


sub delete {
    my ($self, $job) = @_;
    return $self->{t}->request('DELETE', "$Q/$job->{id}", timeout => 5);
}


# The same question with the same key: an error, or nothing.

sub _again {
    my ($self, $job) = @_;
    my $res;

    # deleted: its key leads to what is gone
    return if $job->{want} eq 'deleted';

    $self->{t}->wait_for(sub {
        ($res = $self->_post($job))->{status} =~ /^20[02]$/
    }, 30 * $self->{patience});

    my $id = $res->{json}{query_id}
        // return "$job->{script}: sent again: $res->{status} $res->{content}";

    $job->{id} //= $id;
    return if $job->{id} eq $id;
    return "$job->{script}: was $job->{id}, sent again it is $id";
}


sub _ended {
    my ($self, $job) = @_;
    my $res = $self->{t}->result($job->{id}, timeout => 5);

    $job->{is} = $res->{status} == 410 ? 'deleted'
        : $res->{status} == 200 ? $res->{json}{status}
        : "$res->{status} " . ($res->{code} // '');
    $job->{end} = $res->{json};

    return $job->{is} !~ /^(queued|running|\d.*)$/;
}


sub _row {
    my ($self, $job) = @_;
    return @{ $self->{t}->sql('admin', 'SELECT j.state, j.attempt, '
        . 'j.deleted IS NOT NULL, j.request IS NULL, '
        . '(SELECT count(*) FROM trifecta.job_result r WHERE r.job = j.id), '
        . '(SELECT max(body) FROM trifecta.job_result r WHERE r.job = j.id) '
        . 'FROM trifecta.job j WHERE id = ?', $job->{id}) };
}


sub _wrong_end {
    my ($self, $job, $most) = @_;
    my @rows = $self->_row($job);
    my ($say) = $job->{script} =~ /say=(.*)/;
    my @wrong;

    return 'has ' . @rows . ' rows' if @rows != 1;

    my ($state, $attempt, $deleted, $erased, $results, $body) = @{ $rows[0] };

    push @wrong, "$results results of a job that is $state"
        if $results != ($state eq 'succeeded' && !$deleted);
    push @wrong, "attempt $attempt, at most $most were needed"
        if $attempt > $most;

    if ($job->{want} eq 'deleted') {
        push @wrong, 'its row is not erased' unless $deleted && $erased;

    } elsif ($state ne $job->{is}) {
        push @wrong, "its row is $state";

    } elsif ($state eq 'succeeded') {
        push @wrong, "its result is \"$body\" at attempt $attempt"
            unless $body =~ /^pid=\d+ attempt=$attempt \Q$say\E$/;
        push @wrong, "it is polled as \"$job->{end}{response}\", stored as "
            . "\"$body\"" if $job->{end}{response} ne $body;

        push @wrong, contradicts([live_events($self->{t}, $job->{id})],
            [stored_events($self->{t}, $job->{id})], $attempt);

    } elsif ($job->{code}) {
        my $code = $job->{end}{error}{code} // 'none';
        push @wrong, "its error is $code" if $code ne $job->{code};
    }

    return @wrong;
}


sub broken {
    my ($self, %o) = @_;
    my $t = $self->{t};
    my @jobs = $self->jobs;
    my @wrong = grep { defined } map { $self->_again($_) } @jobs;
    my $end = time + ($o{seconds} // 15) * $self->{patience} * $t->slow;

    for my $job (grep { $_->{id} } @jobs) {
        my $left = $end - time;
        my $as = "$job->{script} ($job->{id})";

        if (!$t->wait_for(sub { $self->_ended($job) },
                          $left > 0.5 ? $left / $t->slow : 0.5))
        {
            push @wrong, "$as does not end, it is $job->{is}";
            next;
        }

        push @wrong, "$as ended as $job->{is}, not $job->{want}"
            if $job->{is} ne $job->{want};
    }

    # the ledger writes down behind the queue
    push @wrong, $t->not_idle(10 * $self->{patience}), $t->unsound;

    for my $job (grep { $_->{id} } @jobs) {
        my ($was, $seen) = @$job{qw(is end)};
        my $as = "$job->{script} ($job->{id})";

        $self->_ended($job);
        push @wrong, "$as was $was, now it is $job->{is}"
            if $job->{is} ne $was
               || ($seen->{response} // '') ne ($job->{end}{response} // '');
        push @wrong, map { "$as: $_" }
            $self->_wrong_end($job, $job->{runs} + ($o{crashes} // 0));
    }

    my $rows = $t->sql('admin', 'SELECT count(*) FROM trifecta.job')->[0][0];
    push @wrong, "$rows rows of $t->{promised} questions"
        if $rows != $t->{promised};

    # it is said once, and not of everything that comes after it
    $t->{promised} = $rows;

    return @wrong;
}

1;
