package Trifecta::Bench::Stack;

# Ours as it is shipped: the release build, Redis with appendfsync always,
# PostgreSQL with fsync, the sidecar's defaults, tokens checked, limits on.
# What is changed says so here: one worker of nginx, because each peer has one
# process too; bounds of the queue and limits far above what is measured;
# larger stores than those of a test.
#
# TRIFECTA_BIN and TRIFECTA_MODULE choose another build.

use strict;
use warnings;

use MIME::Base64 qw(encode_base64url);


# stack($root, %options of Trifecta::Test); mock => { name => [delay, pieces,
# gap] } also starts model servers (see bench/load/mock.c), one for each model
# of ours: the first by name is the default.

sub stack {
    my ($root, %opt) = @_;

    $ENV{TRIFECTA_BIN} //= "$root/build/release/trifecta";
    $ENV{TRIFECTA_MODULE} //=
        "$root/build/release/ngx_http_trifecta_module.so";
    require Trifecta::Test;

    my $sidecars = delete $opt{sidecars} // 1;
    my $mock = delete $opt{mock};
    my $most = 10_000_000;

    my $t = Trifecta::Test->new(start => 0, workers => 1, sidecars => $sidecars,
        connections => 16384, main => 'worker_rlimit_nofile 20000;',
        max_jobs => $most, max_jobs_per_tenant => $most,
        models => 'extractive',
        redis_conf => 'maxmemory 2gb',
        pg_conf => "shared_buffers = 256MB\nmax_wal_size = 2GB\n"
            . 'max_connections = 200',
        %opt);

    # what a test shortens is as it is shipped
    my %shipped = map { $_ => shipped($root, $_) }
        qw(threads lease heartbeat drain_timeout retention);
    $t->{shipped} = { %shipped, %{ $opt{sidecar} || {} } };
    $t->{opt}{sidecar} = { %{ $t->{shipped} } };

    _models($t, $root, $mock) if $mock;
    _keys($t);
    _listen($t);
    $t->write_conf;
    $t->start_all;

    return $t;
}


# The default of a key of sidecar.conf, as the manual has it (its tables are
# held against the sources by t/docs.t).

