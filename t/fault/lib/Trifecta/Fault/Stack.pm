package Trifecta::Fault::Stack;

# A stack to be broken: what Trifecta::Test starts, and what breaks it.
#
#   my $s = Trifecta::Fault::Stack->new(%spec);
#
# spec: fsync => 'always' | 'everysec'; sidecars => 2; links => 1 (a proxy on
# each of edge_redis, edge_pg, side_redis, side_pg); replica => 1 (links, and a
# second Redis, which follows the first over a link "repl"); clocks => 1 (each of
# redis, pg, nginx, sidecar has a clock that can be set); tmpfs => [redis =>
# '8m', ...] (a small file system for redis, pg, log or body); test => {...}
# (more options of Trifecta::Test->new).
#
# A cell's sub gets it as its argument:
#
#   $s->kill(WHAT[, n])     $s->stop(WHAT[, n])     $s->start(WHAT[, n])
#   $s->freeze(WHAT[, n])   $s->thaw(WHAT[, n])     as in Trifecta::Test
#   $s->kill_worker         kill -9 of one worker of nginx
#   $s->freeze_worker       SIGSTOP of one, until heal
#   $s->power_cut           of Redis; returns the bytes that were lost
#   $s->promote             kill -9 of the master; the replica is the master
#   $s->link(NAME)->do(...) a command to a proxy
#   $s->clock(WHAT, $by)    sets the clock of WHAT, seconds forward or back
#   $s->fill(WHAT)          fills the small file system, until heal
#   $s->rest($seconds)      lets the load run; restarts what is supervised
#   $s->rand($a, $b)        from the round's seed
#   $s->note($text)         for the log of the round
#   $s->{t}                 the Trifecta::Test
#
# heal() undoes all of that: clocks and links are right again, what was
# stopped or killed runs.

use strict;
use warnings;

use Time::HiRes qw(sleep clock_gettime CLOCK_MONOTONIC);

use Trifecta::Fault::Link;
use Trifecta::Fault::Power;
use Trifecta::Test;

my @USERS = ([default => 'alice'], [default => 'bob'], [globex => 'carol'],
             [globex => 'dave']);    # on another shard, if there are two

our $LEASE = 2;         # s

# Every change of a row, in the order in which it became one.

my @AUDIT = ('CREATE SCHEMA audit', <<'SQL', <<'SQL',
CREATE TABLE audit.change (seq bigserial PRIMARY KEY, id uuid NOT NULL,
    old_state text, old_attempt integer, old_lease text,
    new_state text NOT NULL, new_attempt integer NOT NULL,
    new_lease text NOT NULL)
SQL
CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO audit.change (id, new_state, new_attempt, new_lease)
            VALUES (NEW.id, NEW.state, NEW.attempt,
                    NEW.epoch || '.' || NEW.lease);
    ELSE
        INSERT INTO audit.change (id, old_state, old_attempt, old_lease,
                                  new_state, new_attempt, new_lease)
            VALUES (NEW.id, OLD.state, OLD.attempt,
                    OLD.epoch || '.' || OLD.lease, NEW.state, NEW.attempt,
                    NEW.epoch || '.' || NEW.lease);
    END IF;
    RETURN NULL;
END $$
SQL
    'CREATE TRIGGER audit AFTER INSERT OR UPDATE ON trifecta.job '
    . 'FOR EACH ROW EXECUTE FUNCTION audit.note()');


