package Trifecta::Test;

=head1 NAME

Trifecta::Test - a private, real stack for one test file

=head1 SYNOPSIS

    use Test::More;
    use FindBin;
    use lib "$FindBin::Bin/lib";
    use Trifecta::Test;

    my $t = Trifecta::Test->new;    # Redis, PostgreSQL, migrate, nginx and
                                    # one sidecar, on free loopback ports
    my $res = $t->post('/api/v1/query', { query => 'What is it?' });
    is $res->{status}, 202;

    my $end = $t->ask_and_wait('sleep=200 say=hello', model => 'test');
    is $end->{status}, 'succeeded';

    $t->freeze('redis');    $t->thaw('redis');
    $t->kill('sidecar', 0); $t->start('sidecar', 0);

    $t->finish;             # two assertions: no alert, no sanitizer line
    done_testing;           # (or a plan that counts these two)

=head1 ENVIRONMENT

TRIFECTA_BIN (default build/test/trifecta); TRIFECTA_NGINX, an nginx with the
module inside (build/asan/nginx, build/nginx126/nginx), or TRIFECTA_MODULE, the
dynamic module (default build/test/ngx_http_trifecta_module.so) for the nginx
in PATH;
TRIFECTA_TEST_DATA (default ../shared/data); TRIFECTA_TEST_KEEP=1 keeps the
folder of the run, TRIFECTA_TEST_DEBUG=1 makes nginx and sidecar log debug.

=head1 NEW

    sidecars => 1           how many to start (0: none; start them later)
    workers => 2            of nginx
    connections => 1024     of each of them
    start => 1              0: only prepare; then $t->start_all or one by one
    sidecar => {            keys of sidecar.conf, over the test defaults
        threads => 4, lease => '2s', heartbeat => '500ms' }
    env => {}               environment of the sidecars and commands
    proc_env => {           more environment of processes: redis, pg, nginx,
        redis => {...} }    sidecar
    trifecta => {           directives of http{}, over the defaults
        trifecta_max_jobs => 5, trifecta_models => 'extractive test' }
    models, max_jobs, ...   short for those: max_jobs => 5
    main, http, server => ''  text appended to these blocks of nginx.conf
    tenants => 'default,acme,globex'
                            that issuer "test" may name, the default one first
    locations => ''         more locations of the API server
    redis_conf => ''        lines for redis.conf (maxmemory ...)
    shards => 1             of the queue, and the servers that have them (see
                            Trifecta::Test::Servers, also for sentinels)
    pg_conf => ''           lines for postgresql.conf

=head1 METHODS