sub shipped {
    my ($root, $key) = @_;
    my $file = "$root/docs/configuration.md";

    open my $fh, '<', $file or die "$file: $!\n";
    my ($value) = map { /^\| `$key` \| `([^`]+)` \|/ ? $1 : () } <$fh>;
    return $value // die "$file has no default of $key\n";
}


# The answer cache is off: each request reaches the model, as with peers.  In the
# place of [delay, ...] "echo" is the provider that answers in the sidecar.

sub _models {
    my ($t, $root, $mock) = @_;
    my $conf = '';

    for my $name (sort keys %$mock) {
        if ($mock->{$name} eq 'echo') {
            $conf .= "[$name]\nprovider = echo\nretrieval = off\n";
            next;
        }

        my $port = $t->{mock}{$name} = $t->free_port;
        push @{ $t->{mock_servers} }, peer($t, $name, $port,
            "$root/build/bench/mock", $port, map { /^note$/
            ? "$t->{dir}/run/note" : $_ } @{ $mock->{$name} });
        $conf .= <<"END";
[$name]
provider  = openai
base_url  = http://127.0.0.1:$port/v1
retrieval = off
cache     = 0
END
        # one that does not answer is waited for
        $conf .= "first_token_timeout = 30m\ntotal_timeout = 30m\n"
            if $mock->{$name}[0] >= 60_000;
    }

    $t->{opt}{models} = join ' ', sort keys %$mock;
    $t->{shipped}{models} = $t->{opt}{sidecar}{models}
        = "$t->{dir}/conf/models.conf";
    $t->write_file("$t->{dir}/conf/models.conf", $conf);
}


# So many sidecars with these keys of sidecar.conf over the stack's; nothing
# happens if it is so already.

sub sidecars {
    my ($t, $n, %conf) = @_;
    my $are = join ' ', $n, map { "$_=$conf{$_}" } sort keys %conf;

    return if ($t->{sidecars_are} // '') eq $are;
    for my $k (0 .. 9) {
        my $proc = $t->proc('sidecar', $k);
        $t->stop('sidecar', $k) if $proc && $proc->alive;
    }

    $t->{opt}{sidecar} = { %{ $t->{shipped} },
        %conf };
    $t->write_conf;
    $t->start('sidecar', $_) for 0 .. $n - 1;
    $t->{sidecars_are} = $are;
}


# An issuer whose tokens are signed with ES256.

sub _keys {
    my ($t) = @_;
    my $dir = "$t->{dir}/secrets";

    system("openssl ecparam -name prime256v1 -genkey -noout -out '$dir/ec.key'"
        . " && openssl ec -in '$dir/ec.key' -pubout -out '$dir/ec.pub'"
        . " 2> /dev/null") == 0 or die "openssl made no key\n";

    $t->{opt}{http} = ($t->{opt}{http} // '') . <<"END";
    trifecta_jwt_issuer es iss=https://es.example alg=ES256
        key=$dir/ec.pub aud=trifecta tenant=acme;
    trifecta_limit name=bench key=user rate=1000000r/s burst=100000;
END
}


# The same over plain HTTP, and the limits: what nginx does by itself.

sub _listen {
    my ($t) = @_;
    my $bare = <<'END';
        location = /bare-submit {
            default_type application/json;
            return 202 '{"query_id":"00000000-0000-0000-0000-000000000000"}';
        }
        location = /bare-result {
            default_type application/json;
            return 200 '{"query_id":"00000000-0000-0000-0000-000000000000"}';
        }
END
    $t->{plain} = $t->free_port;
    $t->{opt}{locations} = ($t->{opt}{locations} // '') . $bare;
    $t->{opt}{http} .= <<"END";
    server {
        listen 127.0.0.1:$t->{plain};
        client_max_body_size 1m;
        client_body_buffer_size 1m;
        location / {
            trifecta api;
        }
$bare
    }
END
}


# A token of each kind, good for all of the run.

sub token_of {
    my ($t, $alg) = @_;
    my %long = (exp => time + 86400);

    return $t->token(%long) if $alg eq 'HS256';
    return $t->token_rs256(%long) if $alg eq 'RS256';

    return $t->_jwt('ES256', 'https://es.example', sub {
        my $in = $t->write_file("$t->{dir}/jwt.input", $_[0]);
        my $key = "$t->{dir}/secrets/ec.key";
        my $der = qx(openssl dgst -sha256 -sign "$key" "$in");
        # SEQUENCE of two INTEGERs, to two numbers of 32 bytes
        my ($r, $s) = unpack 'x2 x C/a x C/a', $der;
        return join '', map { substr(("\0" x 32) . $_, -32) } $r, $s;
    }, %long);
}


sub header_of {
    my ($t, $alg) = @_;
    return 'Authorization: Bearer ' . token_of($t, $alg);
}


# The groups of processes for Trifecta::Bench::Cost.

sub groups {
    my ($t, @what) = @_;
    return map { my $what = $_;
        my @p = map { $_->pid } grep { $_ } $what eq 'sidecar'
            ? grep { $_ && $_->alive } map { $t->proc('sidecar', $_) } 0 .. 9
            : $t->proc($what);
        @p ? ($what => \@p) : () } @what;
}


# Both stores as they were at first, while no sidecar runs: rows go, and of
# Redis all but what says that it may accept jobs, and the consumer groups.

my $EMPTY = <<'END';
for _, key in ipairs(redis.call('KEYS', '*')) do
    if redis.call('TYPE', key).ok == 'stream' then
        redis.call('XTRIM', key, 'MAXLEN', 0)
    elseif key:sub(-5) ~= ':meta' then
        redis.call('UNLINK', key)
    end
end
return redis.call('DBSIZE')
END

sub empty {
    my ($t) = @_;

    $t->dbh('admin')->do('TRUNCATE trifecta.job CASCADE');
    my $redis = $t->redis_client;
    $redis->{timeout} = 60;
    $redis->cmd('EVAL', $EMPTY, 0);
}


# A second Redis with the same settings, for peers: the first is ours alone.

our $PEER_DATABASES = 64;

sub peer_redis {
    my ($t) = @_;

    return $t->{peer_redis} if $t->{peer_redis};
    mkdir "$t->{dir}/peer-redis", 0700;
    my $port = $t->free_port;
    $t->write_file("$t->{dir}/conf/peer-redis.conf", <<"END", 0600);
bind 127.0.0.1
port $port
dir $t->{dir}/peer-redis
appendonly yes
appendfsync always
save ""
maxmemory 2gb
maxmemory-policy noeviction
databases $PEER_DATABASES
END
    my $proc = Trifecta::Test::Proc->start(name => 'peer-redis',
        log => "$t->{dir}/log/peer-redis.log", death => 'TERM',
        cmd => ['redis-server', "$t->{dir}/conf/peer-redis.conf"]);
    my $error = $t->_wait_port($proc, $port);
    die "a Redis for peers: $error\n" if $error;

    return $t->{peer_redis} = { port => $port, proc => $proc };
}


sub flush_peer {
    my ($t, $database) = @_;
    my $redis = Trifecta::Test::Redis->connect(timeout => 60,
        port => peer_redis($t)->{port});
    return $redis->cmd('FLUSHALL') if !defined $database;
    $redis->cmd('SELECT', $database);
    $redis->cmd('FLUSHDB');
}


# A database of their own in the same PostgreSQL, and the URL of one.

sub peer_database {
    my ($t, $name) = @_;
    $t->dbh('admin')->do("CREATE DATABASE $name");
    return database($t, $name);
}


sub database {
    my ($t, $name) = @_;
    return 'postgresql://postgres:' . $t->secret('pg_admin.pass')
        . "\@127.0.0.1:$t->{pg_port}/$name";
}


# A peer's program, until its port answers.

sub peer {
    my ($t, $name, $port, @cmd) = @_;
    my %opt = ref $cmd[0] ? %{ shift @cmd } : ();
    my $proc = Trifecta::Test::Proc->start(name => $name, death => 'TERM',
        log => "$t->{dir}/log/peer-$name.log", cmd => \@cmd, %opt);
    my $error = $port ? $t->_wait_port($proc, $port) : undef;

    die "$name: $error\n" . $t->read_file("$t->{dir}/log/peer-$name.log")
        if $error;
    return $proc;
}

1;
