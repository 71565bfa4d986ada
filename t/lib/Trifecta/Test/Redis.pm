package Trifecta::Test::Redis;

# A small Redis client (RESP2, blocking), so that a test forks no redis-cli.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);


sub connect {
    my ($class, %opt) = @_;

    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $opt{port}, Timeout => $opt{timeout} || 5)
        or die "redis: cannot connect to port $opt{port}: $!\n";

    my $self = bless { sock => $sock, buf => '',
                       timeout => $opt{timeout} || 5 }, $class;
    $self->cmd('AUTH', $opt{password}) if defined $opt{password};

    return $self;
}


# Sends a command and returns its reply: scalar, undef or array reference.
# An error reply dies with its text.

sub cmd {
    my ($self, @args) = @_;

    $self->send(@args);
    my ($reply, $error) = $self->reply;
    die "redis: $error\n" if defined $error;

    return $reply;
}


sub send {
    my ($self, @args) = @_;

    utf8::encode($_) for grep { utf8::is_utf8($_) } @args;
    my $out = '*' . @args . "\r\n";
    $out .= '$' . length($_) . "\r\n$_\r\n" for @args;

    local $SIG{PIPE} = 'IGNORE';
    $self->{sock}->syswrite($out) // die "redis: write: $!\n";
}


sub _more {
    my ($self, $end) = @_;

    my $left = $end - time;
    IO::Select->new($self->{sock})->can_read($left > 0 ? $left : 0)
        or die "redis: no reply\n";
    sysread $self->{sock}, $self->{buf}, 65536, length $self->{buf}
        or die "redis: connection closed\n";
}


sub _line {
    my ($self, $end) = @_;

    $self->_more($end) until $self->{buf} =~ /\r\n/;
    $self->{buf} =~ s/^(.*?)\r\n//s;
    return $1;
}


sub reply {
    my ($self, $timeout) = @_;
    my $end = time + ($timeout // $self->{timeout});

    my ($type, $rest) = $self->_line($end) =~ /^(.)(.*)$/s;

    return $rest if $type eq '+' || $type eq ':';
    return (undef, $rest) if $type eq '-';

    if ($type eq '$') {
        return undef if $rest < 0;
        $self->_more($end) while length $self->{buf} < $rest + 2;
        my $bulk = substr $self->{buf}, 0, $rest, '';
        substr $self->{buf}, 0, 2, '';
        return $bulk;
    }

    if ($type eq '*') {
        return undef if $rest < 0;
        my @items;
        for (1 .. $rest) {
            my ($item, $error) = $self->reply($end - time);
            push @items, defined $error ? "ERROR $error" : $item;
        }
        return \@items;
    }

    die "redis: bad reply type $type\n";
}


# For MONITOR: the lines that came within so many seconds.

sub lines {
    my ($self, $seconds) = @_;
    my $end = time + $seconds;
    my @lines;

    while (1) {
        my $line = eval { $self->_line($end) };
        return @lines unless defined $line;
        $line =~ s/^\+//;
        push @lines, $line;
    }
}

1;