sub new {
    my ($class, %spec) = @_;
    my $more = delete $spec{test} || {};
    my $self = bless { fsync => 'always', sidecars => 2, %spec,
                       owner => $$ }, $class;

    my $t = $self->{t} = Trifecta::Test->new(start => 0,
        sidecars => $self->{sidecars}, %$more,
        redis_conf => "appendfsync $self->{fsync}\n"
                      . ($more->{redis_conf} // ''),
        sidecar => { threads => 4, lease => "${LEASE}s", heartbeat => '600ms',
                     drain_timeout => '5s', %{ $more->{sidecar} || {} } });
    my $opt = $t->{opt};
    my $dir = $t->dir;

    # clients of a fault need no TLS
    $self->{http} = $t->free_port;
    $opt->{http} = ($opt->{http} // '') . <<"NGINX";
    server {
        listen 127.0.0.1:$self->{http};
        client_max_body_size 1m;
        keepalive_requests 1000000;
        location / {
            trifecta api;
        }
    }
NGINX

    $self->{power} = Trifecta::Fault::Power->new("$dir/run/power");
    $opt->{proc_env}{redis} = { $self->{power}->env };
    $self->{trace} = "$dir/run/trace";
    $opt->{env}{TF_TEST_TRACE} = $self->{trace};

    $self->_tmpfs if $self->{tmpfs};
    $self->_links if $self->{links} || $self->{replica};
    $self->_replica if $self->{replica};
    $self->_clocks if $self->{clocks};

    $t->write_conf;
    $t->start_all;

    $self->_follow if $self->{replica};

    for my $name (sort keys %{ $self->{link} || {} }) {
        ($self->link($name)->do('count'))[1] > 0
            or die "nobody uses the link $name\n";
    }

    $t->dbh('admin')->do($_) for @AUDIT;
    $self->{users} = [map { { tenant => $_->[0], owner => $_->[1],
        token => $self->_token(@$_) } } @USERS];

    return $self;
}


# Good on each day that a clock may show.

sub _token {
    my ($self, $tenant, $owner) = @_;
    my $day = 86400;
    return $self->{t}->token(sub => $owner, tenant => $tenant,
        iat => int(time - 3 * $day), nbf => int(time - 3 * $day),
        exp => int(time + 10 * $day));
}


# A proxy on each way between a program and a store.

sub _links {
    my ($self) = @_;
    my $t = $self->{t};
    my $opt = $t->{opt};
    my %to = (redis => $t->{redis_port}, pg => $t->{pg_port});

    for my $side (qw(edge side)) {
        for my $store (qw(redis pg)) {
            $self->{link}{"${side}_$store"} =
                Trifecta::Fault::Link->new($t->free_port, $to{$store});
        }
    }

    my %port = map { $_ => $self->{link}{$_}->port } keys %{ $self->{link} };
    $opt->{sidecar}{redis_url} = "redis://127.0.0.1:$port{side_redis}";
    $opt->{sidecar}{pg_url} =
        "postgresql://127.0.0.1:$port{side_pg}/trifecta";
    $opt->{trifecta}{trifecta_redis} = "127.0.0.1:$port{edge_redis}";
    $opt->{trifecta}{trifecta_pg} = "\"hostaddr=127.0.0.1 "
        . "port=$port{edge_pg} dbname=trifecta user=trifecta_edge\"";
}


# Two Redis servers that can change places: each program finds the master over
# its link, and whoever is not the master follows it over another.

sub _replica {
    my ($self) = @_;
    my $t = $self->{t};

    @$self{qw(master standby)} = qw(redis replica);
    $self->{link}{repl} = Trifecta::Fault::Link->new($t->free_port,
                                                     $t->{redis_port});
    $t->add_redis('replica', conf => "appendfsync $self->{fsync}\n");
}


sub _follow {
    my ($self) = @_;
    my $t = $self->{t};

    $t->redis_at($self->{standby}, 'CONFIG', 'SET', 'masterauth',
                 $t->secret('redis.pass'));
    $t->redis_at($self->{standby}, 'REPLICAOF', '127.0.0.1',
                 $self->link('repl')->port);
    $t->wait_for(sub { $t->redis_at($self->{standby}, 'INFO', 'replication')
                       =~ /^master_link_status:up/m }, 20)
        or die "the replica does not find its master\n";
}


sub promote {
    my ($self) = @_;
    my $t = $self->{t};

    $self->kill($self->{master});
    @$self{qw(master standby)} = @$self{qw(standby master)};
    $t->{opt}{shards} = [$self->{master}];
    $t->redis_at($self->{master}, 'REPLICAOF', 'NO', 'ONE');

    my $port = $t->port_of($self->{master});
    $self->link($_)->do("target $port", 'reset')
        for qw(edge_redis side_redis repl);
}


sub link {
    my ($self, $name) = @_;
    return $self->{link}{$name} || die "there is no link $name\n";
}


# A clock for each kind of process (t/fault/clock.c).  Monotonic time stays: a
# clock that is set does not change how fast time goes by.

sub _clocks {
    my ($self) = @_;
    my $opt = $self->{t}{opt};

    for my $what (qw(redis pg nginx sidecar)) {
        my $env = $opt->{proc_env}{$what} ||= {};
        $self->clock($what, 0);
        $env->{LD_PRELOAD} = join ':', grep { defined }
            Trifecta::Fault::Link::tool('clock.so'), $env->{LD_PRELOAD};
        $env->{TF_CLOCK} = $self->_clock_file($what);

        # a sanitizer's runtime wants to be the first to be loaded
        $env->{ASAN_OPTIONS} = 'verify_asan_link_order=0:use_sigaltstack=0:'
            . 'detect_leaks=' . ($what eq 'sidecar' ? 1 : 0);
    }
}


sub _clock_file { "$_[0]{t}{dir}/conf/clock.$_[1]" }


# Written in place: the programs have mapped it.

sub clock {
    my ($self, $what, $by) = @_;
    my $file = $self->_clock_file($what);

    $self->{t}->write_file($file, pack('q', 0), 0644) unless -e $file;
    open my $fh, '+<:raw', $file or die "$file: $!\n";
    syswrite $fh, pack 'q', $by;
    close $fh;
    $self->{clock_is_off}{$what} = $by;
}


# A small file system, for what shall be full.

sub _tmpfs {
    my ($self) = @_;
    my %size = @{ $self->{tmpfs} };
    my $dir = $self->{t}{dir};
    my %at = (redis => "$dir/redis", log => "$dir/log", body => "$dir/run/body",
              pg => "$dir/pg");

    for my $what (sort keys %size) {
        my $at = $at{$what};
        mkdir $at, 0755 unless -d $at;
        system('mount', '-t', 'tmpfs', '-o', "size=$size{$what},mode=0777",
               'tmpfs', $at) == 0
            or die "a small file system cannot be mounted at $at\n";
        push @{ $self->{mounted} }, $at;
        $self->{small}{$what} = $at;
    }
}


# Fills it to the last byte; heal empties it again.

sub fill {
    my ($self, $what) = @_;
    my $file = "$self->{small}{$what}/filler";

    open my $fh, '>', $file or die "$file: $!\n";

    for my $size (65536, 4096, 1) {
        my $block = 'x' x $size;
        1 while syswrite $fh, $block;
    }

    close $fh;
    $self->{full}{$file} = 1;
}


# Processes

sub kill {
    my ($self, @what) = @_;
    my $proc = $self->{t}->proc(@what);

    push @{ $self->{killed} }, { pid => $proc->pid,
        t => clock_gettime(CLOCK_MONOTONIC) } if $what[0] eq 'sidecar';
    $self->{mine}{"@what"} = 1;
    $self->{t}->kill(@what);
}


sub stop {
    my ($self, @what) = @_;
    $self->{mine}{"@what"} = 1;
    return $self->{t}->stop(@what);
}


sub start { my ($self, @what) = @_; $self->{t}->start(@what) }


sub freeze {
    my ($self, @what) = @_;
    $self->{frozen}{"@what"} = [@what];
    $self->{t}->freeze(@what);
}


sub thaw {
    my ($self, @what) = @_;
    delete $self->{frozen}{"@what"};
    $self->{t}->thaw(@what);
}


sub _worker {
    my ($self) = @_;
    my @workers = $self->{t}->workers;
    return $workers[$self->rand(0, scalar @workers)];
}


sub kill_worker { CORE::kill('KILL', $_[0]->_worker) }


sub freeze_worker {
    my ($self) = @_;
    my $pid = $self->_worker;
    CORE::kill('STOP', $pid);
    push @{ $self->{frozen_pids} }, $pid;
}


sub power_cut {
    my ($self) = @_;
    $self->kill('redis');
    my (undef, $lost) = $self->{power}->cut("$self->{t}{dir}/redis");
    $self->note("the power cut lost $lost bytes");
    return $lost;
}


sub rand {
    my ($self, $from, $to) = @_;
    return $from + CORE::rand($to - $from);
}


sub note { my ($self, $text) = @_; push @{ $self->{notes} }, $text }


sub rest {
    my ($self, $seconds) = @_;
    my $end = clock_gettime(CLOCK_MONOTONIC) + $seconds;

    while (1) {
        if ($self->{supervised}) {
            for my $n (0 .. $self->{sidecars} - 1) {
                next if $self->{t}->proc('sidecar', $n)->alive;
                $self->{t}->start('sidecar', $n);
            }
        }

        my $left = $end - clock_gettime(CLOCK_MONOTONIC);
        last if $left <= 0;
        sleep $left < 0.1 ? $left : 0.1;
    }
}


# Names of the processes that should run.

sub _all {
    my ($self) = @_;
    return (['redis'], map({ [$_] } sort keys %{ $self->{t}{servers} || {} }),
            ['pg'], ['nginx'],
            map { ['sidecar', $_] } 0 .. $self->{sidecars} - 1);
}


# What ended although nobody ended it.

sub ended {
    my ($self) = @_;
    return () if $self->{supervised};
    return map { "@$_ ended by itself, wait status "
                 . $self->{t}->proc(@$_)->{status} }
           grep { !$self->{mine}{"@$_"} && !$self->{t}->proc(@$_)->alive }
           $self->_all;
}


sub heal {
    my ($self) = @_;
    my $t = $self->{t};
    my $off = $self->{clock_is_off} || {};

    unlink keys %{ delete $self->{full} || {} };
    $_->do('heal') for values %{ $self->{link} || {} };
    $self->clock($_, 0) for grep { $off->{$_} } keys %$off;
    CORE::kill('CONT', @{ delete $self->{frozen_pids} || [] });
    my $frozen = delete $self->{frozen} || {};
    $t->proc(@$_)->thaw for values %$frozen;

    # the stores first: nobody waits for them in vain
    for my $what ($self->_all) {
        $self->start(@$what) unless $t->proc(@$what)->alive;
        delete $self->{mine}{"@$what"};
    }

    $self->_follow if $self->{replica};

    $t->wait_for(sub { $t->admin('/readyz', timeout => 2)->{status} == 200 },
                 30) or $self->note('nginx is not ready after 30 s');
}


# One round is over and the next one begins.

sub begin_round {
    my ($self, $seed) = @_;

    delete @$self{qw(killed notes mine supervised)};
    srand $seed;
    $self->{t}->dbh('admin')->do('TRUNCATE audit.change RESTART IDENTITY');
    unlink $self->{trace};
    $self->{log_at} = { map { $_ => -s $_ } glob "$self->{t}{dir}/log/*.log" };
}


# name => what was logged in this round

sub new_log {
    my ($self) = @_;
    my %text;

    for my $file (glob "$self->{t}{dir}/log/*.log") {
        open my $fh, '<:raw', $file or next;
        my $from = $self->{log_at}{$file} // 0;
        seek $fh, $from <= -s $file ? $from : 0, 0;
        local $/;
        my ($name) = $file =~ m{([^/]+)\.log$};
        $text{$name} = scalar(<$fh>) // '';
    }

    return \%text;
}


sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    return if $self->{owner} != $$;

    my $t = $self->{t} or return;
    $_->kill for values %{ $t->{procs} };
    system('umount', $_) for @{ $self->{mounted} || [] };
    delete @$self{qw(link t)};
}

1;
