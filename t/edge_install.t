# Two installations on one machine, and an nginx whose files name one store of
# each: it accepts nothing, says what to do, and mends itself when either store
# gets its right id.  PostgreSQL is not needed for a submit: a worker that has
# never heard from it goes on, one that has keeps what it heard.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $P = '{trifecta:0}';
my $Q = '/api/v1/query';

my $other = Trifecta::Test->new(sidecars => 0);
my $t = Trifecta::Test->new(sidecars => 0);
my $slow = $t->slow;

my $ours = $t->sql('admin', 'SELECT id FROM trifecta.install')->[0][0];
my $theirs = $other->sql('admin', 'SELECT id FROM trifecta.install')->[0][0];

sub ask { $t->post($Q, { query => 'x' }) }
sub reason { $t->admin('/readyz')->{json}{redis}{shards}[0]{reason} // '' }
sub in_theirs { $other->redis('ZCARD', "$P:live") }
sub ready { $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 10) }
sub installed { $t->sql('admin', 'UPDATE trifecta.install SET id = ?', $_[0]) }
sub kick { $t->sql('admin', 'SELECT pg_terminate_backend(pid) FROM '
               . "pg_stat_activity WHERE usename = 'trifecta_edge'") }
sub gone { my @old = @_; $t->wait_for(sub { !grep { -d "/proc/$_" } @old }, 20) }

sub use_redis_of {
    my ($whose) = @_;
    $t->{opt}{redis_urls} = ['redis://127.0.0.1:' . $whose->{redis_port}];
    $t->{opt}{trifecta}{trifecta_redis_password_file} =
        "$whose->{dir}/secrets/redis.pass";
    $t->write_conf;
}

# Each worker finds it out by itself.

sub refused {
    my ($name, %o) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $queue = $o{queue} || $other;
    my $why = $o{why} || qr/another\ installation\ \($theirs;\ PostgreSQL\ is
        \ of\ $ours\):\ correct\ trifecta_redis\ or\ trifecta_pg/x;

    ok $t->wait_for(sub { reason() =~ $why
                          && $t->metrics->{trifecta_subscriber_ready_workers}
                             == 0 }, $o{within} || 10), $name
        or diag reason();

    my $live = $queue->redis('ZCARD', "$P:live");
    my @res = map { ask() } 1 .. 6;
    is_deeply [grep { "$_->{status} $_->{code}" ne '503 queue_unavailable' }
        @res], [], '  nothing is accepted';
    is $queue->redis('ZCARD', "$P:live"), $live, '  really';
}


# The Redis of the other one: found at the first connection, not after it

