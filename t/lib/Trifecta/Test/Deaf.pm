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

use parent 'Trifecta::Test::Relay';


sub came {
    my ($self, $both, $from, $bytes) = @_;

    if ($from eq 'server') {
        $self->give($both->{client}, $bytes);
        return;
    }

    $both->{deaf} ||= index($bytes, $self->{text}) >= 0;
    $self->give($both->{server}, $bytes) unless $both->{deaf};
}

1;
