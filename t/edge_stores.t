# The edge on bad days: stores that are absent, down, frozen, of another
# version, or empty.  Every answer comes in time and says what is true, and
# everything mends itself.  The manual promises "at once" and "within two
# seconds"; the bounds here are five times that, for slow machines.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0, start => 0);
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';
my $at_once = 0.5 * $t->slow;
my $in_time = 10;

sub ready { $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20) }
sub ask { $t->post($Q, { query => 'What is it?' }) }
sub jobs { $t->redis('ZCARD', "$P:live") }

sub answers {
    my ($res, $status, $code, $within, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is "$res->{status} " . ($res->{code} // ''), "$status $code", $name
        or diag $res->{content};
    cmp_ok $res->{time}, '<', $within, "  and in time";
    ok $res->{headers}{'retry-after'}, '  with Retry-After'
        if $status == 503;
}

sub not_ready {
    my ($store, $why, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $res = $t->admin('/readyz');

    is $res->{status}, 503, $name;
    ok !$res->{json}{$store}{ready}, "  $store is not ready";
    like $res->{json}{$store}{reason}, $why, '  and readyz says why';
    cmp_ok $res->{time}, '<', $in_time, '  in time';
    is $t->admin('/livez')->{status}, 200, '  but nginx lives';
}


# nginx starts without any store, and finds each when it comes

$t->start('nginx');
not_ready('redis', qr/refused/, 'without_stores_nginx_starts_not_ready');
not_ready('postgresql', qr/refused/, 'neither is there');
answers(ask(), 503, 'queue_unavailable', $at_once,
        'a question without a queue is 503 at once');
is $t->post($Q, {}, token => undef)->{code}, 'missing_token',
    'a_store_in_trouble_is_never_a_401_and_the_other_way_round';

$t->start('redis');
$t->wait_for(sub { ($t->admin('/readyz')->{json}{redis}{reason} // '')
                   =~ /epoch/ }, 20);
not_ready('redis', qr/no epoch: run "trifecta migrate"/,
          'a Redis without an epoch is not ready');
answers(ask(), 503, 'queue_unavailable', $at_once,
        'an empty Redis accepts nothing');

$t->start('pg');
$t->wait_for(sub { ($t->admin('/readyz')->{json}{postgresql}{reason} // '')
                   !~ /refused|connecting/ }, 20);
not_ready('postgresql', qr/./, 'nor is a PostgreSQL without a schema');

$t->migrate;
ok ready(), 'after_migrate_it_is_ready_by_itself';


# Jobs to look at: an open one, one that ended, one that nobody knows

my $open = $t->ask('x');
my $ended = $t->ask('x');
my $gone = $t->ask('x');
$t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind, prio,'
    . " state, attempt, accepted, finished, deadline) VALUES (?, 'default',"
    . " 'test:alice', 'query', 1, 'succeeded', 1, now(), now(), now())",
    $ended);
$t->sql('admin', 'INSERT INTO trifecta.job_result (job, tenant, owner,'
    . " attempt, body) VALUES (?, 'default', 'test:alice', 1, 'so')", $ended);
$t->redis('HSET', "$P:j:$ended", 'state', 'succeeded');
$t->redis('DEL', "$P:j:$gone");
is $t->result($ended)->{json}{response}, 'so', 'one job has ended';
is $t->result($gone)->{code}, 'gone', 'one is gone';


# Redis down

{
    my $before = $t->snapshot_of_queue;

    $t->kill('redis');
    sleep 0.2;
    answers(ask(), 503, 'queue_unavailable', $at_once,
            'redis_down_a_question_is_503_at_once') for 1 .. 4;
    is $t->result($ended)->{json}{response}, 'so',
        'redis_down_an_ended_job_is_served';
    answers($t->result($open), 503, 'queue_unavailable', $at_once,
            'redis_down_an_open_job_is_503');
    answers($t->result($gone), 503, 'queue_unavailable', $at_once,
            'redis_down_nobody_can_say_gone');
    not_ready('redis', qr/refused|closed/, 'readyz');
    ok $t->admin('/readyz')->{json}{postgresql}{ready}, 'PostgreSQL is';

    $t->start('redis');
    ok ready(), 'redis_back_it_recovers_by_itself';
    is_deeply $t->snapshot_of_queue, $before,
        'what was refused is not there, what was accepted is';
    is $t->result($open)->{json}{status}, 'queued', 'the open job is';
    is ask()->{status}, 202, 'questions are accepted';
}


# Redis frozen

{
    sleep 1.2;
    my $n = jobs();

    $t->freeze('redis');
    my $res = ask();
    answers($res, 504, 'submit_unconfirmed', $in_time,
            'redis_frozen_a_question_that_was_sent_is_504');
    is $res->{headers}{'x-should-retry'}, 'false', 'do not send it again';
    like $res->{headers}{location}, qr{^\Q$Q\E/[0-9a-f-]{36}$},
        'but look at the Location';

    # the other worker finds out by its own first question

    my @more = map { ask() } 1 .. 4;
    my @sent = grep { $_->{status} == 504 } $res, @more;
    is_deeply [grep { $_->{status} !~ /^50[34]$/ || $_->{time} > $in_time }
        @more], [], 'the next are 503, or 504 at another worker, in time';
    is scalar(@sent) + (grep { $_->{code} eq 'queue_unavailable' } @more), 5,
        'by their codes, too';

    is $t->result($ended)->{json}{response}, 'so',
        'redis_frozen_an_ended_job_is_served';
    answers($t->result($open), 503, 'queue_unavailable', $in_time,
            'redis_frozen_an_open_job_is_503');
    not_ready('redis', qr/does not answer|timed out|not connected/,
              'readyz');

    $t->thaw('redis');
    ok ready(), 'redis_thawed_it_recovers_by_itself';

    is $t->get($_->{headers}{location})->{json}{status}, 'queued',
        'the_location_of_a_504_tells_what_became_of_it' for @sent;
    is jobs() - $n, scalar @sent, 'and_nothing_was_accepted_twice';
}


# Redis frozen for a moment: the question is sent again with its id

{
    sleep 1.2;
    my $n = jobs();
    my $resent = $t->metrics->{trifecta_redis_resent_total};

    $t->freeze('redis');
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        sleep 1.1;
        $t->thaw('redis');
        require POSIX;
        POSIX::_exit(0);
    }
    my $res = ask();
    waitpid $pid, 0;

    is $res->{status}, 202, 'an_unanswered_question_is_sent_again'
        or diag $res->{content};
    cmp_ok $res->{time}, '<', $in_time, 'in time';
    is $t->metrics->{trifecta_redis_resent_total} - $resent, 1, 'once';
    is jobs() - $n, 1, 'with_its_id_so_it_is_one_job';
    ok ready(), 'all workers are ready';
}


# PostgreSQL down, then frozen

for my $how ('down', 'frozen') {
    my $within = $how eq 'down' ? $at_once : $in_time;

    sleep 1.2;
    $how eq 'down' ? $t->kill('pg') : $t->freeze('pg');
    sleep 0.2;
    my $res = ask();
    is $res->{status}, 202, "postgresql_${how}_a_question_is_accepted";
    cmp_ok $res->{time}, '<', $at_once, '  at once';
    $res = $t->result($open);
    is $res->{json}{status}, 'queued', "postgresql_${how}_an_open_job_is_200";
    cmp_ok $res->{time}, '<', $at_once, '  at once';
    answers($t->result($ended), 503, 'store_unavailable', $within,
            "postgresql_${how}_an_ended_job_is_503") for 1 .. 3;
    answers($t->result($gone), 503, 'store_unavailable', $within,
            "postgresql_${how}_nobody_can_say_gone");
    not_ready('postgresql', qr/./, 'readyz');
    ok $t->admin('/readyz')->{json}{redis}{ready}, 'Redis is';

    $how eq 'down' ? $t->start('pg') : $t->thaw('pg');
    ok ready(), "postgresql_${how}_no_more_it_recovers_by_itself";
    is $t->result($ended)->{json}{response}, 'so', 'the ended job is there';
}


# Both frozen; and a worker with two frozen stores can leave

{
    sleep 1.2;
    $t->freeze('redis');
    $t->freeze('pg');
    answers($t->result($ended), 503, 'queue_unavailable', $in_time,
            'both_frozen_it_is_503_in_time');
    my @old = $t->reload;
    ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10),
        'old_workers_leave_with_frozen_stores';
    answers(ask(), 503, 'queue_unavailable', $in_time,
            'new_workers_with_frozen_stores_refuse');
    $t->thaw('redis');
    $t->thaw('pg');
    ok ready(), 'thawed, all is well';
    is ask()->{status}, 202, 'questions are accepted';
    is $t->result($ended)->{json}{response}, 'so', 'answers are read';
}


# Stores of another version

{
    my $kick = sub {
        $t->sql('admin', 'SELECT pg_terminate_backend(pid) FROM '
            . "pg_stat_activity WHERE usename = 'trifecta_edge'");
    };

    my $v = $t->sql('admin', 'SELECT max(version::int) FROM '
        . 'trifecta.flyway_schema_history')->[0][0];

    $t->sql('admin', "UPDATE trifecta.flyway_schema_history SET version = '99'"
        . ' WHERE version = ?', $v);
    not_ready('postgresql', qr/schema 99, this module needs $v/,
              'another_schema_of_postgresql_is_not_ready');
    $kick->();
    sleep 0.3;
    answers($t->result($ended), 503, 'store_unavailable', $in_time,
            'nothing_is_read_from_another_schema');
    $t->sql('admin', 'UPDATE trifecta.flyway_schema_history SET version = ?'
        . " WHERE version = '99'", $v);
    ok ready(), 'its own version again: ready';

    $t->redis('HSET', "$P:meta", 'schema', 99);
    not_ready('redis', qr/schema 99, this module needs 1/,
              'another_schema_of_redis_is_not_ready');
    $t->redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    sleep 0.3;
    answers(ask(), 503, 'queue_unavailable', $in_time,
            'nothing_is_sent_to_another_schema');
    $t->redis('HSET', "$P:meta", 'schema', 1);
    ok ready(), 'its own version again: ready';

    $t->redis('FUNCTION', 'FLUSH');
    answers(ask(), 503, 'queue_unavailable', $at_once,
            'without_the_function_library_it_is_503');
    $t->migrate;
    is ask()->{status}, 202, 'migrate mends it';
}


# Passwords: said why, never said what

{
    my $secret = 'canary-' . join '', map { int rand 10 } 1 .. 20;

    $t->write_file("$t->{dir}/secrets/wrong.pass", "$secret\n", 0600);
    $t->{opt}{redis_password_file} = "$t->{dir}/secrets/wrong.pass";
    $t->{opt}{pg_password_file} = "$t->{dir}/secrets/wrong.pass";
    $t->write_conf;
    my %old = map { $_ => 1 } $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } keys %old }, 10);
    $t->wait_for(sub { $t->admin('/readyz')->{status} == 503 }, 10);

    not_ready('redis', qr/WRONGPASS|invalid/, 'a_wrong_password_is_named');
    not_ready('postgresql', qr/password authentication failed/, 'both are');
    unlike $t->log_of('error') . $t->admin('/readyz')->{content}
        . ask()->{content}, qr/$secret/, 'a_password_is_in_no_log_or_answer';

    delete @{ $t->{opt} }{qw(redis_password_file pg_password_file)};
    $t->write_conf;
    $t->reload;
    ok ready(), 'the right ones: ready';
}


