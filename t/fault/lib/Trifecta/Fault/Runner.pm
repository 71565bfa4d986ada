package Trifecta::Fault::Runner;

# Rounds of cells, several stacks at once.
#
#   my @cells = Trifecta::Fault::Runner::cells();
#   Trifecta::Fault::Runner::run(cells => \@cells, rounds => 5, jobs => 2,
#       seed => 7, done => {}, on_round => sub { my ($result) = @_; ... });
#
# "done" has, by cell, how many of the rounds need not be run any more.
#
# Each worker is a process with a stack of its own, which it keeps as long as
# the next round wants the same one and the last round was clean.  A round
# that was not leaves its logs behind; the result's "logs" says where.  Round
# i of a cell has the seed seed + i: --seed of a round that failed repeats it,
# as far as anything that depends on time can be repeated.

use strict;
use warnings;

use File::Basename qw(dirname);
use IO::Select;
use IO::Socket;
use JSON::XS ();
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

use Trifecta::Fault::Round;
use Trifecta::Fault::Stack;

my $HERE = dirname(__FILE__) . '/../../..';
my $TRIES = 3;
my $json = JSON::XS->new->utf8->canonical->allow_nonref;


# All rows of t/fault/cells*.pl, in the order of their files.

sub cells {
    my @cells;

    for my $file (sort glob "$HERE/cells*.pl") {
        my @rows = do $file;
        die "$file: $@\n" if $@;
        die "$file: $!\n" if !@rows;
        push @cells, @rows;
    }

    my %seen;
    for (@cells) {
        die "two cells have the name $_->{name}\n" if $seen{$_->{name}}++;
    }

    return @cells;
}


# Stacks in memory, if there is enough: a round is not about the speed of a
# disk.

