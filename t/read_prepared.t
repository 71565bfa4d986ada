# What became of a job is read from PostgreSQL by statements that a connection
# prepares once.  Nobody sees more by that, and nothing that can become of a
# prepared statement becomes a client's problem.  No sidecar runs: the ends of
# jobs are written here.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::Pooler;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, workers => 1,
    redis_conf => 'appendfsync no',
    pg_conf => "fsync = off\nlog_min_duration_statement = 0\n"
        . "log_line_prefix = '%u %v: '");
my $slow = $t->slow;
my %of = (alice => [default => 'test:alice'], bob => [acme => 'test:bob']);

$t->start_all;

sub ready {
    return $t->wait_for(sub {
        my $m = $t->metrics;
        $m->{trifecta_redis_ready_workers} == 1
            && $m->{trifecta_pg_ready_workers} == 1 }, 20);
}

sub token { $_[0] eq 'alice' ? $t->token : $t->token(sub => 'bob',
                                                     tenant => 'acme') }

# A job that ended, and that Redis knows nothing of any more.

sub ended {
    my ($who, $body) = @_;
    my $id = $t->ask('x', token => token($who));

    $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
        . ' model, prio, state, attempt, accepted, finished, deadline,'
        . " request) VALUES (?, ?, ?, 'query', 'extractive', 1, 'succeeded',"
        . q( 1, now(), now(), now(), '{"metadata": {"a": "b"}}') . ')', $id,
        @{ $of{$who} });
    $t->sql('admin', 'INSERT INTO trifecta.job_result (job, tenant, owner,'
        . ' attempt, body) VALUES (?, ?, ?, 1, ?)', $id, @{ $of{$who} },
        $body);
    $t->redis('DEL', "{trifecta:0}:j:$id");
    return $id;
}

