package Trifecta::Bench::Case::Result;

# A finished job is asked for.  The jobs are real ones, done by a sidecar that
# then leaves; each request takes the next of them.

use strict;
use warnings;

use Trifecta::Bench::Cost;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Rounds qw(attempt cost_of);
use Trifecta::Bench::Stack;

my $JOBS = 1000;
my $ZONE = 'zone=results:16m';


sub what { 'the result of a finished job is read' }

sub columns {
    return [['rate', 'a second'], ['cpu nginx', 'µs nginx'],
            ['cpu app', 'µs of the app'], ['cpu redis', 'µs Redis'],
            ['cpu pg', 'µs PostgreSQL'], ['p50', 'p50 µs'], ['p99', 'p99 µs']];
}


sub targets {
    return (
        { name => 'results a second from PostgreSQL, against pgbench',
          over => 'ours, from PostgreSQL', under => 'pgbench, select only',
          column => 'rate', least => 0.6 },
        { name => 'results a second from the cache, against return 200',
          over => 'ours, from the cache', under => 'return 200',
          column => 'rate', least => 0.7 },
        # nobody asked for this one: it shows when the cache is none any more
        { name => 'results a second, the cache against PostgreSQL', quick => 1,
          over => 'ours, from the cache', under => 'ours, from PostgreSQL',
          column => 'rate', least => 2.5 },
        # where it is now, with room for a busy machine
        { name => 'CPU of nginx from the cache, against return 200: not worse'
            . ' than it was', quick => 1, over => 'ours, from the cache',
          under => 'return 200', column => 'cpu nginx', most => 1.8 },
    );
}


sub rows {
    my ($env) = @_;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
                                                      result_cache => $ZONE);
    my $header = Trifecta::Bench::Stack::header_of($t, 'HS256');
    my @ids = finished($t, $header);
    my $file = sub {
        my ($name, $before) = @_;
        return $t->write_file("$t->{dir}/run/$name",
                              join '', map { "$before/$_\n" } @ids);
    };
    my $groups = sub { Trifecta::Bench::Cost->new(
        Trifecta::Bench::Stack::groups($t, @_)) };
    my $paths = $file->('paths', '/api/v1/query');

    my @rows = (
        http($env, 'return 200', $t->{plain}, [], undef, $groups->('nginx'),
             'everything'),
        http($env, 'ours, from the cache', $t->{plain}, [$header], $paths,
             $groups->(qw(nginx redis pg)), '', sub { cache($t, $ZONE) }),
        http($env, 'ours, from PostgreSQL', $t->{plain}, [$header], $paths,
             $groups->(qw(nginx redis pg)), '', sub { cache($t, 'off') }));

    return @rows unless $env->{peers};
    return @rows, attempt('pgbench, select only',
                          sub { pgbench($env, $groups->('pg')) }),
        attempt('FastAPI, best', sub { fastapi($env, $header,
            $file->('paths.fastapi', '/query')) });
}


sub fastapi {
    my ($env, $header, $paths) = @_;
    my $t = $env->{t};
    my $port = $t->free_port;
    my $proc = Trifecta::Bench::Stack::peer($t, 'fastapi', $port, { env => {
        REDIS_PORT => $t->{redis_port}, JWT_ISS => $t->{issuers}{test}{iss},
        JWT_SECRET => $t->{jwt_secret},
        PG_URL => Trifecta::Bench::Stack::database($t, 'trifecta') } },
        '/usr/bin/python3', "$env->{root}/bench/peers/fastapi_app.py", $port,
        'best');
    push @{ $env->{procs} }, $proc;

    return http($env, 'FastAPI, best', $port, [$header], $paths,
        Trifecta::Bench::Cost->new(app => [$proc->pid],
            Trifecta::Bench::Stack::groups($t, 'pg')),
        'tenants, row-level security, limits, citations');
}


sub http {
    my ($env, $name, $port, $header, $paths, $cost, $leaves, $before) = @_;
    my %common = (name => $name, header => $header, paths => $paths);

    return { name => $name, leaves => $leaves, measure => sub {
        $before->() if $before;
        # each of them once, so that the cache is as warm as it will be
        load($port, '/bare-result', %common, connections => 32,
             requests => 2 * $JOBS, seconds => 20);
        my $got = cost_of($cost, sub {
            my $load = load($port, '/bare-result', %common, connections => 32,
                            seconds => $env->{seconds});
            return ($load->{sent}, rate => $load->{rate});
        });
        return $got if $env->{closed};

        my $open = load($port, '/bare-result', %common, connections => 128,
            rate => $env->{rate}, seconds => $env->{seconds}, warmup => 0.5);
        $got->{$_} = $open->{latency}{$_} for qw(p50 p99);
        return $got;
    } };
}


# The same statement over and over, prepared, of a million rows.

sub pgbench {
    my ($env, $cost) = @_;
    my $t = $env->{t};
    my ($bin) = sort { $b cmp $a } glob '/usr/lib/postgresql/*/bin/pgbench';
    Trifecta::Bench::Stack::peer_database($t, 'pgbench');
    my @connect = ('-h', '127.0.0.1', '-p', $t->{pg_port}, '-U', 'postgres');
    my $run = sub {
        local $ENV{PGPASSWORD} = $t->secret('pg_admin.pass');
        open my $fh, '-|', 'sh', '-c', 'exec "$@" 2>&1', '-', $bin, @connect,
            @_, 'pgbench' or die "$bin: $!\n";
        my $out = do { local $/; <$fh> };
        close $fh or die "pgbench failed:\n$out";
        return $out;
    };
    $run->('-i', '-q', '-s', $env->{quick} ? 1 : 10);

    return { name => 'pgbench, select only',
        leaves => 'HTTP, tokens, row-level security, transactions, JSON',
        measure => sub { cost_of($cost, sub {
            # whole seconds, of which the log-ins take the first
            my $out = $run->('-S', '-M', 'prepared', '-c', 16, '-j', 1, '-T',
                             int($env->{seconds} + 2.5));
            my ($n) = $out =~ /processed: (\d+)/;
            my ($rate) = $out =~ /^tps = ([\d.]+)/m;
            die "pgbench says no rate:\n$out" unless $n && $rate;
            return ($n, rate => $rate);
        }) } };
}


sub finished {
    my ($t, $header) = @_;
    my $keep = "$t->{dir}/run/submitted";

    load($t->{plain}, '/api/v1/query', method => 'POST', status => 202,
         header => ['Content-Type: application/json', $header],
         body => '{"query": "What is number @@?"}', keep => $keep,
         requests => $JOBS, seconds => 30, connections => 16);
    my @ids = $t->read_file($keep) =~ /"query_id":"([^"]+)"/g;

    my $done = $t->wait_for(sub {
        $t->sql('admin', "SELECT count(*) FROM trifecta.job_result")->[0][0]
            >= $JOBS }, 50);
    die "$JOBS jobs were not done in 50 seconds\n" unless $done;
    $t->stop('sidecar', 0);

    return @ids;
}


# Workers with this cache; only a change needs new ones.  The old ones are
# gone before anything is measured: they would still take connections.

sub cache {
    my ($t, $cache) = @_;

    return if $t->{opt}{result_cache} eq $cache;
    $t->{opt}{result_cache} = $cache;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { -e "/proc/$_" } @old }, 15)
        or die "old workers of nginx stay\n";
}

1;
