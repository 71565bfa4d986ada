package Trifecta::Bench::Case::Killed;

# Of two workers one is killed (SIGKILL, with all its children) when a third
# of the jobs has begun; the other one goes on.  A job takes half a second, so
# that some are under way.  Each begin of a job leaves a line in a file: the
# lines that are too many are jobs that ran twice.
#
# What is measured is how long a lost worker's jobs wait, which is a matter of
# clocks and not of processors: so the workers of all are killed one after the
# other, and then all are waited for at the same time.

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Trifecta::Bench::Queues;
use Trifecta::Bench::Stack;

my $NAP = 500;              # milliseconds
my $WAIT = 75;              # seconds: more than the longest default of 30 + 30
my $LIMIT = 400;            # of the first row, which begins all of them


sub what { 'a worker is killed: jobs that are lost, and that run twice' }

sub columns {
    return [['jobs', 'jobs'], ['lost', 'without a result after a while'],
            ['twice', 'ran twice'], ['seconds', 'seconds to the last result']];
}

sub last_column { 'what becomes of a job whose worker is gone' }
sub rounds { 1 }

sub targets {
    return { name => 'jobs of ours without a result', over => 'ours',
             column => 'lost', most => 0, quick => 1 };
}


sub rows {
    my ($env) = @_;
    my $t = $env->{t} = Trifecta::Bench::Stack::stack($env->{root},
        sidecars => 0, mock => { nap => [$NAP, 1, 0, 1, 'note'] });
    my $q = Trifecta::Bench::Queues->new($env, $t);
    my @runs = { name => 'ours', begin => sub { ours($env, $t, $q) },
        leaves => 'its lease ends after 30 s, and another sidecar takes it' };

    # a peer takes more than a minute
    push @runs, map { my $peer = $_; { name => $_->{name},
        leaves => $_->{lasts}, begin => sub { peer($q, $peer) } } }
        Trifecta::Bench::Queues::best()
        if $env->{peers} && !$env->{quick};

    return map { my $run = $_; { name => $run->{name},
        leaves => $run->{leaves}, limit => $LIMIT, measure => sub {
            begin(@runs);
            die $run->{failed} if $run->{failed};
            return finish($run);
        } } } @runs;
}


# All of them, when the first is to be measured.

sub begin {
    for my $run (grep { !$_->{begun}++ } @_) {
        $run->{work} = eval { $run->{begin}->() };
        $run->{failed} = $@ || "it did not begin\n" if !$run->{work};
    }
}


# Until all have a result, or it has been too long.

sub finish {
    my ($run) = @_;
    my $work = $run->{work};
    my ($t, $note, $jobs) = @$work{qw(t note jobs)};
    my ($n, $last) = (0, 0);

    until (($n, $last) = $work->{count}->(), $n >= $jobs) {
        last if time > $work->{killed} + $WAIT;
        sleep 0.5;
    }
    $work->{end}->();

    my %times;
    $times{$_}++ for split /\n/, $t->read_file($note);
    return { jobs => $jobs, lost => $jobs - $n,
             seconds => ($last || time) - $work->{start},
             twice => scalar grep { $_ > 1 } values %times };
}


sub ours {
    my ($env, $t, $q) = @_;
    my $jobs = $env->{quick} ? 40 : 400;
    my $note = "$t->{dir}/run/note";

    # --quick does not wait that long, and so promises less
    my %lease = $env->{quick} ? (lease => '3s', heartbeat => '1s') : ();
    Trifecta::Bench::Stack::sidecars($t, 2, threads => 16, %lease);

    my $start = $q->submit(jobs => $jobs, at_once => 8, size => 256);
    begun($t, $note, $jobs);
    $t->kill('sidecar', 0);
    delete $t->{sidecars_are};

    return { t => $t, note => $note, jobs => $jobs, start => $start,
        killed => time, end => sub { }, count => sub {
            @{ $t->sql('admin', 'SELECT count(*), extract(epoch FROM
                max(finished)) FROM trifecta.job JOIN trifecta.job_result r
                ON r.job = id')->[0] } } };
}


sub peer {
    my ($q, $peer) = @_;
    my $jobs = $peer->{kind} =~ /^(?:celery|rq)$/ ? 40 : 400;
    my $run = $q->start($peer, workers => 2, nap => $NAP, mode => 'reliable');
    my ($t, $note) = @$run{qw(t note)};

    my $start = eval {
        my $at = $run->said('add', $jobs, 8, 256) / 1000;
        begun($t, $note, $jobs);
        $run->{workers}[0]->kill;
        $at;
    };
    if (!$start) {
        my $error = $@;
        $run->end;
        die $error;
    }

    return { t => $t, note => $note, jobs => $jobs, start => $start,
        killed => time, end => sub { $run->end }, count => sub {
            my ($n, $last) = split ' ', $run->said('count');
            return ($n, $last / 1000);
        } };
}


sub begun {
    my ($t, $note, $jobs) = @_;

    $t->wait_for(sub { -e $note
        && $t->read_file($note) =~ tr/\n// >= $jobs / 3 }, 30)
        or die "a third of the jobs did not begin\n";
}


1;
