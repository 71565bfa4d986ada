package Trifecta::Test::Relay;

# A process between the programs and a store, which hands on what it is given
# and may do something to it.  A kind of relay says what:
#
#   package Trifecta::Test::Some;
#   use parent 'Trifecta::Test::Relay';
#   sub joined { my ($self, $both) = @_; ... }      # optional
#   sub came   { my ($self, $both, $from, $bytes) = @_; ... }
#
#   my $relay = Trifecta::Test::Some->start(to => $port, ...);
#   $relay->port      $relay->stop
#
# $both has the sockets "client" and "server" of one connection, and is the
# kind's to keep things in; $from is which of them the bytes came from.  Both
# run in the process of the relay, which has what start() was given in $self.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);


sub start {
    my ($class, %opt) = @_;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                       ReuseAddr => 1)
        or die "$class: $!\n";
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        $SIG{PIPE} = 'IGNORE';
        $SIG{TERM} = 'DEFAULT';
        my $parent = getppid;
        eval { _serve(bless({ %opt }, $class), $listen, $parent) };
        POSIX::_exit(0);
    }

    return bless { pid => $pid, port => $listen->sockport }, $class;
}


sub port { $_[0]{port} }

sub joined { }


sub _serve {
    my ($self, $listen, $parent) = @_;
    my $select = IO::Select->new($listen);
    my %end;

    while (getppid == $parent) {
        for my $sock ($select->can_read(0.5)) {
            if ($sock == $listen) {
                my $both = $self->_join($listen) or next;
                $end{$_} = $both for @$both{qw(client server)};
                $select->add(@$both{qw(client server)});
                next;
            }

            # the other end of one that has just gone
            my $both = $end{$sock} or next;

            if (!sysread $sock, my $bytes, 65536) {
                $select->remove(@$both{qw(client server)});
                delete @end{@$both{qw(client server)}};
                close $_ for @$both{qw(client server)};

            } else {
                $self->came($both, $sock == $both->{client} ? 'client'
                                                            : 'server',
                            $bytes);
            }
        }
    }
}


sub _join {
    my ($self, $listen) = @_;
    my $client = $listen->accept or return;
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $self->{to}) or return;

    setsockopt $_, IPPROTO_TCP, TCP_NODELAY, 1 for $client, $server;

    my $both = { client => $client, server => $server };
    $self->joined($both);
    return $both;
}


# All of it, or as much as somebody is there for.

sub give {
    my ($self, $to, $bytes) = @_;

    while (length $bytes) {
        my $done = syswrite $to, $bytes or last;
        substr $bytes, 0, $done, '';
    }
}


sub stop {
    my ($self) = @_;

    return unless $self->{pid};
    kill 'TERM', $self->{pid};
    waitpid delete $self->{pid}, 0;
}


sub DESTROY { local ($?, $@, $!); $_[0]->stop }

1;
