package Trifecta::Test::Programs;

# How each program of a stack is started, and when it is there: a part of
# Trifecta::Test.  _start_WHAT($name, $n) returns what is wrong, or nothing;
# "again" in it stands for what another try may mend.

use strict;
use warnings;

use IO::Socket::INET;
use Time::HiRes qw(time sleep);

use Trifecta::Test::Prepared;


# Waits until a port of the process answers; an error text, or undef.

sub _wait_port {
    my ($self, $proc, $port) = @_;
    my $end = time + 20;

    while (time < $end) {
        return 'it ended, again' unless $proc->alive;
        return undef if IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                              PeerPort => $port);
        sleep 0.02;
    }

    return 'its port does not answer';
}


sub _start_redis {
    my ($self, $name) = @_;
    my $proc = $self->_spawn($name,
        cmd => ['redis-server', "$self->{dir}/conf/redis.conf"]);

    my $error = $self->_wait_port($proc, $self->{redis_port});
    return $error if $error;

    $self->wait_for(sub { $self->redis('PING') }, 10)
        or return 'no answer to PING';
    return;
}


sub _start_pg {
    my ($self, $name) = @_;
    my $data = "$self->{dir}/pg";
    my $bin = Trifecta::Test::Prepared::pg_bin();
    my $as = $self->root . '/scripts/lib/as-postgres';

    Trifecta::Test::Prepared::copy($self, $self->{dir}, 'pg')
        unless -e "$data/PG_VERSION";

    $self->_after_pg;

    my $proc = $self->_spawn($name, death => 'QUIT',
        env => { TF_PDEATHSIG => 'QUIT' },
        cmd => [$as, "$bin/postgres", '-D', $data, '-c',
                "config_file=$self->{dir}/conf/postgresql.conf"]);

    my $error = $self->_wait_port($proc, $self->{pg_port});
    return $error if $error;

    $self->wait_for(sub { $self->pg_connect('admin', 'postgres') }, 20)
        or return 'no login';

    return;
}


# A postmaster that was killed leaves its file, and a segment of shared memory
# of which the system has some thousands; it is certainly dead.

sub _after_pg {
    my ($self) = @_;
    my $file = "$self->{dir}/pg/postmaster.pid";

    return unless -e $file;

    my ($id) = ((split /\n/, $self->read_file($file))[6] // '') =~ /(\d+)\s*$/;
    system "ipcrm -m $id 2> /dev/null" if defined $id;
    unlink $file;
}


sub _start_nginx {
    my ($self, $name) = @_;
    my $conf = "$self->{dir}/conf/nginx.conf";

    # what is printed before the configuration is read would go to a compiled
    # in default
    my $proc = $self->_spawn($name, death => 'TERM',
        env => { ASAN_OPTIONS => 'detect_leaks=0',
                 UBSAN_OPTIONS => 'print_stacktrace=1' },
        cmd => [$self->nginx_bin, '-p', $self->{dir}, '-e',
                "$self->{dir}/log/error.log", '-c', $conf,
                '-g', 'daemon off;']);

    my $error = $self->_wait_port($proc, $self->{admin_port});
    $error = $error =~ /again/ && $self->log_of('error') !~ /EADDRINUSE|98:/
        ? "it ended\n" . $self->log_of('error') : $error if $error;
    return $error;
}


# A Redis that was restarted accepts nothing until it was compared with
# PostgreSQL: a sidecar does it, or "migrate".

sub _adopt {
    my ($self) = @_;
    my ($nginx, $pg) = map { $self->proc($_) } qw(nginx pg);

    return if grep { $_ && $_->alive } map { $self->proc('sidecar', $_) }
              0 .. $#{ $self->{sidecars} };

    $self->run('migrate') if $nginx && $nginx->alive && $pg && $pg->alive;
}


# A store that is back is found by each worker of nginx when its pause is
# over; a test that goes on at once would now and then meet the last one.

sub _until_found {
    my ($self, $what) = @_;
    my $store = { redis => 'redis', pg => 'postgresql' }->{$what} or return;
    my $nginx = $self->proc('nginx');

    return unless $nginx && $nginx->alive;

    $self->wait_for(sub {
        my $res = $self->admin('/readyz', timeout => 2);
        !$res->{json} || $res->{json}{$store}{ready};
    }, 10);
}


sub nginx_bin {
    my ($self) = @_;

    # scripts/test wants to know which tests run nginx
    if (defined $ENV{TRIFECTA_TEST_NGINX_NOTE} && !$self->{noted}++) {
        open my $fh, '>>', $ENV{TRIFECTA_TEST_NGINX_NOTE}
            or die "$ENV{TRIFECTA_TEST_NGINX_NOTE}: $!\n";
        print $fh "$0\n";
    }

    return $self->_nginx;
}


# As in nginx.h: 1.22.1 is 1022001.

my %version;

sub nginx_version {
    my ($self) = @_;
    my $nginx = $self->_nginx;

    return $version{$nginx} ||= do {
        local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
        my $out = qx("$nginx" -v 2>&1);
        $out =~ m{nginx/(\d+)\.(\d+)\.(\d+)} or die "$nginx -v: $out\n";
        $1 * 1_000_000 + $2 * 1_000 + $3;
    };
}


my %sanitized;

sub _sanitized {
    my ($self) = @_;
    my $nginx = $self->{nginx_static} or return 0;

    return $sanitized{$nginx} //=
        $self->read_file($nginx) =~ /__asan_init/ ? 1 : 0;
}


sub _nginx {
    my ($self) = @_;
    return $self->{nginx_static}
        || (grep { -x } map { "$_/nginx" }
            split(/:/, $ENV{PATH}), '/usr/sbin')[0]
        || die "no nginx\n";
}


sub _start_sidecar {
    my ($self, $name, $n) = @_;
    my $port = ($self->{sidecars}[$n] ||= { port => $self->free_port })->{port};

    my $proc = $self->_spawn($name,
        env => { $self->_env, TRIFECTA_LISTEN => "127.0.0.1:$port" },
        cmd => [$self->{bin}, 'serve', '--config',
                "$self->{dir}/conf/sidecar.conf"]);

    return $self->_wait_port($proc, $port);
}


sub _env {
    my ($self) = @_;

    # clang 14's runtime trips over its own signal stack when a thread ends
    return (ASAN_OPTIONS => 'detect_leaks=1:use_sigaltstack=0',
            UBSAN_OPTIONS => 'print_stacktrace=1', %{ $self->{opt}{env} || {} });
}

1;
