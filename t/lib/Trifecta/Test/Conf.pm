package Trifecta::Test::Conf;

# The secrets and configuration files of a test's stack.

use strict;
use warnings;

my @DIRECTIVES = qw(trifecta_redis trifecta_redis_password_file trifecta_pg
                    trifecta_pg_password_file trifecta_id_key_file
                    trifecta_models trifecta_max_jobs
                    trifecta_max_jobs_per_tenant trifecta_jwt_leeway
                    trifecta_jwt_memory
                    trifecta_max_waiters trifecta_wait_fallback
                    trifecta_result_cache);


sub make_secrets {
    my ($t) = @_;
    my $dir = "$t->{dir}/secrets";

    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";

    for my $name (map({ "$_.pass" } qw(redis pg_owner pg_queue pg_rag pg_edge)),
                  'id.key', 'jwt.hs256.key')
    {
        read $random, my $bytes, 24;
        $t->write_file("$dir/$name", unpack('H*', $bytes) . "\n", 0600);
    }

    Trifecta::Test::Prepared::copy($t, $dir,
                                   qw(pg_admin.pass rsa.key rsa.pub));

    $t->{jwt_secret} = $t->secret('jwt.hs256.key');
    $t->{issuers} = {
        test => { iss => 'https://test.example', alg => 'HS256',
                  key => "$dir/jwt.hs256.key" },
        rsa  => { iss => 'https://rsa.example', alg => 'RS256',
                  key => "$dir/rsa.pub" },
    };

    my $log = "$t->{dir}/log/openssl.log";
    my $cert = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
        . ' -nodes -days 2 -subj /CN=localhost -addext'
        . ' subjectAltName=DNS:localhost,IP:127.0.0.1';
    system("openssl req $cert -keyout '$dir/tls.key' -out '$t->{ca}'"
           . " > '$log' 2>&1") == 0
        or die "openssl failed:\n" . $t->read_file($log);
}


sub write_all {
    my ($t) = @_;

    _redis($t);
    _pg($t);
    _sidecar($t);
    _nginx($t);
}


sub _redis {
    my ($t) = @_;
    my $pass = $t->secret('redis.pass');
    my $more = $t->{opt}{redis_conf} // '';

    $t->write_file("$t->{dir}/conf/redis.conf", <<"END", 0600);
bind 127.0.0.1
port $t->{redis_port}
dir $t->{dir}/redis
requirepass $pass
appendonly yes
appendfsync always
save ""
maxmemory 256mb
maxmemory-policy noeviction
$more
END
}