Processes: C<WHAT> is redis, pg, nginx or sidecar (then a number follows,
default 0).
C<start WHAT>, C<stop WHAT> (politely: SHUTDOWN by TERM, fast shutdown, QUIT,
TERM; returns the wait status), C<kill WHAT> (SIGKILL with all children),
C<freeze WHAT> (SIGSTOP with all children), C<thaw WHAT>, C<restart WHAT>
(start and thaw of a store return when nginx' workers have found it again),
C<launch WHAT> (start of what may end at once; returns its proc),
C<proc WHAT> (C<< ->pid, ->alive, ->signal('HUP'), ->wait(seconds) >>),
C<reload> (nginx; returns once new workers serve), C<workers> (pids of nginx'
workers), C<write_conf> (after changing the options in C<< $t->{opt} >>; then
reload or restart), C<run(@args)> (a trifecta command: exit status, stdout,
stderr; C<< {conf => ..., env => {}} >> may come first), C<migrate>.

HTTP (see Trifecta::Test::HTTP): C<get(path, %o)>, C<post(path, body|{}, %o)>,
C<request(method, path, %o)> with token => undef|..., json, body, headers,
timeout, keep_alive; each returns { status, headers, content, json, code (of
the error), time }.  C<raw(bytes, %o)>, C<socket(%o)>.  C<ask(query, %o)>
(body => {} for more members),
C<result(id)>, C<wait_for_answer(id)>, C<ask_and_wait(query, %o)>,
C<admin(path)>, C<sidecar_get(n, path)>, C<metrics([n])>.
C<token(%claims)> (issuer "test", HS256: iss https://test.example, aud
trifecta, tenant_claim=tenant tenants=default,acme,globex
default_tenant=default), C<token_rs256(%claims)> (issuer "rsa",
iss https://rsa.example, tenant=acme).

Stores: C<redis(cmd, args...)>, C<redis_client> (an own connection:
C<cmd, send, reply, lines>), C<sql(role, query, @bind)> (rows as array
references; role admin, queue, rag, edge), C<dbh(role)>.
C<snapshot_of_queue> (lengths, sets, rows), C<nothing_enqueued($before,
$name)>, C<invariants_hold($name)>, C<idle_holds($name)> (one assertion each,
see Trifecta::Test::Invariants).

Rest: C<wait_for(sub, seconds)>, C<slow> (1, or 4 under sanitizers; multiply
deadlines with it), C<log_of(WHAT[, n])>, C<expect_log(qr/.../)> (alerts that
a test provokes), C<write_file(file, text[, mode])>, C<problems> (what finish
would complain about), C<finish>, C<dir>, C<root>.

=cut

use strict;
use warnings;

use Carp qw(croak);
use Cwd ();
use File::Basename qw(dirname);
use File::Path ();
use File::Temp ();
use POSIX ();
use Scalar::Util ();
use Test::More ();
use Time::HiRes qw(time sleep);

use Trifecta::Test::Conf;
use Trifecta::Test::Proc;
use parent qw(Trifecta::Test::Files Trifecta::Test::HTTP
              Trifecta::Test::Programs Trifecta::Test::Servers
              Trifecta::Test::Stores Trifecta::Test::Invariants);

our $ROOT = Cwd::abs_path(dirname(__FILE__) . '/../../..');

my %live;

# what a shell that uses a stack of its own has in its environment is not ours
my %given = map { $_ => $ENV{"TRIFECTA_$_"} } qw(BIN NGINX MODULE TEST_DATA);


sub root { $ROOT }
sub dir  { $_[0]{dir} }
sub slow { $_[0]->_sanitized ? 4 : 1 }
sub data { $given{TEST_DATA} || "$ROOT/../shared/data" }


sub new {
    my ($class, %opt) = @_;

    my $self = bless {
        opt => { sidecars => 1, workers => 2, start => 1, %opt },
        bin => $given{BIN} || "$ROOT/build/test/trifecta",
        nginx_static => $given{NGINX} || undef,
        module => $given{MODULE}
                  || "$ROOT/build/test/ngx_http_trifecta_module.so",
        owner => $$, sidecars => [], expected => [], procs => {}, servers => {},
    }, $class;

    $self->{dir} = File::Temp::tempdir('trifecta-t.XXXXXX', TMPDIR => 1);
    chmod 0711, $self->{dir};
    $live{$self->{dir}} = $self;
    Scalar::Util::weaken($live{$self->{dir}});

    mkdir "$self->{dir}/$_", 0700 for qw(secrets redis);
    mkdir "$self->{dir}/$_", 0755 for qw(conf log tls run);

    $self->{ca} = "$self->{dir}/tls/cert.pem";
    $self->{$_ . '_port'} = $self->free_port for qw(redis pg admin);
    $self->{port} = $self->free_port;

    Trifecta::Test::Conf::make_secrets($self);
    $self->_add_shards;
    $self->write_conf;
    $self->start_all if $self->{opt}{start};

    return $self;
}


sub write_conf {
    my ($self) = @_;
    Trifecta::Test::Conf::write_all($self);
}


# Processes

sub _name {
    my ($what, $n) = @_;
    return $what eq 'sidecar' ? 'sidecar' . ($n // 0) : $what;
}


sub proc {
    my ($self, $what, $n) = @_;
    return $self->{procs}{ _name($what, $n) };
}


sub start_all {
    my ($self) = @_;

    $self->start('redis');
    $self->start($_) for sort keys %{ $self->{servers} };
    $self->start('pg');
    $self->migrate;
    $self->start('nginx');
    $self->start('sidecar', $_) for 0 .. $self->{opt}{sidecars} - 1;
    $self->wait_for(sub { $self->admin('/readyz')->{status} == 200 }, 15)
        or die "nginx does not become ready:\n"
               . $self->admin('/readyz')->{content};
}


sub start {
    my ($self, $what, $n) = @_;
    my $name = _name($what, $n);
    my $old = $self->{procs}{$name};

    croak "$name runs already" if $old && $old->alive;

    my $method = $self->{servers}{$what} ? '_start_server' : "_start_$what";
    my $end = time + 20;

    # a port may be taken between the choice and the start, and a killed
    # predecessor may be a while in dying
    while (1) {
        my $error = $self->$method($name, $n // 0);
        if (!$error) {
            $self->_adopt if $old && $what =~ /^redis/;
            $self->_until_found($what);
            return $self->{procs}{$name};
        }
        $self->{procs}{$name}->kill if $self->{procs}{$name};
        die "cannot start $name: $error\n" . $self->log_of($name)
            if time > $end || $error !~ /again/;
        sleep 0.1;
    }
}


sub launch {
    my ($self, $what, $n) = @_;
    my $method = "_start_$what";

    $self->$method(_name($what, $n), $n // 0);
    return $self->proc($what, $n);
}


sub _spawn {
    my ($self, $name, %opt) = @_;
    my ($what) = $name =~ /^(\D+)/;

    $self->{procs}{$name} = Trifecta::Test::Proc->start(name => $name,
        log => "$self->{dir}/log/$name.log", %opt,
        env => { %{ $opt{env} || {} },
                 %{ $self->{opt}{proc_env}{$what} || {} } });
}


my %STOP = (redis => 'TERM', pg => 'INT', nginx => 'QUIT', sidecar => 'TERM');

sub stop {
    my ($self, $what, $n) = @_;
    return $self->_want($what, $n)->stop($STOP{$what} // 'TERM',
                                         20 * $self->slow);
}


sub _want {
    my ($self, $what, $n) = @_;
    return $self->proc($what, $n)
        || croak _name($what, $n) . ' was never started';
}

sub kill   { my ($self, @what) = @_; $self->_want(@what)->kill }
sub freeze { my ($self, @what) = @_; $self->_want(@what)->freeze }

sub thaw {
    my ($self, @what) = @_;
    $self->_want(@what)->thaw;
    $self->_until_found($what[0]);
}

sub restart {
    my ($self, @what) = @_;
    $self->stop(@what);
    $self->start(@what);
}


sub workers {
    my ($self) = @_;
    my ($master, @kids) = $self->_want('nginx')->tree;
    return grep {
        $self->read_file("/proc/$_/cmdline") =~ /worker process(?! is shut)/
    } @kids;
}


# Returns the pids of the old workers once new ones are there.

sub reload {
    my ($self) = @_;
    my %old = map { $_ => 1 } $self->workers;

    $self->_want('nginx')->signal('HUP');
    $self->wait_for(sub {
        my @new = grep { !$old{$_} } $self->workers;
        @new >= $self->{opt}{workers};
    }, 10) or die "no new workers after a reload\n" . $self->log_of('error');

    return keys %old;
}


# A command of the program: (exit status, stdout, stderr).

sub run {
    my ($self, @args) = @_;
    my %opt = ref $args[0] ? %{ shift @args } : ();
    my $out = File::Temp->new(DIR => "$self->{dir}/run");
    my $err = File::Temp->new(DIR => "$self->{dir}/run");

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        open STDIN, '<', $opt{stdin} // '/dev/null';
        open STDOUT, '>', $out->filename;
        open STDERR, '>', $err->filename;
        delete @ENV{grep { /^(TRIFECTA_|PG)/ } keys %ENV};
        %ENV = (%ENV, $self->_env,
            TRIFECTA_CONF => $opt{conf} || "$self->{dir}/conf/sidecar.conf",
            TRIFECTA_URL => $self->url(''), TRIFECTA_CA => $self->{ca},
            TRIFECTA_TOKEN => $self->token, %{ $opt{env} || {} });
        exec $self->{bin}, @args or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    my ($stdout, $stderr) = map { $self->read_file($_->filename) } $out, $err;

    # a sanitizer's report counts wherever it appears
    open my $log, '>>', "$self->{dir}/log/commands.log";
    print $log "\$ trifecta @args ($status)\n$stderr";

    return ($status, $stdout, $stderr);
}


sub migrate {
    my ($self) = @_;
    my ($status, $out, $err) = $self->run('migrate');
    die "trifecta migrate: exit $status\n$out$err" if $status;
}


sub wait_for {
    my ($self, $what, $seconds) = @_;
    my $end = time + $seconds * $self->slow;

    while (1) {
        my $is = eval { $what->() };
        return $is if $is;
        return $is if time > $end;
        sleep 0.03;
    }
}


# The end

sub log_of {
    my ($self, $what, $n) = @_;
    return $self->read_file("$self->{dir}/log/" . _name($what, $n) . '.log');
}


sub expect_log { my ($self, $re) = @_; push @{ $self->{expected} }, $re }


# Stops what runs and returns two lists: alerts (of nginx, and processes that
# ended by a signal of their own or with a failure), and sanitizers' lines.

sub problems {
    my ($self) = @_;
    my (@alerts, @sanitizer);

    for my $what ((map { ['sidecar', $_] } 0 .. $#{ $self->{sidecars} }),
                  ['nginx'], ['pg'], ['redis'],
                  map { [$_] } sort keys %{ $self->{servers} })
    {
        my $proc = $self->proc(@$what) or next;
        my $name = _name(@$what);
        my $status = eval { $self->stop(@$what) };
        push @alerts, $@ if $@;
        push @alerts, "$name ended with wait status $status"
            if $status && !$proc->{killed};
    }

    for my $file (sort glob "$self->{dir}/log/*") {
        (my $name = $file) =~ s{.*/}{};
        for my $line (split /\n/, $self->read_file($file)) {
            push @sanitizer, "$name: $line"
                if $line =~ /runtime error:|AddressSanitizer|LeakSanitizer
                            |UndefinedBehaviorSanitizer/x;
            push @alerts, "$name: $line"
                if $line =~ /\[(alert|emerg)\]|Assertion .* failed/
                   && !grep { $line =~ $_ } @{ $self->{expected} };
        }
    }

    return (\@alerts, \@sanitizer);
}


sub finish {
    my ($self) = @_;
    my ($alerts, $sanitizer) = $self->problems;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::is_deeply($alerts, [], 'no alert, no unexpected end');
    Test::More::is_deeply($sanitizer, [], 'no sanitizer line');

    $self->{failed} = @$alerts || @$sanitizer;
    $self->_clean;
}


sub _clean {
    my ($self) = @_;

    return if $self->{owner} != $$ || $self->{cleaned}++;

    $_->disconnect for grep { $_ } values %{ delete $self->{dbh} || {} };
    eval { $_->kill } for values %{ $self->{procs} };
    $self->_after_pg;
    delete $live{$self->{dir}};

    if ($ENV{TRIFECTA_TEST_KEEP} || $self->{failed}
        || !Test::More->builder->is_passing)
    {
        Test::More::diag("logs are in $self->{dir}/log");
        return;
    }

    File::Path::remove_tree($self->{dir}, { error => \my $ignored });
}


sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    $self->_clean;
}


END {
    local $?;
    $_->_clean for grep { $_ } values %live;
}

$SIG{$_} ||= sub { exit 1 } for qw(INT TERM HUP);

1;
