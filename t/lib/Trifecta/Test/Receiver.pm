package Trifecta::Test::Receiver;

# A server over TLS that receives webhooks, well or badly.
#
#   my $server = Trifecta::Test::Receiver->new($t, name => sub { ... }, ...);
#   $server->url('name')              https://localhost:<port>/name
#   $server->requests($name)          what came: { name, path, count, headers,
#                                     body, json, time, pid of the server }
#   $server->stop
#
# The path says which sub answers; "/" and what has no sub is answered 204.  A
# sub gets ($c), a connection with the request, and
#
#   $c->answer($status, $body, %headers)   a whole answer
#   $c->put($bytes)                        1, or 0 when the peer has gone
#
# The option "cert" => [certificate, key] is for another pair than the stack's.
# What came is noted before it is answered.

use strict;
use warnings;

use Fcntl qw(:flock);
use IO::Socket::INET;
use IO::Socket::SSL;
use JSON::PP ();
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time sleep);

my $json = JSON::PP->new->utf8->canonical;


sub new {
    my ($class, $t, %plays) = @_;
    my $cert = delete $plays{cert} || [$t->{ca}, $t->dir . '/secrets/tls.key'];

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => delete $plays{port} || 0, Listen => 64, ReuseAddr => 1)
        or die "no port for a receiver: $!\n";
    my $self = bless {
        port => $listen->sockport, plays => \%plays, parent => $$,
        cert => $cert, log => $t->dir . '/receiver.' . $listen->sockport,
    }, $class;

    open my $log, '>>', $self->{log} or die "$self->{log}: $!\n";

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        setpgrp 0, 0;
        $self->_serve($listen);
        POSIX::_exit(0);
    }

    $self->{pid} = $pid;
    return $self;
}


sub port { $_[0]{port} }
sub url  { "https://localhost:$_[0]{port}/$_[1]" }


sub requests {
    my ($self, $name) = @_;

    open my $log, '<', $self->{log} or die "$self->{log}: $!\n";
    return grep { !defined $name || $_->{name} eq $name }
        map { $json->decode($_) } <$log>;
}


sub stop {
    my ($self) = @_;

    return if !$self->{pid} || $self->{parent} != $$;
    kill 'KILL', -$self->{pid}, $self->{pid};
    waitpid $self->{pid}, 0;
    delete $self->{pid};
}

sub DESTROY {
    local ($?, $!, $@);
    $_[0]->stop;
}


sub _serve {
    my ($self, $listen) = @_;

    $SIG{CHLD} = 'IGNORE';
    $SIG{PIPE} = 'IGNORE';

    while (my $sock = $listen->accept) {
        my $pid = fork // next;

        if ($pid == 0) {
            close $listen;
            setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
            $self->_connection($sock);
            POSIX::_exit(0);
        }
        close $sock;
    }
}


sub _connection {
    my ($self, $sock) = @_;

    IO::Socket::SSL->start_SSL($sock, SSL_server => 1,
        SSL_cert_file => $self->{cert}[0], SSL_key_file => $self->{cert}[1])
        or return;

    my ($text, %headers) = ('');

    until ($text =~ /\r\n\r\n/) {
        sysread $sock, $text, 65536, length $text or return;
    }

    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    my ($first, @lines) = split /\r\n/, $head;
    for (@lines) { $headers{lc $1} = $2 if /^([^:]+):\s*(.*)$/ }

    while (length $body < ($headers{'content-length'} // 0)) {
        sysread $sock, $body, 65536, length $body or return;
    }

    my ($method, $path) = split ' ', $first;
    my ($name) = $path =~ m{^/([^/?]*)};
    my $seen = { name => $name, method => $method, path => $path,
                 headers => \%headers, body => $body, time => time,
                 json => eval { $json->decode($body) } };

    open my $log, '+>>', $self->{log} or return;
    flock $log, LOCK_EX;
    seek $log, 0, 0;
    $seen->{count} = 1 + grep { $json->decode($_)->{name} eq $name } <$log>;
    print $log $json->encode($seen), "\n";
    close $log;

    my $c = bless { sock => $sock, %$seen }, 'Trifecta::Test::Receiver::One';
    my $play = $self->{plays}{$name} || sub { $_[0]->answer(204, '') };

    $play->($c);
    $sock->close;
}


package Trifecta::Test::Receiver::One;

use strict;
use warnings;


sub put {
    my ($c, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';

    while (length $bytes) {
        my $n = syswrite $c->{sock}, $bytes or return 0;
        substr $bytes, 0, $n, '';
    }

    return 1;
}


sub answer {
    my ($c, $status, $body, %headers) = @_;

    return $c->put("HTTP/1.1 $status Whatever\r\n"
        . join('', map { "$_: $headers{$_}\r\n" } sort keys %headers)
        . ($status == 204 ? '' : 'Content-Length: ' . length($body) . "\r\n")
        . "Connection: close\r\n\r\n$body");
}


1;
