package Trifecta::Bench::Case::Submit;

# A question is accepted: checked, put into the queue, on disk.  No sidecar
# runs, so nobody takes anything away.

use strict;
use warnings;

use Trifecta::Bench::Cost;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Rounds qw(attempt cost_of);
use Trifecta::Bench::Stack;

sub what { 'a question is accepted and on disk' }

sub columns {
    return [['rate', 'a second'], ['cpu nginx', 'µs nginx'],
            ['cpu app', 'µs of the app'], ['cpu redis', 'µs Redis'],
            ['cpu', 'µs in all'],
            ['p50', 'p50 µs'], ['p99', 'p99 µs'], ['p999', 'p99.9 µs']];
}


sub targets {
    return (
        { name => 'CPU of nginx for a submit over TLS with HS256, against'
            . ' return 202', over => 'ours, TLS, HS256',
          under => 'return 202, TLS', column => 'cpu nginx', most => 2.5 },
        { name => 'the same with RS256', over => 'ours, TLS, RS256',
          under => 'return 202, TLS', column => 'cpu nginx', most => 2.5 },
        # where it is now, with room for a busy machine
        { name => 'CPU with HS256: not worse than it was', quick => 1,
          over => 'ours, TLS, HS256', under => 'return 202, TLS',
          column => 'cpu nginx', most => 6 },
        # rates are for machines with nothing else to do, time for all
        { name => 'processor time of all for a submit, against FastAPI',
          quick => 1, over => 'ours, HTTP, HS256', under => 'FastAPI, best',
          column => 'cpu', most => 0.6 },
        { name => 'submits a second, against FastAPI',
          over => 'ours, HTTP, HS256', under => 'FastAPI, best',
          column => 'rate', least => 3 },
    );
}


sub rows {
    my ($env) = @_;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
                                                      sidecars => 0);
    my $ours = sub {
        my ($name, $path, $alg, $tls, $leaves) = @_;
        my @header = map { Trifecta::Bench::Stack::header_of($t, $_) }
                     $alg || ();
        my $cost = Trifecta::Bench::Cost->new(
            Trifecta::Bench::Stack::groups($t, $path =~ /^.bare/ ? 'nginx'
                                               : qw(nginx redis)));
        return row($env, $name, $tls ? $t->{port} : $t->{plain}, $path, $cost,
                   [@header], $tls ? $t->{ca} : undef, $leaves);
    };

    my @rows = (
        $ours->('return 202, HTTP', '/bare-submit', undef, 0, 'everything'),
        $ours->('ours, HTTP, HS256', '/api/v1/query', 'HS256', 0),
        $ours->('return 202, TLS', '/bare-submit', undef, 1, 'everything'),
        map { $ours->("ours, TLS, $_", '/api/v1/query', $_, 1) }
            qw(HS256 RS256 ES256));

    return @rows unless $env->{peers};

    for my $how ($env->{quick} ? 'best' : qw(best default)) {
        push @rows, attempt("FastAPI, $how", sub { fastapi($env, $t, $how) });
    }

    return @rows;
}


sub fastapi {
    my ($env, $t, $how) = @_;
    my $redis = Trifecta::Bench::Stack::peer_redis($t);
    my $port = $t->free_port;
    my $proc = Trifecta::Bench::Stack::peer($t, "fastapi-$how", $port,
        { env => { REDIS_PORT => $redis->{port}, JWT_ISS =>
            $t->{issuers}{test}{iss}, JWT_SECRET => $t->{jwt_secret} } },
        '/usr/bin/python3', "$env->{root}/bench/peers/fastapi_app.py", $port,
        $how);
    push @{ $env->{procs} }, $proc;

    return row($env, "FastAPI, $how", $port, '/query',
        Trifecta::Bench::Cost->new(app => [$proc->pid],
                                   redis => [$redis->{proc}->pid]),
        [Trifecta::Bench::Stack::header_of($t, 'HS256')], undef,
        'tenants, limits, bounds, idempotency, leases');
}


sub row {
    my ($env, $name, $port, $path, $cost, $header, $ca, $leaves) = @_;
    my %common = (name => $name, method => 'POST', status => 202, ca => $ca,
        header => ['Content-Type: application/json', @$header],
        body => '{"query": "What does a sidecar do on SIGTERM? @@"}');

    return { name => $name, leaves => $leaves, measure => sub {
        my $got = cost_of($cost, sub {
            my $load = load($port, $path, %common, connections => 32,
                seconds => $env->{seconds}, warmup => 0.3);
            return ($load->{sent}, rate => $load->{rate});
        });
        return $got if $env->{quick};

        my $open = load($port, $path, %common, connections => 128,
            rate => $env->{rate}, seconds => $env->{seconds}, warmup => 0.5);
        $got->{$_} = $open->{latency}{$_} for qw(p50 p99 p999);
        return $got;
    } };
}

1;
