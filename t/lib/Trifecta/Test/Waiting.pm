package Trifecta::Test::Waiting;

=head1 NAME

Trifecta::Test::Waiting - requests that wait, jobs that end when a test says
so, and a proxy in front of Redis that misbehaves

=head1 SYNOPSIS

    my $w = Trifecta::Test::Waiting->new($t);
    my $one = $w->get($id, 30);         # Prefer: wait=30, does not block
    $w->run($id);                       # as a sidecar would: running
    $w->end($id, 'the answer');         # row, then the doorbell
    my $res = $w->take($one, 5);        # the answer, within 5 s

    Trifecta::Test::Waiting::proxy($dir, $port, $redis_port);
    # then files in $dir: hold, slow, deaf, drop, cut

=cut

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep time);

my $P = '{trifecta:0}';
my $Q = '/api/v1/query';


sub new {
    my ($class, $t) = @_;
    return bless { t => $t, lease => {} }, $class;
}


# Sends a request and returns; a preference of undef is none.

sub open {
    my ($self, $method, $path, $wait, %opt) = @_;
    my $t = $self->{t};
    my %headers = (Host => 'localhost', Connection => 'close',
        Authorization => 'Bearer ' . ($opt{token} // $t->token),
        defined $wait ? (Prefer => "wait=$wait") : (),
        %{ $opt{headers} || {} });
    my $body = $opt{body} // '';

    @headers{qw(Content-Type Content-Length)} =
        ('application/json', length $body) if $method eq 'POST';

    my $sock = $t->socket or die "no connection: $!\n";
    $sock->blocking(1);
    print {$sock} "$method $path HTTP/1.1\r\n",
        map({ "$_: $headers{$_}\r\n" } sort keys %headers), "\r\n", $body;
    $sock->blocking(0);

    return { sock => $sock, start => time, got => '' };
}


sub get {
    my ($self, $id, $wait, %opt) = @_;
    return $self->open('GET', "$Q/$id", $wait, %opt);
}


sub post {
    my ($self, $query, $wait, %opt) = @_;
    return $self->open('POST', $Q, $wait, %opt,
        body => JSON::PP->new->utf8->encode({ query => $query,
            $opt{model} ? (model => $opt{model}) : () }));
}


# Whether the answer has come, waiting for it at most that long.

sub there {
    my ($self, $one, $timeout) = @_;
    my $end = time + $timeout;

    while (!$one->{time}) {
        my $n = sysread $one->{sock}, $one->{got}, 65536, length $one->{got};

        if (defined $n && $n == 0
            || !defined $n && !$!{EAGAIN} && !$!{EWOULDBLOCK} && !$!{EINTR})
        {
            $one->{time} = time - $one->{start};
            return 1;
        }

        next if $n;

        my $left = $end - time;
        return 0 if $left <= 0;
        IO::Select->new($one->{sock})->can_read($left < 0.05 ? $left : 0.05);
    }

    return 1;
}


sub take {
    my ($self, $one, $timeout) = @_;

    return { status => 0, headers => {}, content => '', json => {},
             time => time - $one->{start} }
        unless $self->there($one, $timeout * $self->{t}->slow);

    my ($head, $body) = split /\r\n\r\n/, $one->{got}, 2;
    my ($status) = ($head // '') =~ m{^HTTP/\S+ (\d+)};
    my %headers = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () }
                  split /\r\n/, $head // '';

    $one->{sock}->close;
    return $self->{t}->_response($status // 0, \%headers, $body // '',
                                 $one->{time});
}


# Doorbells that somebody hears, and whoever waits.

sub doorbells {
    my ($self) = @_;
    return scalar @{ $self->{t}->redis('PUBSUB', 'SHARDCHANNELS',
                                       "$P:c:*") };
}


sub quiet {
    my ($self, $seconds) = @_;
    return $self->{t}->wait_for(sub { $self->doorbells == 0
        && $self->{t}->metrics->{trifecta_waiters} == 0
        && $self->{t}->metrics->{trifecta_subscriptions} == 0 }, $seconds);
}


# Claims all jobs that are ready; this one must be among them, now or before.

sub run {
    my ($self, $id) = @_;
    my $t = $self->{t};

    while (!$self->{lease}{$id}) {
        my (undef, @jobs) = @{ $t->redis('FCALL', 'trifecta_claim_v1', 1, $P,
                                         'tester', 100) };
        die "$id is not ready\n" unless @jobs;
        $self->{lease}{$_->[1]} = $_->[3] for @jobs;
    }
}


# Both rows at once, as the sidecar writes them.

sub row {
    my ($self, $id, $state, $body) = @_;

    $self->{t}->sql('admin', 'WITH j AS (INSERT INTO trifecta.job (id,'
        . ' tenant, owner, kind, model, prio, state, attempt, accepted,'
        . " finished, deadline) VALUES (?, 'default', 'test:alice', 'query',"
        . " 'extractive', 1, ?, 1, now(), now(), now()) RETURNING id)"
        . ' INSERT INTO trifecta.job_result (job, tenant, owner, attempt,'
        . " body) SELECT id, 'default', 'test:alice', 1, ? FROM j",
        $id, $state, $body);
}


sub finish {
    my ($self, $id, $state) = @_;
    my $said = $self->{t}->redis('FCALL', 'trifecta_finish_v1', 1, $P,
        'tester', $id, $self->{lease}{$id}, $state);
    die "finish: @$said\n" unless $said->[0] eq 'OK';
}


sub end {
    my ($self, $id, $body) = @_;
    $self->run($id);
    $self->row($id, 'succeeded', $body);
    $self->finish($id, 'succeeded');
}


# Passes bytes between nginx and Redis.  While these files exist in dir:
#   hold   a connection's bytes to Redis stay here from its next SSUBSCRIBE of
#          a doorbell on
#   slow   what Redis answers to other connections than the subscriber's stays
#          here
#   deaf   messages are dropped on the way to nginx
#   drop   what nginx sends is dropped on the way to Redis
#   cut    connections are closed, and no new one is accepted
# Returns the pid; the process ends when its parent does.

sub proxy {
    my ($dir, $port, $to) = @_;
    my $parent = $$;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    $SIG{PIPE} = 'IGNORE';
    my ($listen, %peer, %held, %until);

    my $close = sub {
        for my $sock ($_[0], delete $peer{$_[0]}) {
            delete $peer{$sock};
            delete @$_{$sock} for \(%held, %until);
            $sock->close;
        }
    };

    while (getppid == $parent) {
        if (-e "$dir/cut") {
            $close->($peer{(keys %peer)[0]}) while %peer;
            $listen->close if $listen;
            undef $listen;
            sleep 0.02;
            next;
        }

        $listen ||= IO::Socket::INET->new(LocalAddr => '127.0.0.1',
            LocalPort => $port, Listen => 64, ReuseAddr => 1) or do {
                sleep 0.02;
                next;
            };

        for my $sock (%held ? values %peer : ()) {
            next if !defined $held{$sock} || -e "$dir/$until{$sock}";
            $peer{$sock}->syswrite(delete $held{$sock});
        }

        for my $sock (IO::Select->new($listen, values %peer)->can_read(0.02))
        {
            if ($sock == $listen) {
                my $client = $listen->accept or next;
                my $redis = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                    PeerPort => $to) or do { $client->close; next };
                setsockopt $_, IPPROTO_TCP, TCP_NODELAY, 1
                    for $client, $redis;
                @peer{$client, $redis} = ($redis, $client);
                ${*$client}{client} = 1;
                next;
            }

            my $other = $peer{$sock} or next;
            my $n = sysread $sock, my $bytes, 65536;

            if (!$n) {
                $close->($sock);
                next;
            }

            next if ${*$sock}{client} && -e "$dir/drop";

            if (${*$sock}{client}) {
                ${*$sock}{listens} = 1 if $bytes =~ /SSUBSCRIBE/;
                $until{$sock} = 'hold'
                    if -e "$dir/hold" && $bytes =~ /SSUBSCRIBE.*:c:/s;

            } else {
                next if -e "$dir/deaf" && $bytes =~ /smessage/;
                $until{$sock} = 'slow'
                    if -e "$dir/slow" && !${*$other}{listens};
            }

            if (defined $held{$sock} || $until{$sock}
                && -e "$dir/$until{$sock}")
            {
                $held{$sock} .= $bytes;
            } else {
                delete $until{$sock};
                $other->syswrite($bytes);
            }
        }
    }

    POSIX::_exit(0);
}

1;