{
    $t->stop('nginx');
    use_redis_of($other);

    my $began = in_theirs();
    my $pid = fork // die "fork: $!";

    if (!$pid) {
        while (1) { eval { ask() } }
    }

    $t->_start_nginx('nginx');
    refused('a_redis_of_another_installation_is_not_used');
    kill 'KILL', $pid;
    waitpid $pid, 0;
    is in_theirs(), $began, 'and_was_not_for_a_moment';

    like $t->log_of('error'),
        qr/\[error\].*not available: this Redis holds .* \($theirs; Postgr/,
        'the log says it, too';
    like $t->admin('/status')->{json}{redis}{shards}[0]{reason} // '',
        qr/another installation \($theirs/, 'and the page "status"';
    is $t->admin('/readyz')->{status}, 503, 'nginx is not ready';
    ok $t->admin('/readyz')->{json}{postgresql}{ready}, 'PostgreSQL is';
}


# One of the two is corrected, while nginx runs

{
    installed($theirs);
    ok ready(), 'an_id_of_postgresql_that_was_corrected_is_found'
        or diag reason();
    is ask()->{status}, 202, 'and jobs are accepted';

    # connections of this moment look by themselves in five seconds

    $other->redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    sleep 0.2;
    ok ready(), 'connected anew';
    installed($ours);
    kick();
    refused('an_id_that_changed_is_found_with_the_next_connection',
            within => 2);

    use_redis_of($t);
    gone($t->reload);
    ok ready(), 'the right trifecta_redis';
    is ask()->{status}, 202, 'jobs are accepted';

    $t->redis('HSET', "$P:meta", 'install', $theirs);
    refused('a_redis_that_another_one_has_taken_is_left', queue => $t,
            within => 25);
    $t->redis('HDEL', "$P:meta", 'install');
    ok ready(), 'a_redis_that_nobody_has_taken_is_no_other';
    $t->redis('HSET', "$P:meta", 'install', $ours);
    is ask()->{status}, 202, 'ours again';
}


# PostgreSQL away: what was heard from it is known, also after a reload

{
    $t->stop('pg');
    sleep 0.5;
    is ask()->{status}, 202, 'without_postgresql_the_right_redis_is_used';

    use_redis_of($other);
    gone($t->reload);
    refused('a_reload_knows_the_id_though_postgresql_is_away');

    use_redis_of($t);
    gone($t->reload);
    is ask()->{status}, 202, 'the right one is used after a reload, too';

    my ($victim) = $t->workers;
    kill 'KILL', $victim;
    $t->expect_log(qr/worker process $victim exited on signal 9/);
    ok $t->wait_for(sub { $t->workers == 2 && !grep { $_ == $victim }
                          $t->workers }, 10), 'a worker that was killed';
    is_deeply [grep { $_->{status} != 202 } map { ask() } 1 .. 6], [],
        'has_a_successor_that_accepts';
}


# A PostgreSQL that was never reached says nothing; when it comes, it does

{
    $t->stop('nginx');
    use_redis_of($other);
    $t->_start_nginx('nginx');
    ok $t->wait_for(sub { ask()->{status} == 202 }, 5),
        'while_postgresql_was_never_reached_jobs_are_accepted';

    $t->_start_pg('pg');
    refused('as_soon_as_it_is_there_the_redis_is_left');

    use_redis_of($t);
    gone($t->reload);
    ok ready(), 'the right one';
}


# A PostgreSQL that hangs does not keep jobs waiting for long

{
    $t->stop('nginx');
    $t->freeze('pg');
    $t->_start_nginx('nginx');

    my $res = ask();
    is $res->{status}, 202, 'a_postgresql_that_hangs_from_the_start_is_no_end';
    cmp_ok $res->{time}, '<', 5 * 0.3 * $slow, '  and no long wait';
    $t->thaw('pg');
    ok ready(), 'thawed';
}


# An id that is not there, or may not be read, is none

{
    $t->sql('admin', 'DELETE FROM trifecta.install');
    $t->stop('nginx');
    $t->_start_nginx('nginx');
    ok ready(), 'without_an_id_nginx_goes_on';
    is ask()->{status}, 202, '  and accepts';
    like $t->log_of('error'), qr/\[warn\].*trifecta\.install is empty/,
        '  and says what it does not see';
    $t->sql('admin', 'INSERT INTO trifecta.install (id) VALUES (?)', $ours);
}


# A schema of before the right to read it

{
    my $new = $t->sql('admin', 'SELECT max(version::int) FROM '
        . 'trifecta.flyway_schema_history')->[0][0];
    my $log = length $t->log_of('error');

    $t->sql('admin', 'REVOKE SELECT ON trifecta.install FROM trifecta_edge');
    $t->sql('admin', 'UPDATE trifecta.flyway_schema_history SET success = '
        . 'false WHERE version::int = ?', $new);
    kick();

    ok $t->wait_for(sub {
        my $said = $t->admin('/readyz')->{json}{postgresql}{reason} // '';
        $said =~ /schema \d+, this module needs $new: run "trifecta migrate"/
    }, 10), 'an_older_schema_is_told_to_be_migrated'
        or diag $t->admin('/readyz')->{content};
    is ask()->{status}, 202, 'and jobs are accepted';
    unlike substr($t->log_of('error'), $log), qr/permission denied/,
        'nothing is asked that it would refuse';

    $t->sql('admin', 'UPDATE trifecta.flyway_schema_history SET success = '
        . 'true WHERE version::int = ?', $new);
    kick();
    ok ready(), 'an_id_that_may_not_be_read_is_none';
    like substr($t->log_of('error'), $log),
        qr/\[warn\].*trifecta\.install can not be read/, '  and it is said';
    $t->sql('admin', 'GRANT SELECT ON trifecta.install TO trifecta_edge');
}

$other->finish;
$t->finish;
done_testing;