sub in_memory {
    my ($jobs) = @_;
    my ($free) = `df -Pk /dev/shm 2>/dev/null` =~ /\s(\d+)\s+\d+%/;

    $ENV{TMPDIR} = '/dev/shm' if !$ENV{TMPDIR} && ($free // 0) > $jobs * 1e6
                                 && -w '/dev/shm';
}


sub _same { join ' ', map { $json->encode($_ // {}) } $_[0]{stack} }


# Building one is not what is tested: another program may take a port that
# was free.  Ports are chosen at random, and not by the round's seed, which
# other workers have, too.

sub _stack {
    my ($cell) = @_;
    my $stack;

    for my $try (1 .. 3) {
        srand(time ^ $$ << 8 ^ $try);
        $stack = eval {
            Trifecta::Fault::Stack->new(%{ $cell->{stack} || {} });
        } and return $stack;
        die $@ if $@ !~ /cannot start|address already in use/i;
    }

    die $@;
}


# A round that broke no promise, but whose fault did not come about, is none.

sub _round {
    my ($stack, $cell, $seed) = @_;
    my $result;

    for (1 .. $TRIES) {
        $result = Trifecta::Fault::Round::run($stack, $cell, $seed);
        my @wrong = @{ $result->{violations} };
        last if !@wrong || grep { $_->{what} !~ /was not met$/ } @wrong;
    }

    return $result;
}


sub _worker {
    my ($sock, $cells) = @_;
    my %cell = map { $_->{name} => $_ } @$cells;
    my ($stack, $of);

    $SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
    $SIG{PIPE} = 'IGNORE';

    while (defined(my $line = readline $sock)) {
        my $task = $json->decode($line);
        my $cell = $cell{$task->{cell}};
        my $start = time;

        if ($stack && ($of ne _same($cell) || $task->{fresh})) {
            undef $stack;
        }

        my $result = eval {
            $stack ||= _stack($cell);
            $of = _same($cell);
            _round($stack, $cell, $task->{seed});
        } || { cell => $cell->{name}, seed => $task->{seed}, jobs => 0,
               accepted => 0, unknown => 0, given_up => 0, notes => [],
               violations => [{ inv => 'round', what => "$@" }],
               seconds => time - $start };

        if (@{ $result->{violations} } && $stack) {
            # what happened is in there
            $stack->{t}{failed} = 1;
            $result->{logs} = "$stack->{t}{dir}";
            undef $stack;
        }

        my $text = $json->encode($result) . "\n";
        while (length $text) {
            my $n = syswrite $sock, $text or exit 1;
            substr $text, 0, $n, '';
        }
    }

    undef $stack;
    exit 0;
}


sub _start_worker {
    my ($cells) = @_;

    socketpair my $mine, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!\n";
    $_->autoflush(1) for $mine, $its;

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        close $mine;
        _worker($its, $cells);
    }

    close $its;
    return { sock => $mine, pid => $pid };
}


# The next round for a worker: one of its own stack if there is any, else one
# of the stack that has the most rounds to do for each worker that is at it.

sub _next {
    my ($worker, $todo, $workers) = @_;
    my (%rounds, %at);

    return unless @$todo;
    push @{ $rounds{$_->{stack}} }, $_ for @$todo;

    my $stack = $worker->{stack};
    if (!defined $stack || !$rounds{$stack}) {
        $at{$_->{stack} // ''}++ for grep { $_ != $worker } @$workers;
        my %each = map { $_ => @{ $rounds{$_} } / (1 + ($at{$_} // 0)) }
                   keys %rounds;
        ($stack) = sort { $each{$b} <=> $each{$a} || $a cmp $b } keys %rounds;
    }

    my $task = $rounds{$stack}[0];
    @$todo = grep { $_ != $task } @$todo;
    $worker->{stack} = $stack;

    return $task;
}


sub run {
    my (%opt) = @_;
    my @cells = @{ $opt{cells} };
    my (@todo, @workers);

    # round by round, so that a sitting that is cut short has some of each
    for my $i (0 .. $opt{rounds} - 1) {
        push @todo, map { { cell => $_->{name}, seed => $opt{seed} + $i,
                            stack => _same($_) } }
                    grep { $i >= ($opt{done}{$_->{name}} // 0) } @cells;
    }

    local $SIG{PIPE} = 'IGNORE';
    my $jobs = $opt{jobs} < @todo ? $opt{jobs} : @todo;

    for (1 .. $jobs) {
        my $worker = _start_worker(\@cells);
        push @workers, $worker;
        _give($worker, \@todo, \@workers);
    }

    # an interruption is passed on, so that the stacks are taken down
    local $SIG{INT} = local $SIG{TERM} = sub {
        kill 'TERM', map { $_->{pid} } @workers;
        waitpid $_->{pid}, 0 for @workers;
        exit 130;
    };

    my $set = IO::Select->new(map { $_->{sock} } @workers);

    while ($set->count) {
        for my $sock ($set->can_read) {
            my ($worker) = grep { $_->{sock} == $sock } @workers;
            my $line = readline $sock;

            if (!defined $line) {
                $set->remove($sock);
                waitpid $worker->{pid}, 0;
                my $task = $worker->{task} or next;
                $opt{on_round}->({ cell => $task->{cell}, jobs => 0,
                    seed => $task->{seed}, accepted => 0, unknown => 0,
                    given_up => 0, notes => [], seconds => 0, violations =>
                    [{ inv => 'round', what => "the runner ended ($?)" }] });
                my $new = _start_worker(\@cells);
                @$worker{keys %$new} = values %$new;
                delete $worker->{stack};
                $set->add($worker->{sock});
            } else {
                $opt{on_round}->($json->decode($line));
            }

            _give($worker, \@todo, \@workers) or do {
                $set->remove($worker->{sock});
                close $worker->{sock};
            };
        }
    }

    waitpid $_->{pid}, 0 for @workers;
}


sub _give {
    my ($worker, $todo, $workers) = @_;

    delete $worker->{task};
    my $task = _next($worker, $todo, $workers) or return 0;
    $worker->{task} = $task;
    print { $worker->{sock} } $json->encode($task), "\n";

    return 1;
}

1;
