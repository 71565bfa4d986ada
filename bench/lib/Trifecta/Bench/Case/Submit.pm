package Trifecta::Bench::Case::Submit;

# A question is accepted: checked, put into the queue, on disk.  No sidecar
# runs, so nobody takes anything away: neither the jobs nor the entries of the
# accept log, which has a bound.  Before each row the queue is emptied, outside
# of the measured time, and a row asks at most as often as the bound allows.
# What the sidecar does behind a submit is a row of its own.

use strict;
use warnings;

use Trifecta::Bench::Cost;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Rounds qw(attempt cost_of);
use Trifecta::Bench::Stack;

# LEDGER_MAX of migrations/redis/trifecta_v1/00_model.lua, for all of a row
my $MOST = 100_000;


sub what { 'a question is accepted and on disk' }

sub columns {
    return [['rate', 'a second'], ['cpu nginx', 'µs nginx'],
            ['cpu app', 'µs of the app'], ['cpu redis', 'µs Redis'],
            ['cpu sidecar', 'µs sidecar'], ['cpu pg', 'µs PostgreSQL'],
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
          column => 'cpu nginx', most => 3.6 },
        # rates are for machines with nothing else to do, time for all
        { name => 'processor time of all for a submit, against FastAPI',
          quick => 1, over => 'ours, HTTP, HS256', under => 'FastAPI, best',
          column => 'cpu', most => 0.5 },
        { name => 'submits a second, against FastAPI',
          over => 'ours, HTTP, HS256', under => 'FastAPI, best',
          column => 'rate', least => 3 },
    );
}


sub rows {
    my ($env) = @_;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
        sidecars => 0, sidecar => { threads => 1 },
        # the one job that a sidecar takes keeps it for good
        mock => { never => [600_000, 1, 0] });
    my $ours = sub {
        my ($name, $alg, $tls) = @_;
        return row($env, name => $name, port => $tls ? $t->{port} : $t->{plain},
            path => $alg ? '/api/v1/query' : '/bare-submit',
            header => [map { Trifecta::Bench::Stack::header_of($t, $_) }
                       $alg || ()],
            ca => $tls ? $t->{ca} : undef, leaves => $alg ? '' : 'everything',
            groups => $alg ? [qw(nginx redis)] : ['nginx'],
            before => sub { Trifecta::Bench::Stack::empty($t) }, @_[3 .. $#_]);
    };

    my @rows = (
        $ours->('return 202, HTTP', undef, 0),
        $ours->('ours, HTTP, HS256', 'HS256', 0),
        $ours->('return 202, TLS', undef, 1),
        map { $ours->("ours, TLS, $_", $_, 1) } qw(HS256 RS256 ES256));

    push @rows, $ours->('ours, HTTP, HS256, with what follows', 'HS256', 0,
        groups => [qw(nginx redis sidecar pg)], before => sub {
            Trifecta::Bench::Stack::empty($t);
            $t->start('sidecar', 0);
            sleep 1;
        }, after => sub { $t->kill('sidecar', 0) }) unless $env->{quick};

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

    return row($env, name => "FastAPI, $how", port => $port, path => '/query',
        cost => Trifecta::Bench::Cost->new(app => [$proc->pid],
                                           redis => [$redis->{proc}->pid]),
        before => sub { Trifecta::Bench::Stack::flush_peer($t) },
        header => [Trifecta::Bench::Stack::header_of($t, 'HS256')],
        leaves => 'tenants, limits, bounds, idempotency, leases');
}


sub row {
    my ($env, %row) = @_;
    my ($port, $path) = @row{qw(port path)};
    my %common = (name => $row{name}, method => 'POST', status => 202,
        ca => $row{ca},
        requests => $row{path} =~ /^.bare/ ? undef : $MOST - $MOST / 10,
        header => ['Content-Type: application/json', @{ $row{header} }],
        body => '{"query": "What does a sidecar do on SIGTERM? @@"}');

    return { name => $row{name}, leaves => $row{leaves}, measure => sub {
        $row{before}->();
        my $cost = $row{cost} || Trifecta::Bench::Cost->new(
            Trifecta::Bench::Stack::groups($env->{t}, @{ $row{groups} }));
        my $got = cost_of($cost, sub {
            my $load = load($port, $path, %common, connections => 32,
                seconds => $env->{seconds}, warmup => 0.3);
            return ($load->{sent}, rate => $load->{rate});
        });
        $row{after}->() if $row{after};
        return $got if $env->{closed};

        $row{before}->();
        my $open = load($port, $path, %common, connections => 128,
            rate => $env->{rate}, seconds => $env->{seconds}, warmup => 0.5);
        $row{after}->() if $row{after};
        $got->{$_} = $open->{latency}{$_} for qw(p50 p99 p999);
        return $got;
    } };
}

1;
