package Trifecta::Test::ModelServer;

# A model server that does what it is told to, well or badly.
#
#   my $server = Trifecta::Test::ModelServer->new($t, name => sub { ... }, ...);
#   $server->url                      http://127.0.0.1:<port>
#   $server->requests($name)          what came for it: { path, headers, json }
#   $server->stop
#
# Which of the subs answers is said by the "model" of the request, so one
# server plays many.  A sub gets ($c): the connection with the request in
# $c->{json}, $c->{headers}, $c->{path}, $c->{count} (the number of this
# request, from 1) and
#
#   $c->head($status, $type, %headers)   the head of an answer, without length
#   $c->put($bytes)                      1, or 0 when the peer has gone
#   $c->answer($status, $data, %headers) a whole JSON answer
#   $c->sse(@texts)                      a stream of OpenAI's chunks, complete
#   $c->slowly($seconds, @texts)         the same, with a pause before each
#                                        chunk but the first
#   $c->chunk($text)                     one of them
#   $c->done                             finish_reason, usage and [DONE]
#   $c->lines(@texts)                    the same as an Ollama would say it
#
# After the sub the connection is closed.

use strict;
use warnings;

use Fcntl qw(:flock);
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep);

my $json = JSON::PP->new->utf8->canonical;


sub new {
    my ($class, $t, %plays) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => 0, Listen => 64, ReuseAddr => 1)
        or die "no port for a model server: $!\n";
    my $self = bless {
        port => $listen->sockport, plays => \%plays, parent => $$,
        log => $t->dir . '/model-server.' . $listen->sockport,
    }, $class;

    open my $log, '>', $self->{log} or die "$self->{log}: $!\n";

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        setpgrp 0, 0;
        $self->_serve($listen);
        POSIX::_exit(0);
    }

    $self->{pid} = $pid;
    return $self;
}


sub url { "http://127.0.0.1:$_[0]{port}" }


sub requests {
    my ($self, $name) = @_;

    open my $log, '<', $self->{log} or die "$self->{log}: $!\n";
    return grep { !defined $name || ($_->{json}{model} // '') eq $name }
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
            close $sock;
            POSIX::_exit(0);
        }
        close $sock;
    }
}


sub _connection {
    my ($self, $sock) = @_;

    my ($text, %headers) = ('');

    until ($text =~ /\r\n\r\n/) {
        sysread $sock, $text, 65536, length $text or return;
    }

    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    my ($first, @lines) = split /\r\n/, $head;

    for (@lines) { $headers{lc $1} = $2 if /^([^:]+):\s*(.*)/ }

    while (length $body < ($headers{'content-length'} // 0)) {
        sysread $sock, $body, 65536, length $body or return;
    }

    my $request = { path => (split ' ', $first)[1], headers => \%headers,
                    json => $json->decode($body) };
    my $name = $request->{json}{model} // '';

    open my $log, '+<', $self->{log} or die "$self->{log}: $!\n";
    flock $log, LOCK_EX;
    my $count = 1 + grep { $json->decode($_)->{json}{model} eq $name } <$log>;
    print $log $json->encode($request), "\n";
    close $log;

    my $play = $self->{plays}{$name}
        || sub { $_[0]->answer(404, { error => { message => 'no such model',
                                       code => 'model_not_found' } }) };
    $play->(Trifecta::Test::ModelServer::Connection->new($sock, $request,
                                                         $count));
}


package Trifecta::Test::ModelServer::Connection;

use Time::HiRes qw(sleep);

sub new {
    my ($class, $sock, $request, $count) = @_;
    return bless { %$request, sock => $sock, count => $count }, $class;
}


sub put {
    my ($self, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $self->{sock}, $bytes;
        return 0 unless $n;
        substr $bytes, 0, $n, '';
    }
    return 1;
}


sub head {
    my ($self, $status, $type, %headers) = @_;

    return $self->put(join '', "HTTP/1.1 $status Status\r\n",
        "Content-Type: $type\r\nConnection: close\r\n",
        (map { "$_: $headers{$_}\r\n" } sort keys %headers), "\r\n");
}


sub answer {
    my ($self, $status, $data, %headers) = @_;

    my $text = ref $data ? $json->encode($data) : $data;
    $self->head($status, 'application/json', 'Content-Length' => length $text,
                %headers);
    return $self->put($text);
}


sub chunk {
    my ($self, $text) = @_;

    return $self->put('data: ' . $json->encode({ object =>
        'chat.completion.chunk', choices => [{ index => 0,
        delta => { content => $text }, finish_reason => undef }] }) . "\n\n");
}


sub done {
    my ($self) = @_;

    return $self->put('data: ' . $json->encode({ choices => [{ index => 0,
            delta => {}, finish_reason => 'stop' }] }) . "\n\n"
        . 'data: ' . $json->encode({ choices => [], usage => {
            prompt_tokens => 11, completion_tokens => 5,
            total_tokens => 16 } }) . "\n\ndata: [DONE]\n\n");
}


sub sse {
    my ($self, @texts) = @_;

    $self->head(200, 'text/event-stream; charset=utf-8');
    $self->chunk($_) for @texts;
    return $self->done;
}


sub slowly {
    my ($self, $seconds, @texts) = @_;

    $self->head(200, 'text/event-stream');

    for my $i (0 .. $#texts) {
        sleep $seconds if $i;
        $self->chunk($texts[$i]) or return 0;
    }
    return $self->done;
}


sub lines {
    my ($self, @texts) = @_;

    $self->head(200, 'application/x-ndjson');
    $self->put($json->encode({ message => { role => 'assistant',
        content => $_ }, done => JSON::PP::false }) . "\n") for @texts;
    return $self->put($json->encode({ message => { content => '' },
        done => JSON::PP::true, done_reason => 'stop',
        prompt_eval_count => 21, eval_count => 3 }) . "\n");
}

1;
