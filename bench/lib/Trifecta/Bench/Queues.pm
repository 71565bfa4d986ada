package Trifecta::Bench::Queues;

# Jobs that do nothing, by ours and by the queues of others, each as its
# manual says is best ("mode" best), and as it comes (default).  Each run of a
# peer has a queue, a database of each store and workers of its own.
#
# A row is as long as "seconds" says: so many jobs are submitted as are done in
# that time at the rate that was seen last.  Before the measurement some jobs
# warm it up, ours and a peer's alike, so that the start of plans and caches
# does not count; they are what the first rate is taken from.
#
#   my $q = Trifecta::Bench::Queues->new($env, $t);
#   $q->ours(warm => 300, at_once => 32, size => 1024)      a sub for a row
#   $q->peer($peer, at_once => 32, size => 1024)            the same
#   my $run = $q->start($peer, workers => 2, nap => 500);   by hand: add, ...

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Trifecta::Bench::Cost;
use Trifecta::Bench::Deadline;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Rounds qw(cost_of);
use Trifecta::Bench::Stack;

our $LIMIT = 40;            # seconds of one try
my $MOST = 60_000;          # jobs of a row

my $LESS = 'HTTP, tokens, tenants, limits';
my $NONE = "$LESS, results in PostgreSQL";

# "at" is the concurrency of a worker; pg-boss takes so many jobs as a batch.
# "warm" is how many jobs are to warm it up: less than a second of work.
# "lasts" is what becomes of a job whose worker was killed.

my %LASTS = (
    bullmq => 'the lock of a job ends after 30 s, and every 30 s a worker'
        . ' looks for such jobs',
    graphile => 'a job stays locked for 4 hours',
    pgboss => 'a job expires after 15 minutes, and with it all of its batch',
    celery => 'Redis delivers what was not acknowledged after an hour',
    rq => 'the job is declared failed after 4 minutes, and is not run again'
        . ' unless it was given retries',
);

our @PEERS = (
    { name => 'BullMQ, results in PostgreSQL', kind => 'bullmq-pg', at => 32,
      warm => 300, leaves => $LESS, quick => 1, lasts => $LASTS{bullmq} },
    { name => 'BullMQ, results in Redis', kind => 'bullmq', at => 32,
      warm => 300, leaves => $NONE, quick => 1, lasts => $LASTS{bullmq} },
    { name => 'graphile-worker', kind => 'graphile', at => 32, warm => 300,
      leaves => $LESS, lasts => $LASTS{graphile} },
    { name => 'pg-boss', kind => 'pgboss', at => 256, warm => 300,
      leaves => $LESS, lasts => $LASTS{pgboss} },
    { name => 'Celery', kind => 'celery', at => 0, warm => 100,
      leaves => $NONE, lasts => $LASTS{celery} },
    { name => 'RQ', kind => 'rq', at => 1, warm => 50, leaves => $NONE,
      lasts => $LASTS{rq} },

    map { { warm => 100, at => 1, mode => 'default', %$_ } } (
        { name => 'BullMQ, results in PostgreSQL, default',
          kind => 'bullmq-pg', leaves => $LESS },
        { name => 'BullMQ, results in Redis, default', kind => 'bullmq',
          leaves => $NONE },
        { name => 'graphile-worker, default', kind => 'graphile',
          leaves => $LESS },
        # one job, every two seconds
        { name => 'pg-boss, default', kind => 'pgboss', warm => 1,
          leaves => $LESS },
        # a task is acknowledged before it runs
        { name => 'Celery, default', kind => 'celery', at => 0,
          leaves => "$NONE, tasks of a lost worker" },
        { name => 'RQ, default', kind => 'rq', warm => 20,
          leaves => $NONE }),
);


