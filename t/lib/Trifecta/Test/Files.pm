package Trifecta::Test::Files;

# Files, secrets and ports of a test's stack.  These are methods of
# Trifecta::Test (see there).

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET;
use IO::Socket::UNIX;

my %ports;


# A port below those that the kernel gives to outgoing connections.  It stays
# ours while nobody listens there, because what we started was killed: a socket
# without a file, which goes with the process, says so to other tests.

sub free_port {
    for (1 .. 1000) {
        my $port = 18000 + int rand 13000;
        next if $ports{$port};
        my $ours = IO::Socket::UNIX->new(Listen => 1,
            Local => "\0trifecta-test-port-$port") or next;
        IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
                              Listen => 1, ReuseAddr => 1) or next;
        $ports{$port} = $ours;
        return $port;
    }
    die "no free port\n";
}


sub write_file {
    my ($self, $file, $text, $mode) = @_;

    open my $fh, '>:raw', $file or croak "$file: $!";
    chmod $mode, $file if defined $mode;
    utf8::encode($text) if utf8::is_utf8($text);
    print $fh $text;
    close $fh or croak "$file: $!";

    return $file;
}


sub read_file {
    my ($self, $file) = @_;
    open my $fh, '<:raw', $file or return '';
    local $/;
    return scalar(<$fh>) // '';
}


sub secret {
    my ($self, $name) = @_;
    my $text = $self->read_file("$self->{dir}/secrets/$name");
    chomp $text;
    return $text;
}

1;