sub _pg {
    my ($t) = @_;
    my $more = $t->{opt}{pg_conf} // '';

    $t->write_file("$t->{dir}/conf/postgresql.conf", <<"END", 0644);
hba_file = '$t->{dir}/pg/pg_hba.conf'
ident_file = '$t->{dir}/pg/pg_ident.conf'
listen_addresses = '127.0.0.1'
port = $t->{pg_port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
shared_buffers = '32MB'
max_connections = 100
max_wal_size = '256MB'
dynamic_shared_memory_type = 'mmap'
timezone = 'UTC'
$more
END
}


sub _sidecar {
    my ($t) = @_;
    my $secrets = "$t->{dir}/secrets";
    my %conf = (
        redis_url => join(' ', $t->redis_urls),
        redis_password_file => "$secrets/redis.pass",
        pg_url => "postgresql://127.0.0.1:$t->{pg_port}/trifecta",
        pg_admin_url =>
            "postgresql://postgres\@127.0.0.1:$t->{pg_port}/trifecta",
        map({ ("pg_${_}_password_file" => "$secrets/pg_$_.pass") }
            qw(admin queue rag edge)),
        migrations => $t->root . "/migrations",
        id_key_file => "$secrets/id.key",
        jwt_key_file => $t->{issuers}{test}{key},
        jwt_issuer => $t->{issuers}{test}{iss},
        log_level => $ENV{TRIFECTA_TEST_DEBUG} ? 'debug' : 'info',
        threads => 4, lease => '2s', heartbeat => '500ms',
        drain_timeout => '5s',
        # tests use ids of days long past, too
        retention => '3650d',
        # a test that makes its stores weaker wants to use them all the same
        durability_check => ($t->{opt}{redis_conf} // '') =~ /^append/m
            || ($t->{opt}{pg_conf} // '') =~ /fsync|synchronous_commit/
            ? 'warn' : 'strict',
        %{ $t->{opt}{sidecar} || {} },
    );

    $t->write_file("$t->{dir}/conf/sidecar.conf",
        join '', map { "$_ = $conf{$_}\n" } sort keys %conf);
}


sub _nginx {
    my ($t) = @_;
    my $opt = $t->{opt};
    my ($dir, $secrets) = ($t->{dir}, "$t->{dir}/secrets");

    my %directive = (
        trifecta_redis => $t->shards == 1 && !$opt->{redis_urls}
            ? "127.0.0.1:$t->{redis_port}" : join(' ', $t->redis_urls),
        trifecta_redis_password_file => "$secrets/redis.pass",
        trifecta_pg => "\"hostaddr=127.0.0.1 port=$t->{pg_port}"
                       . ' dbname=trifecta user=trifecta_edge"',
        trifecta_pg_password_file => "$secrets/pg_edge.pass",
        trifecta_id_key_file => "$secrets/id.key",
        trifecta_models => 'extractive test',
        %{ $opt->{trifecta} || {} },
    );

    for (@DIRECTIVES) {
        (my $short = $_) =~ s/^trifecta_//;
        $directive{$_} = $opt->{$short} if exists $opt->{$short};
    }

    my $directives = join '', map { "    $_ $directive{$_};\n" }
                     grep { defined $directive{$_} } sort keys %directive;

    my $tenants = $opt->{tenants} // 'default,acme,globex';
    my ($tenant) = split /,/, $tenants;
    my $issuers = $opt->{issuers} // <<"END";
    trifecta_jwt_issuer test iss=$t->{issuers}{test}{iss} alg=HS256
        key=$t->{issuers}{test}{key} aud=trifecta
        tenant_claim=tenant tenants=$tenants default_tenant=$tenant;
    trifecta_jwt_issuer rsa iss=$t->{issuers}{rsa}{iss} alg=RS256
        key=$t->{issuers}{rsa}{key} aud=trifecta tenant=acme;
END

    my $load = $t->{nginx_static} ? '' : "load_module $t->{module};\n";
    my $user = $> == 0 ? "user www-data;\n" : '';
    my $level = $ENV{TRIFECTA_TEST_DEBUG} ? 'debug' : 'info';
    my $connections = $opt->{connections} || 1024;
    # the parameter of listen is deprecated since there is a directive
    my ($h2_listen, $h2) = $t->nginx_version < 1025001
                         ? (' http2', '') : ('', "http2 on;\n        ");
    my ($main, $http, $server, $locations)
        = map { $opt->{$_} // '' } qw(main http server locations);

    $t->write_file("$dir/conf/nginx.conf", <<"END", 0644);
${load}${user}worker_processes $opt->{workers};
pid $dir/run/nginx.pid;
error_log $dir/log/error.log $level;
worker_shutdown_timeout 10s;
$main
events {
    worker_connections $connections;
}

http {
    access_log $dir/log/access.log;
    client_body_temp_path $dir/run/body;
    proxy_temp_path $dir/run/proxy;
    fastcgi_temp_path $dir/run/fastcgi;
    uwsgi_temp_path $dir/run/uwsgi;
    scgi_temp_path $dir/run/scgi;
    server_tokens off;

$directives
$issuers
$http
    server {
        listen 127.0.0.1:$t->{port} ssl$h2_listen;
        ${h2}server_name localhost;
        ssl_certificate $t->{ca};
        ssl_certificate_key $secrets/tls.key;
        ssl_protocols TLSv1.2 TLSv1.3;

        client_max_body_size 1m;
        client_body_buffer_size 1m;
$server
        location / {
            trifecta api;
        }
$locations
    }

    server {
        listen 127.0.0.1:$t->{admin_port};
        server_name localhost;

        location / {
            trifecta admin;
        }

        location = /status {
            trifecta status;
        }
    }
}
END
}

1;
