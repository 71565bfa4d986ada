package Trifecta::Bench::Case::Killed;

# Of two workers one is killed (SIGKILL, with all its children) when a third
# of the jobs has begun; the other one goes on.  A job takes half a second, so
# that some are under way.  Each begin of a job leaves a line in a file: the
# lines that are too many are jobs that ran twice.

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use Trifecta::Bench::Queues;
use Trifecta::Bench::Stack;

my $NAP = 500;              # milliseconds
my $WAIT = 75;              # seconds: more than the longest default of 30 + 30


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
    my @rows = { name => 'ours', measure => sub { ours($env, $t, $q) },
        leaves => 'its lease ends after 30 s, and another sidecar takes it' };

    # a peer takes more than a minute
    return @rows if !$env->{peers} || $env->{quick};
    return @rows, map { my $peer = $_; { name => $_->{name},
        leaves => $_->{lasts}, measure => sub { peer($q, $peer) } } }
        Trifecta::Bench::Queues::best();
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

    my $end = time + $WAIT;
    sleep 0.5 while Trifecta::Bench::Queues::open_jobs($t) && time < $end;
    my ($n, $last) = @{ $t->sql('admin', 'SELECT count(*),
        extract(epoch FROM max(finished)) FROM trifecta.job JOIN
        trifecta.job_result r ON r.job = id')->[0] };
    return result($t, $note, $jobs, $n, ($last // time) - $start);
}


sub peer {
    my ($q, $peer) = @_;
    my $jobs = $peer->{kind} =~ /^(?:celery|rq)$/ ? 40 : 400;
    my $run = $q->start($peer, workers => 2, nap => $NAP, mode => 'reliable');
    my ($t, $note) = @$run{qw(t note)};
    my $got = eval {
        my $start = $run->said('add', $jobs, 8, 256) / 1000;
        begun($t, $note, $jobs);
        $run->{workers}[0]->kill;

        my ($n, $last) = (0, 0);
        my $end = time + $WAIT;
        while ($n < $jobs && time < $end) {
            sleep 1;
            ($n, $last) = split ' ', $run->said('count');
        }
        result($t, $note, $jobs, $n, $last / 1000 - $start);
    };
    my $error = $@;
    $run->end;
    die "$peer->{name}: $error" unless $got;
    return $got;
}


sub begun {
    my ($t, $note, $jobs) = @_;

    $t->wait_for(sub { -e $note
        && $t->read_file($note) =~ tr/\n// >= $jobs / 3 }, 30)
        or die "a third of the jobs did not begin\n";
}


sub result {
    my ($t, $note, $jobs, $done, $seconds) = @_;
    my %times;

    $times{$_}++ for split /\n/, $t->read_file($note);
    return { jobs => $jobs, lost => $jobs - $done, seconds => $seconds,
             twice => scalar grep { $_ > 1 } values %times };
}

1;