sub answer {
    my ($id, $who) = @_;
    my $res = $t->get("/api/v1/query/$id", token => token($who // 'alice'));
    return $res->{status} == 200
        ? "$res->{status} " . ($res->{json}{response} // 'null')
        : $res->{status};
}

# What PostgreSQL was told since then by nginx: [transaction, word, name, text]

my $seen = 0;

sub told {
    my $log = $t->log_of('pg');
    my $new = substr $log, $seen;
    $seen = length $log;
    return map { [/^trifecta_edge (\S+):.*?(parse|execute) ([^:]+): (.*)/s] }
        grep { /^trifecta_edge \S+:.*?(parse|execute) / }
        split /\n(?=\S)/, $new;
}

sub named { grep { $_->[2] =~ /^tf_/ } @_ }

# An id as it would have been made then.

sub id_at {
    my ($time, $tenant, $owner) = @_;
    my ($key) = split /\n/, $t->read_file("$t->{dir}/secrets/id.key");
    my $ms = int($time) * 1000;
    my $front = pack 'N n C C C a4', $ms >> 16, $ms & 0xffff, 0x70, 0x01,
        0x80, 'rand';
    my $all = $front . substr hmac_sha256(pack('n/a n/a n/a', $front, $tenant,
                                               $owner), $key), 0, 3;
    return join '-', unpack 'H8 H4 H4 H4 H12', $all;
}

ok ready(), 'there are both stores';


# Once a connection

my %job = (alice => ended('alice', 'hers'), bob => ended('bob', 'his'));
my ($text, $name);

{
    told();
    is answer($job{alice}), '200 hers', 'a job is read' for 1 .. 9;
    my @told = named(told());
    is scalar(grep { $_->[1] eq 'parse' } @told), 1,
        'a_statement_is_parsed_once_a_connection';
    is scalar(grep { $_->[1] eq 'execute' } @told), 9, 'and then only run';
    ($name, $text) = @{ $told[0] }[2, 3];
    like $name, qr/^tf_[0-9a-f]{16}$/, 'under its own name';

    my $res = $t->get("/api/v1/query/$job{alice}");
    is_deeply $res->{json}{metadata}, { a => 'b' }, 'with its metadata';
    is $res->{json}{model}, 'extractive', 'its model';
    like $res->{json}{completed_at}, qr/^20\d\d-.*Z$/, 'and its time';
}


# The plan is for one partition, and it is one that serves every id of the day

sub explained {
    my ($set, $sql, @bind) = @_;
    my $dbh = $t->pg_connect('edge');
    $dbh->do("SET plan_cache_mode = $set");
    $dbh->do("PREPARE q(text, text, uuid) AS $sql");
    my $plan = join "\n", map { $_->[0] } @{ $dbh->selectall_arrayref(
        'EXPLAIN EXECUTE q(' . join(', ', map { $dbh->quote($_) } @bind)
            . ')') };
    $dbh->disconnect;
    return $plan;
}

{
    (my $sql = $text) =~ s/\s*\z//;
    my $plan = explained('force_generic_plan', $sql, @{ $of{alice} },
                         $job{alice});
    my %scanned = map { $_ => 1 } $plan =~ /(?: on |\.)(job(?:_result)?_\w+)/g;
    my @tables = grep { !/_idx|_pkey/ } keys %scanned;
    is scalar @tables, 2, 'a_plan_has_one_partition_of_each_table'
        or diag $plan;
    unlike $plan, qr/Subplans Removed/, 'and does not even lock the others';
}


# Row-level security: the predicate says whose it is; without it nothing more
# is seen

{
    my $dbh = $t->pg_connect('edge');
    my $row = sub {
        my ($sql, $who, $id) = @_;
        $sql =~ s/\$(\d)/('?', '?', '?')[$1 - 1]/ge;
        my $sth = $dbh->prepare($sql);
        # in the order in which the text has them: the id, tenant, owner
        $sth->execute($id, @{ $of{$who} });
        return scalar @{ $sth->fetchall_arrayref };
    };
    my $mine = ' AND j.tenant = me.tenant AND j.owner = me.owner';
    (my $open = $text) =~ s/\Q$mine\E//
        or fail 'the statement has another predicate';

    is $row->($text, 'alice', $job{alice}), 1, 'her own job is seen';
    is $row->($text, 'alice', $job{bob}), 0, 'his is not';
    is $row->($open, 'alice', $job{alice}), 1, 'without the predicate, too';
    is $row->($open, 'alice', $job{bob}), 0,
        'a_job_of_another_tenant_is_not_seen_without_the_predicate';

    # in one transaction, as queries that share a Sync are

    $dbh->begin_work;
    is $row->($open, 'bob', $job{bob}), 1, 'his job, then';
    is $row->($open, 'alice', $job{bob}), 0,
        'who_shares_a_transaction_does_not_share_what_is_seen';
    is $row->($open, 'alice', $job{alice}), 1, 'but sees her own';
    $dbh->rollback;
    is $dbh->selectall_arrayref("SELECT count(*) FROM trifecta.job")->[0][0],
        0, 'and_nothing_is_left_of_it';
    $dbh->disconnect;
}

is answer($job{bob}, 'bob'), '200 his', 'each sees his own';
is answer($job{bob}, 'alice'), 404, 'and no other';


# Those that wait together go together

# Requests on connections of their own, which are there before nginx goes on:
# whether each got the answer that it should.

sub together {
    my (@ask) = @_;
    my ($worker) = $t->workers;
    my @sock = map { scalar $t->socket } @ask;
    my $request = sub {
        my ($id, $who) = @_;
        return "GET /api/v1/query/$id HTTP/1.1\r\nHost: localhost\r\n"
            . 'Authorization: Bearer ' . token($who) . "\r\n"
            . "Connection: close\r\n\r\n";
    };

    kill 'STOP', $worker;
    for my $i (0 .. $#ask) {
        print { $sock[$i] } $request->(@{ $ask[$i] });
        $sock[$i]->flush;
    }
    kill 'CONT', $worker;

    my @got;
    for my $sock (@sock) {
        local $SIG{ALRM} = sub { die "no answer\n" };
        alarm 20;
        my $all = do { local $/; readline $sock };
        alarm 0;
        my ($status) = $all =~ m{^HTTP/1.1 (\d+)};
        my ($body) = $all =~ /"response":"([^"]*)"/;
        push @got, $body ? "$status $body" : $status;
    }
    return \@got;
}

{
    my @both = map { (['alice', 'hers'], ['bob', 'his']) } 1 .. 10;
    my @ask = map { [$job{ $_->[0] }, $_->[0]] } @both;
    my $shared = 0;

    for (1 .. 10) {
        told();
        is_deeply together(@ask), [map { "200 $_->[1]" } @both],
            'each of many gets the own answer';
        my %of;
        $of{ $_->[0] }++ for grep { $_->[1] eq 'execute' } named(told());
        ($shared) = sort { $b <=> $a } $shared, values %of;
        last if $shared > 1;
    }
    cmp_ok $shared, '>', 1, 'queries_that_wait_together_share_a_transaction';
    cmp_ok $shared, '<=', 16, 'of at most sixteen';

    # one of them cannot be read

    my $bad = ended('alice', 'never');
    $t->sql('admin', 'CREATE POLICY bad ON trifecta.job AS RESTRICTIVE FOR'
        . " SELECT TO trifecta_edge USING (CASE WHEN id = '$bad' THEN 1 /"
        . ' (octet_length(id::text) - 36) = 1 ELSE true END)');
    is answer($bad), 503, 'a job that cannot be read';
    for (1 .. 3) {
        is_deeply together(map({ [@$_] } @ask[0 .. 5]), [$bad, 'alice'],
                           @ask[6 .. 11]),
            [map({ "200 $_->[1]" } @both[0 .. 5]), 503,
             map({ "200 $_->[1]" } @both[6 .. 11])],
            'one_that_fails_fails_no_other';
    }
    $t->sql('admin', 'DROP POLICY bad ON trifecta.job');
    is answer($bad), '200 never', 'and is read when it can be';
}


# A migration under a statement that is prepared

{
    told();
    $t->dbh('admin')->do('ALTER TABLE trifecta.job ALTER COLUMN model'
        . ' TYPE varchar(200)');
    is answer($job{alice}), '200 hers',
        'a_table_that_has_changed_fails_no_reading';
    is answer($job{alice}), '200 hers', 'nor the next one' for 1 .. 2;
    my @all = told();
    my @told = named(@all);
    is_deeply [grep { /^DEALLOCATE/ } map { $_->[3] =~ s/\s+\z//r }
               grep { $_->[1] eq 'execute' } @all],
        ["DEALLOCATE $name"], 'the_server_keeps_no_statement_of_an_older_life';
    is scalar(grep { $_->[1] eq 'parse' } @told), 1,
        'it is prepared once more';
    isnt $told[-1][2], $name, 'under another name';
    unlike $t->log_of('error'), qr/refused a query: .*cached plan/,
        'and nothing was refused';
    $t->dbh('admin')->do('ALTER TABLE trifecta.job ALTER COLUMN model'
        . ' TYPE text');
    is answer($job{alice}), '200 hers', 'as often as it changes';
}


# A new connection

{
    told();
    $t->sql('admin', 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
        . " WHERE usename = 'trifecta_edge'");
    ok $t->wait_for(sub { answer($job{alice}) eq '200 hers' }, 20),
        'a_new_connection_prepares_anew';
    is answer($job{alice}), '200 hers', '... and serves' for 1 .. 3;
    cmp_ok scalar(grep { $_->[1] eq 'parse' } named(told())), '>=', 1,
        'it was a new one';
}


# More days than are kept: each is still right, and the server keeps as many

{
    my @ids = map { id_at(time - 86400 * $_, @{ $of{alice} }) } 1 .. 70;
    for my $id (@ids) {
        $t->sql('admin', 'INSERT INTO trifecta.job (id, tenant, owner, kind,'
            . ' model, prio, state, attempt, accepted, finished, deadline)'
            . " VALUES (?, 'default', 'test:alice', 'query', 'extractive', 1,"
            . " 'failed', 1, now(), now(), now())", $id);
    }
    my @wrong = grep { answer($_) ne '200 null' } @ids, @ids;
    is_deeply \@wrong, [], 'jobs_of_any_day_are_read';
    is answer($job{alice}), '200 hers', 'and of this one';
}


# A pooler that forgets

{
    my $pooler = Trifecta::Test::Pooler->start(to => $t->{pg_port});
    $t->{opt}{pg} = '"hostaddr=127.0.0.1 port=' . $pooler->port
        . ' dbname=trifecta user=trifecta_edge sslmode=disable"';
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    ok ready(), 'there is a pooler between';

    told();
    is answer($job{alice}), '200 hers',
        'a_pooler_that_forgets_fails_no_reading' for 1 .. 8;
    is_deeply together(map { [$job{alice}, 'alice'] } 1 .. 12),
        [('200 hers') x 12], 'nor many of them';
    my @told = told();
    cmp_ok scalar(grep { $_->[1] eq 'parse' && $_->[2] =~ /^tf_/ } @told),
        '<=', 3, 'it_is_not_tried_for_ever';
    like $t->log_of('error'), qr/forgets prepared statements/, 'which is said';
    $pooler->stop;
}

$t->finish;
done_testing;
