package Trifecta::Bench::Case::Jobs;

# From the first submit to the last durable result, of jobs that do nothing.
# When the last one ended is asked of the store that has the results.  Each
# round of a peer has a worker and a queue of its own.

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Trifecta::Bench::Cost;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Rounds qw(cost_of);
use Trifecta::Bench::Stack;

my $AT_ONCE = 32;
my $SIZE = 1024;
my $LIMIT = 40;             # seconds of one try

# name, program, kind, jobs, concurrency of the worker, what it leaves out
my $LESS = 'HTTP, tokens, tenants, limits';
our @PEERS = (
    ['BullMQ, results in PostgreSQL', 'node', 'bullmq-pg', 1000, 32, $LESS, 1],
    ['BullMQ, results in Redis', 'node', 'bullmq', 1000, 32,
     "$LESS, results in PostgreSQL", 1],
    ['BullMQ, results in Redis, default', 'node', 'bullmq', 1000, 1,
     "$LESS, results in PostgreSQL"],
    ['graphile-worker', 'node', 'graphile', 1000, 32, $LESS],
    ['pg-boss', 'node', 'pgboss', 1000, 256, $LESS],
    ['Celery', 'python', 'celery', 300, 0, "$LESS, results in PostgreSQL"],
    ['RQ', 'python', 'rq', 300, 1, "$LESS, results in PostgreSQL"],
);


sub what { 'jobs that do nothing, from submit to durable result' }

sub columns {
    return [['rate', 'jobs a second'], ['cpu nginx', 'µs nginx'],
            ['cpu sidecar', 'µs sidecar'], ['cpu app', 'µs of the worker'],
            ['cpu redis', 'µs Redis'], ['cpu pg', 'µs PostgreSQL'],
            ['cpu', 'µs in all']];
}


sub targets {
    my $ours = "ours, $AT_ONCE at once";

    return ({ name => 'jobs a second, against BullMQ with PostgreSQL',
              over => $ours, under => $PEERS[0][0], column => 'rate',
              least => 5 },
            # where it is now, with room for a busy machine
            { name => 'processor time of all for a job, against BullMQ with'
                . ' PostgreSQL: not worse than it was', over => $ours,
              under => $PEERS[0][0], column => 'cpu', most => 4.5,
              quick => 1 },
            map { { name => "jobs a second, against $_->[0]", over => $ours,
                    under => $_->[0], column => 'rate', least => 1.2 } }
                grep { $_->[2] =~ /^(graphile|pgboss|celery|rq|bullmq)$/ }
                @PEERS);
}


sub rows {
    my ($env) = @_;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
        mock => { noop => [0, 4, 0] });
    my @rows = map { ours($env, $t, $_) } $env->{quick} ? $AT_ONCE
                                                        : (1, $AT_ONCE, 256);
    return @rows unless $env->{peers};

    my $redis = Trifecta::Bench::Stack::peer_redis($t);
    return @rows, map { peer($env, $t, $redis, @$_) }
                  grep { !$env->{quick} || $_->[6] } @PEERS;
}


sub ours {
    my ($env, $t, $at_once) = @_;
    my $header = Trifecta::Bench::Stack::header_of($t, 'HS256');
    my $jobs = $at_once == 1 ? 100 : $env->{quick} ? 300 : 1000;
    my $fill = 'x' x ($SIZE - 60);
    my $cost = Trifecta::Bench::Cost->new(Trifecta::Bench::Stack::groups($t,
        qw(nginx sidecar redis pg)));

    return { name => "ours, $at_once at once", leaves => '', measure => sub {
        my $before = count($t);
        return cost_of($cost, sub {
            my $start = time;
            load($t->{plain}, '/api/v1/query', method => 'POST', status => 202,
                 header => ['Content-Type: application/json', $header],
                 body => "{\"query\": \"$start @@ $fill\"}",
                 requests => $jobs, seconds => $LIMIT,
                 connections => $at_once);
            until (count($t) >= $before + $jobs) {
                die "$jobs jobs were not done in $LIMIT seconds\n"
                    if time - $start > $LIMIT;
                sleep 0.05;
            }
            my $end = $t->sql('admin',
                "SELECT extract(epoch FROM max(finished)), count(*) FILTER
                 (WHERE state <> 'succeeded') FROM trifecta.job")->[0];
            die "$end->[1] jobs did not succeed\n" if $end->[1];
            return ($jobs, rate => $jobs / ($end->[0] - $start));
        });
    } };
}


sub count {
    my ($t) = @_;
    return $t->sql('admin',
        'SELECT count(*) FROM trifecta.job_result')->[0][0];
}


sub peer {
    my ($env, $t, $redis, $name, $language, $kind, $jobs, $concurrency,
        $leaves) = @_;
    my $root = $env->{root};
    my @cmd = ($language eq 'node' ? ('node', "$root/bench/peers/jobs.mjs")
               : ('/usr/bin/python3', "$root/bench/peers/jobs.py"), $kind);
    my $rounds = 0;
    my $store = $kind =~ /^(bullmq|celery|rq)/;

    return { name => $name, leaves => $leaves, measure => sub {
        (my $database = "$kind$concurrency" . ++$rounds) =~ s/\W//g;
        my %peer = (REDIS_PORT => $redis->{port},
            NODE_PACKAGES => "$root/build/bench/node", PG_URL =>
            Trifecta::Bench::Stack::peer_database($t, $database));
        local %ENV = (%ENV, %peer);

        said(@cmd, 'prepare') if $language eq 'node';
        Trifecta::Bench::Stack::flush_peer($t) if $store;
        my $worker = Trifecta::Bench::Stack::peer($t, "$kind-$rounds", 0,
            { env => \%peer }, @cmd, 'work', $concurrency);
        my $log = "$t->{dir}/log/peer-$kind-$rounds.log";
        $t->wait_for(sub { $t->read_file($log) =~ /^ready/m }, 20)
            or die "its worker does not get ready:\n" . $t->read_file($log);
        sleep 1 if $language eq 'python';

        my $cost = Trifecta::Bench::Cost->new(app => [$worker->pid],
            $store ? (redis => [$redis->{proc}->pid]) : (),
            Trifecta::Bench::Stack::groups($t, 'pg'));
        my $n = $env->{quick} && $jobs > 300 ? 300 : $jobs;
        my $got = eval { cost_of($cost, sub {
            my $start = said(@cmd, 'add', $n, $AT_ONCE, $SIZE);
            my $end = said(@cmd, 'wait', $n);
            return ($n, rate => $n * 1000 / ($end - $start));
        }) };
        my $error = $@;
        eval { $worker->kill };
        die "$name: $error" . $t->read_file($log) unless $got;
        $got->{cpu} -= delete $got->{'cpu pg'}
            if $kind =~ /^(bullmq|celery|rq)$/;
        return $got;
    } };
}


# The last line that a peer's program prints, in time.

sub said {
    open my $fh, '-|', 'timeout', $LIMIT, @_ or die "$_[0]: $!\n";
    my @lines = <$fh>;
    close $fh or die "@_ failed, or took longer than $LIMIT seconds\n";
    return $lines[-1] // '';
}

1;