# Mistakes in the configuration keep nginx from starting, and say what to do

{
    my $conf = $t->read_file("$t->{dir}/conf/nginx.conf");

    my $test = sub {
        my ($from, $to) = @_;
        (my $text = $conf) =~ s/$from/$to/ or die "no $from";
        my $file = $t->write_file("$t->{dir}/conf/try.conf", $text, 0644);
        my $cmd = join ' ', 'ASAN_OPTIONS=detect_leaks=0', $t->nginx_bin,
            '-t', '-p', $t->{dir}, '-e', "$t->{dir}/run/try.log", '-c', $file;
        my $out = `$cmd 2>&1`;
        return ($? >> 8, $out);
    };

    for my $case (
        ['TLS to Redis', qr/trifecta_redis \S+;/,
         'trifecta_redis rediss://127.0.0.1;', qr/TLS to Redis/],
        ['a password in the URL of Redis', qr/trifecta_redis \S+;/,
         'trifecta_redis redis://u:p@127.0.0.1;', qr/put it into a file/],
        ['a password in the conninfo', qr/user=trifecta_edge"/,
         'user=trifecta_edge password=x"', qr/put it into a file/],
        ['no host', qr/"hostaddr=\S+ /, '"', qr/names no host/],
        ['a conninfo that is none', qr/trifecta_pg "[^"]*"/,
         'trifecta_pg "nonsense=1"', qr/nonsense/],
        ['no id key', qr/trifecta_id_key_file [^;]+;/, '',
         qr/needs trifecta_id_key_file/],
        ['an id key file that is not there', qr/id\.key/, 'no.key',
         qr/no\.key.*No such file/],
        ['a short id key', qr/id\.key/, 'short.key',
         qr/shorter than 32 bytes/],
        ['a model twice', qr/trifecta_models [^;]+/, 'trifecta_models a a',
         qr/same name twice/],
        ['an unknown kind of location', qr/trifecta api/, 'trifecta apo',
         qr/must be "api", "admin" or "status"/],
        ['a bound of 0', qr/trifecta_models/,
         "trifecta_max_jobs 0;\ntrifecta_models", qr/must be between/],
    ) {
        my ($name, $from, $to, $says) = @$case;
        $t->write_file("$t->{dir}/secrets/short.key", "short\n", 0600);
        my ($status, $out) = $test->($from, $to);
        is $status, 1, "$name is refused";
        like $out, $says, '  and nginx says why';
    }

    for my $case (
        ['a name of Redis that is not known', qr/trifecta_redis \S+;/,
         'trifecta_redis redis.invalid:6379;'],
        ['a name of PostgreSQL that is not known', qr/hostaddr=\S+/,
         'host=pg.invalid'],
    ) {
        my ($name, $from, $to) = @$case;
        my ($status, $out) = $test->($from, $to);
        is $status, 0, "$name is a warning only" or diag $out;
        like $out, qr/\[warn\].*(invalid|not found)/, '  that names it';
    }

    is +($test->(qr/trifecta_redis \S+;/, 'trifecta_redis redis://'
        . "user\@127.0.0.1:$t->{redis_port};"))[0], 0, 'a URL is accepted';
}

$t->finish;
done_testing;
