package Trifecta::Fault::Link;

# A TCP connection that misbehaves on command (t/fault/proxy.c):
#
#   my $link = Trifecta::Fault::Link->new($port, $target_port);
#   $link->do('latency 50 up');     # dies unless the proxy says ok
#   $link->do('heal');
#
# port() is where to connect to; the proxy ends with its parent.

use strict;
use warnings;

use Cwd ();
use File::Basename qw(dirname);
use IPC::Open2 ();

my $ROOT = Cwd::abs_path(dirname(__FILE__) . '/../../../../..');

sub tool { "$ROOT/build/test/fault/$_[-1]" }


sub new {
    my ($class, $port, $target) = @_;

    # not a shell: the pid is that of the proxy
    my $pid = IPC::Open2::open2(my $out, my $in, 'setpriv', '--pdeathsig',
                                'KILL', '--', tool('proxy'), $port, $target);
    my $self = bless { port => $port, target => $target, pid => $pid,
                       in => $in, out => $out, parent => $$ }, $class;
    my $said = readline $out;

    die "the proxy at port $port does not start\n"
        unless defined $said && $said eq "ok\n";

    return $self;
}


sub port { $_[0]{port} }
sub pid  { $_[0]{pid} }


sub do {
    my ($self, @commands) = @_;
    my @said;

    for my $command (@commands) {
        local $SIG{PIPE} = 'IGNORE';
        syswrite $self->{in}, "$command\n";
        my $line = readline $self->{out};
        die "proxy: $command: " . ($line // 'it is gone') . "\n"
            unless defined $line && $line =~ /^ok/;
        @said = split ' ', $line;
    }

    return @said[1 .. $#said];
}


sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    return if $self->{parent} != $$;
    close $self->{in};
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
