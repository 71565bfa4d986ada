# Idempotency-Key: what is sent again makes no second job, whatever happened
# to the first answer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0);
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $body = { query => 'once' };

sub ask {
    my ($key, $what, %o) = @_;
    return $t->post($Q, $what // $body, %o,
        headers => { 'Idempotency-Key' => $key });
}

sub id { $_[0]{json}{query_id} // '' }
sub says { "$_[0]{status} " . ($_[0]{code} // '') }
sub jobs { $t->redis('ZCARD', "$P:live") }
sub replayed { ($_[0]{headers}{'idempotency-replayed'} // '') eq 'true' }
sub ready { $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20) }


# Again, with the same body and with another

{
    my $n = jobs();
    my $first = ask('k1');
    is $first->{status}, 202, 'a question with a key is accepted'
        or diag $first->{content};
    ok !replayed($first), 'it is no replay';

    my $again = ask('k1');
    is $again->{status}, 202, 'the_same_again_is_answered_the_same';
    is_deeply $again->{json}, $first->{json}, 'with the same body';
    is $again->{headers}{location}, $first->{headers}{location},
        'and Location';
    ok replayed($again), 'as_a_replay';
    ok $again->{headers}{'retry-after'}, 'with Retry-After';
    is jobs() - $n, 1, 'and_is_one_job';

    my $before = $t->snapshot_of_queue;
    my $other = ask('k1', { query => 'else' });
    is says($other), '422 idempotency_key_reused',
        'another_body_is_422';
    is $other->{json}{error}{param}, 'Idempotency-Key', 'param names the key';
    ok !replayed($other), 'no replay';
    is says(ask('k1', '{"query": "once"}')), '422 idempotency_key_reused',
        'a body of other bytes is another body';
    $t->nothing_enqueued($before, 'and nothing is enqueued');

    isnt id(ask('k2')), id($first), 'another_key_is_another_job';
    my $none = $t->post($Q, $body);
    isnt id($none), id($first), 'no key is another job';

    # what Redis knows

    my $hash = sha256_hex(join '', map { pack('n', length) . $_ }
        'test:alice', "POST $Q", 'k1');
    is $t->redis('GET', "$P:idem:default:$hash"),
        id($first) . ' ' . sha256_hex('{"query":"once"}'),
        'a_key_is_known_by_the_hash_of_owner_route_and_key';
    cmp_ok $t->redis('PTTL', "$P:idem:default:$hash"), '>', 86_000_000,
        'for a day';
}


# Whose key it is

{
    my $mine = id(ask('shared'));
    for my $who ([user => 'sub', 'bob'], [tenant => 'tenant', 'acme']) {
        my ($what, @claim) = @$who;
        my $res = ask('shared', $body, token => $t->token(@claim));
        is $res->{status}, 202, "another_${what}s_key_is_another_key";
        isnt id($res), $mine, 'with another job';
        ok !replayed($res), 'no replay';
    }
}


# Keys

{
    my $n = jobs();
    for my $key ('x', 'y' x 255, '"quoted"', 'with a space', '~!@#$%^&*()') {
        is ask($key)->{status}, 202, 'a key of ' . length($key)
            . ' bytes is good';
        ok replayed(ask($key)), 'and remembered';
    }
    is jobs() - $n, 5, 'five keys, five jobs';

    my $before = $t->snapshot_of_queue;
    for my $case (['256 bytes', 'z' x 256], ['no byte', ''],
                  ['bytes beyond ASCII', "caf\xc3\xa9"],
                  ['a control character', "a\tb"], ['DEL', "a\x7fb"])
    {
        my ($name, $key) = @$case;
        my $json = '{"query":"once"}';
        my $res = $t->raw("POST $Q HTTP/1.1\r\nHost: localhost\r\n"
            . 'Authorization: Bearer ' . $t->token . "\r\n"
            . "Content-Type: application/json\r\nIdempotency-Key: $key\r\n"
            . 'Content-Length: ' . length($json) . "\r\n\r\n$json");
        is says($res), '400 invalid_value', "a_key_with_${name}_is_400";
        is $res->{json}{error}{param}, 'Idempotency-Key', 'param names it';
    }
    my $res = $t->raw("POST $Q HTTP/1.1\r\nHost: localhost\r\n"
        . 'Authorization: Bearer ' . $t->token . "\r\nContent-Type: "
        . "application/json\r\nIdempotency-Key: a\r\nIdempotency-Key: a\r\n"
        . "Content-Length: 13\r\n\r\n{\"query\":\"x\"}");
    is says($res), '400 invalid_value', 'two_keys_are_400';
    $t->nothing_enqueued($before, 'nothing is enqueued');
}


# Many at once: one job

{
    my $n = jobs();
    my @pids;

    for my $k (1 .. 8) {
        my $pid = fork // die "fork: $!";
        if ($pid == 0) {
            $t->write_file("$t->{dir}/run/at_once.$k", join '',
                map { my $r = ask('at once'); "$r->{status} " . id($r) . ' '
                      . (replayed($r) ? 1 : 0) . "\n" } 1 .. 3);
            POSIX::_exit(0);
        }
        push @pids, $pid;
    }
    waitpid $_, 0 for @pids;

    my @got = map { split /\n/, $t->read_file("$t->{dir}/run/at_once.$_") }
              1 .. 8;
    my %ids = map { (split)[1] => 1 } @got;
    is jobs() - $n, 1, 'many_at_once_make_one_job';
    is scalar(keys %ids), 1, 'and all hear of that';
    is scalar(grep { /^202 \S+ 0$/ } @got), 1, 'one of them as the first';
    is scalar(grep { /^202 \S+ 1$/ } @got), 23, 'the others as replays';
}


# A question that is refused does not use its key up

{
    is says(ask('late', { query => '' })), '400 invalid_value', 'refused';
    is ask('late')->{status}, 202, 'a_refused_question_leaves_its_key_free';

    $t->redis('HSET', "$P:meta", 'paused', 1);
    is says(ask('paused')), '503 queue_unavailable', 'paused';
    my $old = ask('k1');
    is $old->{status}, 202, 'a_replay_is_answered_while_the_queue_is_paused';
    $t->redis('HDEL', "$P:meta", 'paused');
    ok !replayed(ask('paused')), 'then it is the first';
}


# The resend: the first try has been executed, its answer was lost

{
    sleep 1.2;
    my $n = jobs();

    $t->freeze('redis');
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        sleep 0.9;      # the first try is given up after 0.8
        $t->thaw('redis');
        POSIX::_exit(0);
    }
    my $res = ask('resent');
    waitpid $pid, 0;

    is $res->{status}, 202, 'an_unanswered_question_is_sent_again'
        or diag $res->{content};
    ok !replayed($res), 'its own first try is no replay';
    ok ready(), 'all workers are ready';
    is jobs() - $n, 1, 'and is one job';
    my $again = ask('resent');
    is id($again), id($res), 'which the key leads to';
    ok replayed($again), 'as a replay';
}


# After a 504 that was executed after all

for my $pause (0, 2) {
    sleep 1.2;
    my $n = jobs();

    $t->freeze('redis');
    my $res = ask("unconfirmed $pause");
    is says($res), '504 submit_unconfirmed', 'a frozen Redis is 504';
    my ($lost) = $res->{headers}{location} =~ m{([^/]+)\z};

    # the client tries again at once, or when Redis is back

    my @more = $pause ? () : map { ask("unconfirmed $pause") } 1 .. 3;
    $t->thaw('redis');
    ok ready(), 'Redis is back';

    my $again = ask("unconfirmed $pause");
    is $again->{status}, 202, 'after_a_504_it_can_be_sent_again';
    ok replayed($again), 'it was executed after all';
    is jobs() - $n, 1, 'and_is_exactly_one_job';
    my %sent = map { ($_->{headers}{location} // '') => 1 }
        grep { $_->{status} == 504 } $res, @more;
    ok $sent{"$Q/" . id($again)}, 'one of those that were sent';
    is id($again), $lost, 'the one of the Location' if $pause;
}


# The present state

{
    $t->start('sidecar', 0);
    my $say = { query => 'say=hello', model => 'test' };
    my $id = id(ask('answered', $say));
    is $t->wait_for_answer($id)->{status}, 'succeeded', 'it is answered';

    my $res = ask('answered', $say);
    is $res->{status}, 200, 'a_replay_of_what_has_ended_is_200';
    ok replayed($res), 'and says that it is one';
    is_deeply $res->{json}, $t->result($id)->{json}, 'with_the_finished_body';
    like $res->{json}{response}, qr/hello/, 'the answer, that is';

    my $slow = { query => 'sleep=20000', model => 'test' };
    $id = id(ask('running', $slow));
    ok $t->wait_for(sub { $t->result($id)->{json}{status} eq 'running' }, 15),
        'another runs';
    $res = ask('running', $slow);
    is "$res->{status} $res->{json}{status}", '202 running',
        'a_replay_of_what_runs_says_so';
    is id($res), $id, 'by its id';

    my $soon = { query => 'sleep=1500 say=late', model => 'test' };
    my $first = ask('waited', $soon);
    is $first->{status}, 202, 'one that takes a while';
    $res = $t->post($Q, $soon, headers => { 'Idempotency-Key' => 'waited',
                                            Prefer => 'wait=20' });
    is $res->{status}, 200, 'a_replay_can_wait_for_the_end';
    is_deeply [@{ $res->{json} }{qw(query_id status)}],
        [id($first), 'succeeded'], 'of the first job';
    ok replayed($res), 'as a replay';

    is $t->request('DELETE', "$Q/$id")->{status}, 200, 'it is deleted';
    $res = ask('running', $slow);
    is says($res), '410 gone', 'a_replay_of_what_was_deleted_is_410';
    ok replayed($res), 'and a replay';

    $id = id(ask('answered', $say));
    $t->redis('DEL', "$P:j:$id");
    is ask('answered', $say)->{json}{status}, 'succeeded',
        'PostgreSQL knows what Redis has forgotten';
    $t->kill('pg');
    sleep 0.2;
    is says(ask('answered', $say)), '503 store_unavailable',
        'without_it_a_replay_is_503_and_no_second_job';
    $t->start('pg');
}

$t->finish;
done_testing;
