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

use parent 'Trifecta::Test::Relay';

my $DISCARD = 'DISCARD ALL';


sub joined {
    my ($self, $both) = @_;
    @$both{qw(in out wait state)} = ('', '', [], 'start');
}


sub came {
    my ($self, $both, $from, $bytes) = @_;

    $both->{$from eq 'client' ? 'in' : 'out'} .= $bytes;
    $from eq 'client' ? _asked($both) : _answered($both);
}


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

1;