sub best { grep { ($_->{mode} // 'best') eq 'best' } @PEERS }


sub new {
    my ($class, $env, $t) = @_;
    return bless { env => $env, t => $t, runs => 0,
        header => Trifecta::Bench::Stack::header_of($t, 'HS256') }, $class;
}


# Ours: from the first submit to the last result, as PostgreSQL says it.
# "sidecars" and "threads" are there before the measurement begins; "model" is
# not the first one.  "headers" are those of submitters side by side, each with
# its share of the jobs.

sub ours {
    my ($self, %how) = @_;
    my $t = $self->{t};
    my $seen;

    return sub {
        Trifecta::Bench::Stack::sidecars($t, $how{sidecars} // 1,
            $how{threads} ? (threads => $how{threads}) : ());
        my $cost = Trifecta::Bench::Cost->new(Trifecta::Bench::Stack::groups(
            $t, qw(nginx sidecar redis redis1 pg)));
        my $warm = $self->_ours(%how, jobs => $how{warm});
        $how{jobs} = $self->many($seen // $warm->{rate}, \%how);
        my $got = $self->_ours(%how, cost => $cost);
        $seen = $got->{rate};
        return $got;
    };
}


# As many as this rate does in the seconds of a row.  pg-boss as it comes does
# one in two seconds.

sub many {
    my ($self, $rate, $how) = @_;
    my $jobs = int($rate * ($how->{seconds} // $self->{env}{seconds}));
    my $least = $how->{warm} > 5 ? 5 : $how->{warm};

    return $jobs < $least ? $least : $jobs > $MOST ? $MOST : $jobs;
}


sub _ours {
    my ($self, %how) = @_;
    my $t = $self->{t};
    my $before = done($t);
    my $start;
    my $work = sub {
        $start = $self->submit(%how);
        my $end = $start + $LIMIT;
        while (open_jobs($t)) {
            die "$how{jobs} jobs were not done in $LIMIT seconds\n"
                if time > $end;
            sleep 0.02;
        }
        return $how{jobs};
    };
    my $got = $how{cost} ? cost_of($how{cost}, $work) : {};
    $work->() if !$how{cost};

    my ($n, $end, $bad) = @{ $t->sql('admin', 'SELECT count(*),
        extract(epoch FROM max(finished)), count(*) FILTER (WHERE state <>
        ?) FROM trifecta.job JOIN trifecta.job_result r ON r.job = id',
        'succeeded')->[0] };
    die $n - $before . " of $how{jobs} jobs have a result, $bad of all"
        . " did not succeed\n" if $n - $before != $how{jobs} || $bad;
    $got->{rate} = $how{jobs} / ($end - $start);
    return $got;
}


sub submit {
    my ($self, %how) = @_;
    my $t = $self->{t};
    my @header = @{ $how{headers} || [$self->{header}] };
    my $model = $how{model} ? qq{, "model": "$how{model}"} : '';
    my $fill = 'x' x ($how{size} - 40);
    my $start = time;
    my $left = $how{jobs};
    my @pids;

    for my $k (0 .. $#header) {
        my $header = $header[$k];
        my $share = int($left / (@header - $k));
        $left -= $share;
        my $pid = @header > 1 ? fork // die "fork: $!\n" : undef;
        next if $pid && push @pids, $pid;
        my $ok = eval {
            load($t->{plain}, '/api/v1/query', method => 'POST',
                status => 202,
                header => ['Content-Type: application/json', $header],
                body => "{\"query\": \"job-@@ $start $fill\"$model}",
                requests => $share, seconds => $LIMIT,
                connections => $how{at_once});
        };
        die $@ unless $ok || defined $pid;
        print STDERR $@ unless $ok;
        POSIX::_exit($ok ? 0 : 1) if defined $pid;
    }

    for my $pid (@pids) {
        waitpid $pid, 0;
        die "jobs could not be submitted\n" if $?;
    }

    return $start;
}


sub done {
    my ($t) = @_;
    return $t->sql('admin',
        'SELECT count(*) FROM trifecta.job_result')->[0][0];
}


# Redis knows it for nothing; PostgreSQL is asked once, when they have ended.

sub open_jobs {
    my ($t) = @_;
    my $n = 0;

    $n += ($t->{queue_clients}[$_] ||= $t->shard_client($_))
        ->cmd('ZCARD', $t->prefix($_) . ':live') for 0 .. $t->shards - 1;
    return $n;
}


# A peer's queue with workers, until "end" is called.

sub start {
    my ($self, $peer, %how) = @_;
    my ($t, $kind) = ($self->{t}, $peer->{kind});
    my $root = $self->{env}{root};
    my $n = ++$self->{runs};
    my ($language, $program) = $kind =~ /^(?:celery|rq)$/
        ? ('/usr/bin/python3', 'jobs.py') : ('node', 'jobs.mjs');
    my $redis = Trifecta::Bench::Stack::peer_redis($t);
    (my $database = "$kind$n") =~ s/\W//g;
    my $run = { peer => $peer, t => $t, workers => [],
        note => "$t->{dir}/run/note-$database",
        cmd => [$language, "$root/bench/peers/$program", $kind],
        store => scalar($kind =~ /^(bullmq|celery|rq)/) };

    # one of Redis each, so that several can be there at the same time
    $run->{env} = { REDIS_PORT => $redis->{port},
        REDIS_DB => $n % $Trifecta::Bench::Stack::PEER_DATABASES,
        NODE_PACKAGES => "$root/build/bench/node",
        BENCH_MODE => $how{mode} // $peer->{mode} // 'best',
        PG_URL => Trifecta::Bench::Stack::peer_database($t, $database),
        $how{nap} ? (BENCH_NAP => $how{nap}, BENCH_NOTE => $run->{note})
                  : () };
    bless $run, 'Trifecta::Bench::Queues::Run';

    $run->said('prepare') if $language eq 'node';
    Trifecta::Bench::Stack::flush_peer($t, $run->{env}{REDIS_DB})
        if $run->{store};

    for my $k (1 .. $how{workers} // 1) {
        my $log = "$t->{dir}/log/peer-$database-$k.log";
        push @{ $run->{workers} }, Trifecta::Bench::Stack::peer($t,
            "$database-$k", 0, { env => $run->{env} }, @{ $run->{cmd} },
            'work', $peer->{at});
        $t->wait_for(sub { $t->read_file($log) =~ /^ready/m }, 20)
            or die "its worker does not get ready:\n" . $t->read_file($log);
    }

    sleep 1 if $language ne 'node';
    return $run;
}


sub peer {
    my ($self, $peer, %how) = @_;
    my $t = $self->{t};
    my $seen;

    return sub {
        my $run = $self->start($peer);
        my $cost = Trifecta::Bench::Cost->new(
            app => [map { $_->pid } @{ $run->{workers} }], $run->{store}
            ? (redis => [Trifecta::Bench::Stack::peer_redis($t)->{proc}->pid])
            : (), $peer->{leaves} =~ /PostgreSQL/ ? ()
            : Trifecta::Bench::Stack::groups($t, 'pg'));
        my ($ended, $got) = (0);
        my $work = sub {
            my ($n) = @_;
            my $start = $run->said('add', $n, @how{qw(at_once size)});
            my $end = $run->said('wait', $ended += $n);
            return ($n, rate => $n * 1000 / ($end - $start));
        };
        my $ok = eval {
            my (undef, undef, $rate) = $work->($peer->{warm});
            my $n = $self->many($seen // $rate, { %how,
                                                  warm => $peer->{warm} });
            $got = cost_of($cost, sub { $work->($n) });
        };
        my $error = $@;
        $run->end;
        die "$peer->{name}: $error" unless $ok;
        $seen = $got->{rate};
        return $got;
    };
}


package Trifecta::Bench::Queues::Run;

# The last line that the peer's program prints, in time.

sub said {
    my ($run, @args) = @_;
    local %ENV = (%ENV, %{ $run->{env} });
    delete local @ENV{qw(BENCH_NAP BENCH_NOTE)};

    my $pid = open my $fh, '-|', 'timeout', $Trifecta::Bench::Queues::LIMIT,
        @{ $run->{cmd} }, @args or die "$run->{cmd}[0]: $!\n";
    Trifecta::Bench::Deadline::child($pid);
    my @lines = <$fh>;
    close $fh or die "@{ $run->{cmd} } @args failed, or took longer than"
        . " $Trifecta::Bench::Queues::LIMIT seconds\n";
    return $lines[-1] // '';
}


sub end {
    my ($run) = @_;
    eval { $_->kill } for @{ $run->{workers} };
    eval { Trifecta::Bench::Stack::flush_peer($run->{t},
        $run->{env}{REDIS_DB}) } if $run->{store};
}

1;
