package Trifecta::Bench::Case::Chat;

# A chat through a gateway to a model server that takes no time, and to one
# that takes 60 ms until its first word and 10 ms to each other word.  Ours
# does all that it does for any job: a chat is on disk before the model hears
# of it, and its answer before it is over.  Batches grow with what is under
# way, so the closed loop has rows with many connections, too.

use strict;
use warnings;

use Trifecta::Bench::Cost;
use Trifecta::Bench::Load qw(load);
use Trifecta::Bench::Rounds qw(attempt cost_of);
use Trifecta::Bench::Stack;

# milliseconds: until the first word, and until the end
my ($DELAY, $WHOLE) = (60, 160);
# chats at once in the closed loop
my ($FEW, $MANY) = (16, 256);
my $PATH = '/v1/chat/completions';


sub what { 'a chat through a gateway to a model server' }

sub columns {
    return [['rate', 'a second, 0 ms'], ['cpu', 'µs in all'],
            ['cpu nginx', 'µs nginx'], ['cpu sidecar', 'µs sidecar'],
            ['cpu app', 'µs of the app'], ['cpu redis', 'µs Redis'],
            ['cpu pg', 'µs PostgreSQL'], ['p50', 'added p50 ms'],
            ['p99', 'added p99 ms'], ['first', 'first word p50, added ms'],
            ['first99', 'p99'], ['gap', 'gap p99 ms']];
}


sub targets {
    return (
        { name => 'processor time of a chat, all of ours against Portkey',
          over => 'ours', under => 'Portkey', column => 'cpu', most => 0.1 },
        { name => "the same with $MANY chats at once",
          over => many('ours'), under => many('Portkey'), column => 'cpu',
          most => 0.1 },
        # where it is now, with room for a busy machine, which spoils the
        # other one more
        { name => "the same with $MANY at once: not worse than it was",
          over => many('ours'), under => many('Portkey'), column => 'cpu',
          most => 0.8, quick => 1 },
        { name => 'milliseconds that are added until the first word',
          over => 'ours', column => 'first', most => 5 },
    );
}


sub many { "$_[0], $MANY at once" }


sub rows {
    my ($env) = @_;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
        # a thread for each chat that may be on its way
        sidecar => { threads => 64 }, http => "proxy_http_version 1.1;\n",
        mock => { fast => [0, 4, 0], slow => [$DELAY, 10, 10] });
    my %mock = map { $_ => $t->{mock}{$_} } qw(fast slow);

    # nginx alone, in front of the same servers
    my %proxy = map { $_ => $t->free_port } keys %mock;
    $t->{opt}{http} .= join '', map { <<"END" } sort keys %mock;
    upstream $_ { server 127.0.0.1:$mock{$_}; keepalive $MANY; }
    server {
        listen 127.0.0.1:$proxy{$_};
        location / {
            proxy_pass http://$_;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
END
    $t->write_conf;
    $t->reload;

    my $cost = sub { Trifecta::Bench::Cost->new(
        Trifecta::Bench::Stack::groups($t, @_)) };
    my $header = Trifecta::Bench::Stack::header_of($t, 'HS256');
    my %plain = map { $_ => $t->{plain} } keys %mock;

    my @rows = (
        row($env, 'the model server itself', \%mock,
            Trifecta::Bench::Cost->new(), [], 'everything'),
        both($env, 'nginx, proxy_pass', \%proxy, $cost->('nginx'), [],
            'everything'),
        both($env, 'ours', \%plain, $cost->(qw(nginx sidecar redis pg)),
            [$header], ''));

    return @rows unless $env->{peers};

    my $peer = attempt('Portkey', sub { [portkey($env, $t, \%mock)] });
    return @rows, ref $peer eq 'ARRAY' ? @$peer : $peer;
}


sub portkey {
    my ($env, $t, $mock) = @_;
    my $port = $t->free_port;
    my $proc = Trifecta::Bench::Stack::peer($t, 'portkey', $port,
        { env => { NODE_ENV => 'production' } }, 'node', "$env->{root}/build"
        . '/bench/node/node_modules/@portkey-ai/gateway/build/start-server.js',
        "--port=$port", '--headless');
    push @{ $env->{procs} }, $proc;

    return both($env, 'Portkey', { map { $_ => $port } keys %$mock },
        Trifecta::Bench::Cost->new(app => [$proc->pid]),
        ['Authorization: Bearer none', 'x-portkey-provider: openai'],
        'tokens, tenants, limits, anything that survives it', $mock);
}


# With few connections, which the ratios are about, and with many.

sub both {
    my ($env, $name, @how) = @_;
    my $row = row($env, $name, @how);

    return $row, { name => many($name), leaves => $row->{leaves},
                   measure => sub { $row->{closed}->($MANY) } };
}


sub row {
    my ($env, $name, $port, $cost, $header, $leaves, $hosts) = @_;
    my $ask = sub {
        my ($model, $stream, %how) = @_;
        my $more = $stream ? ',"stream":true' : '';
        return load($port->{$model}, $PATH, name => $name, method => 'POST',
            header => ['Content-Type: application/json', @$header, $hosts
                ? "x-portkey-custom-host: http://127.0.0.1:$hosts->{$model}/v1"
                : ()],
            body => "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\","
                . "\"content\":\"What is number @@?\"}]$more}", %how);
    };
    my $rate = $env->{chats} || 20;

    my $closed = sub {
        my ($at_once) = @_;
        return cost_of($cost, sub {
            my $load = $ask->('fast', 0, connections => $at_once,
                              warmup => 0.2, seconds => $env->{seconds});
            return ($load->{sent}, rate => $load->{rate});
        });
    };

    return { name => $name, leaves => $leaves, closed => $closed,
             measure => sub {
        my $got = $closed->($FEW);
        return $got if $env->{closed};

        my %open = (connections => 128, rate => $rate, warmup => 0.5,
                    seconds => $env->{seconds});
        my $plain = $ask->('slow', 0, %open);
        $got->{$_} = $plain->{latency}{$_} / 1000 - $WHOLE for qw(p50 p99);

        my $stream = $ask->('slow', 1, %open, until => 'zq');
        $got->{first} = $stream->{first}{p50} / 1000 - $DELAY;
        $got->{first99} = $stream->{first}{p99} / 1000 - $DELAY;
        $got->{gap} = $stream->{gap}{p99} / 1000;
        return $got;
    } };
}

1;
