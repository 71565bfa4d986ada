package Trifecta::Test::Pooler;

# A proxy in front of PostgreSQL that shares connections, as far as its client
# can tell: whenever the client has finished a transaction, its next one finds
# a session that knows nothing of what the earlier ones have prepared.
#
#   my $pooler = Trifecta::Test::Pooler->start(to => $pg_port);
#   $pooler->port      $pooler->stop
#
# It answers "no" to TLS, as a PostgreSQL without it does.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();

my $DISCARD = 'DISCARD ALL';


sub start {
    my ($class, %opt) = @_;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                       ReuseAddr => 1)
        or die "pooler: $!\n";
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        $SIG{PIPE} = 'IGNORE';
        $SIG{TERM} = 'DEFAULT';
        my $parent = getppid;
        eval { _serve($listen, $parent, %opt) };
        POSIX::_exit(0);
    }

    return bless { pid => $pid, port => $listen->sockport }, $class;
}


sub port { $_[0]{port} }


# What is complete of the messages in a buffer: [type, all of its bytes].

sub _messages {
    my ($buffer) = @_;
    my @messages;

    while (length $$buffer >= 5) {
        my ($type, $len) = unpack 'a N', $$buffer;
        last if length $$buffer < $len + 1;
        push @messages, [$type, substr($$buffer, 0, $len + 1, '')];
    }

    return @messages;
}


sub _serve {
    my ($listen, $parent, %opt) = @_;
    my $select = IO::Select->new($listen);
    my %end;

    while (getppid == $parent) {
        for my $sock ($select->can_read(0.5)) {
            if ($sock == $listen) {
                my $client = $listen->accept or next;
                my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                    PeerPort => $opt{to}) or next;
                my $both = { client => $client, server => $server, in => '',
                             out => '', wait => [], state => 'start' };
                $end{$_} = $both for $client, $server;
                $select->add($client, $server);
                next;
            }

            my $both = $end{$sock} or next;
            my $from = $sock == $both->{client} ? 'in' : 'out';
            my $n = sysread $sock, $both->{$from}, 65536,
                length $both->{$from};

            if (!$n) {
                $select->remove(@$both{qw(client server)});
                delete @end{@$both{qw(client server)}};
                close $_ for @$both{qw(client server)};
                next;
            }

            $from eq 'in' ? _asked($both) : _answered($both);
        }
    }
}


# The start has no type.  A segment goes on when the one before has ended.

sub _asked {
    my ($both) = @_;

    while ($both->{state} eq 'start' && length $both->{in} >= 8) {
        my ($len, $code) = unpack 'N N', $both->{in};
        return if length $both->{in} < $len;
        my $first = substr $both->{in}, 0, $len, '';

        if ($code == 80877103 || $code == 80877104) {
            syswrite $both->{client}, 'N';
            next;
        }

        syswrite $both->{server}, $first;
        $both->{state} = 'login';
    }

    if ($both->{state} eq 'login') {
        syswrite $both->{server}, $_->[1] for _messages(\$both->{in});
        return;
    }

    push @{ $both->{wait} }, _messages(\$both->{in});
    _go_on($both);
}


sub _go_on {
    my ($both) = @_;

    return if $both->{state} ne 'idle'
        || !grep { $_->[0] eq 'S' || $_->[0] eq 'Q' } @{ $both->{wait} };

    syswrite $both->{server}, 'Q' . pack('N Z*', length($DISCARD) + 5,
                                         $DISCARD);
    $both->{state} = 'discarding';
}


sub _answered {
    my ($both) = @_;

    for my $message (_messages(\$both->{out})) {
        my ($type, $bytes) = @$message;

        if ($both->{state} ne 'discarding') {
            syswrite $both->{client}, $bytes;
            $both->{state} = 'idle' if $type eq 'Z';
            next;
        }

        next if $type ne 'Z';
        $both->{state} = 'asked';

        while (my $next = shift @{ $both->{wait} }) {
            syswrite $both->{server}, $next->[1];
            last if $next->[0] eq 'S' || $next->[0] eq 'Q';
        }
    }

    _go_on($both);
}


sub stop {
    my ($self) = @_;

    return unless $self->{pid};
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    delete $self->{pid};
}


sub DESTROY { local ($?, $@, $!); $_[0]->stop }

1;
