package Trifecta::Test::Proc;

# One process that a test started: to stop, kill, freeze and thaw, together
# with what it forked.  It dies with the test, even when that is killed.

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(sleep time);


# Trifecta::Test::Proc->start(name => ..., log => FILE, cmd => [...],
#     env => {...}, death => SIGNAL)

sub start {
    my ($class, %opt) = @_;

    open my $log, '>>', $opt{log} or die "$opt{log}: $!\n";

    my $pid = fork;
    die "fork: $!\n" unless defined $pid;

    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP QUIT PIPE);
        POSIX::setsid();
        open STDIN, '<', '/dev/null';
        open STDOUT, '>&', $log;
        open STDERR, '>&', $log;

        delete @ENV{grep { /^(TRIFECTA_|PG|REDIS|CMOCKA_|HARNESS_)/ }
                    keys %ENV};
        %ENV = (%ENV, %{ $opt{env} || {} });

        # the kernel's own promise that nothing stays behind
        exec 'setpriv', '--pdeathsig', $opt{death} || 'KILL', '--',
             @{ $opt{cmd} } or POSIX::_exit(127);
    }

    return bless { %opt, pid => $pid, parent => $$ }, $class;
}


sub pid { $_[0]{pid} }


# Has it ended?  Its wait status is kept.

sub reap {
    my ($self) = @_;

    return 1 if defined $self->{status};

    my $pid = waitpid $self->{pid}, POSIX::WNOHANG();
    return 0 if $pid == 0;

    $self->{status} = $pid == $self->{pid} ? $? : 0;
    return 1;
}


sub alive { !$_[0]->reap }


sub wait {
    my ($self, $timeout) = @_;
    my $end = time + $timeout;

    until ($self->reap) {
        return 0 if time > $end;
        sleep 0.01;
    }

    return 1;
}


# It and all its descendants, parents first.

sub tree {
    my ($self) = @_;
    my (%kids, @tree);

    for my $file (glob '/proc/[0-9]*/stat') {
        open my $fh, '<', $file or next;
        my $line = <$fh>;
        next unless defined $line;
        my ($pid, $ppid) = $line =~ /^(\d+) \(.*\) \S (\d+)/ or next;
        push @{ $kids{$ppid} }, $pid;
    }

    @tree = ($self->{pid});
    push @tree, @{ $kids{$_} || [] } for @tree;

    return @tree;
}


sub signal {
    my ($self, $signal) = @_;
    return CORE::kill $signal, $self->{pid};
}


# SIGSTOP, parents first, until a look finds nobody new.

sub freeze {
    my ($self) = @_;
    my (%done, @new);

    while (@new = grep { !$done{$_}++ } $self->tree) {
        CORE::kill 'STOP', @new;
    }
}


sub thaw {
    my ($self) = @_;
    CORE::kill 'CONT', reverse $self->tree;
}


# A polite end; returns the wait status, dies when it does not come.

sub stop {
    my ($self, $signal, $timeout) = @_;

    return $self->{status} if $self->reap;

    $self->thaw;
    CORE::kill $signal, $self->{pid};

    unless ($self->wait($timeout || 20)) {
        $self->kill;
        die "$self->{name} did not stop on SIG$signal\n";
    }

    return $self->{status};
}


# SIGKILL for all of it at once.

sub kill {
    my ($self) = @_;

    return $self->{status} if $self->reap;

    $self->freeze;
    my @tree = $self->tree;
    CORE::kill('KILL', @tree);
    $self->wait(10);

    # the children are init's now; they have to be gone before a successor
    my $end = time + 10;
    for my $pid (@tree) {
        sleep 0.01 while CORE::kill(0, $pid) && !_zombie($pid) && time < $end;
    }

    $self->{killed} = 1;
    return $self->{status};
}


sub _zombie {
    my ($pid) = @_;
    open my $fh, '<', "/proc/$pid/stat" or return 1;
    return (<$fh> // '') =~ /^\d+ \(.*\) Z /;
}


sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    $self->kill if $self->{parent} == $$ && !$self->reap;
}

1;
