package Trifecta::Test::Deaf;

# A Redis that answers everything but one command: a relay in front of a real
# one, which hands on every byte of a connection until a request has the given
# text in it.  That request goes no further, nothing after it on its connection
# does, and the connection stays open.
#
#   my $deaf = Trifecta::Test::Deaf->start(to => $port, text => 'some_call_v1');
#   $deaf->port      $deaf->stop

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
        or die "deaf: $!\n";
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


sub _serve {
    my ($listen, $parent, %opt) = @_;
    my $select = IO::Select->new($listen);
    my (%peer, %deaf, %client);

    while (getppid == $parent) {
        for my $sock ($select->can_read(0.5)) {
            if ($sock == $listen) {
                my $client = $listen->accept or next;
                my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                    PeerPort => $opt{to}) or next;
                setsockopt $_, IPPROTO_TCP, TCP_NODELAY, 1
                    for $client, $server;
                @peer{$client, $server} = ($server, $client);
                $client{$client} = 1;
                $select->add($client, $server);
                next;
            }

            my $other = $peer{$sock} or next;
            my $n = sysread $sock, my $data, 65536;

            if (!$n) {
                $select->remove($sock, $other);
                delete @peer{$sock, $other};
                close $_ for $sock, $other;
                next;
            }

            $deaf{$sock} ||= $client{$sock} && index($data, $opt{text}) >= 0;
            next if $deaf{$sock};

            while (length $data) {
                my $done = syswrite $other, $data or last;
                substr $data, 0, $done, '';
            }
        }
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
