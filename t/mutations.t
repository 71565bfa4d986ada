# Would these tests see a broken promise?  The program is broken on purpose, in
# each of the ways of t/fault/mutations/, and put into a situation where it
# matters; what was promised must then be seen to be broken.  The sound program
# goes through the same situations and keeps it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/fault/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Fault::Power;
use Trifecta::Test;
use Trifecta::Test::Promises;
use Trifecta::Test::Stacks;

my $root = Trifecta::Test->root;
my $P = '{trifecta:0}';
my ($t, $p, $power);


# Starts a sidecar that stops or dies at a point.

sub armed {
    my ($n, $fault) = @_;
    $t->{opt}{proc_env}{sidecar} = { TRIFECTA_FAULT => $fault };
    my $proc = $t->start('sidecar', $n);
    delete $t->{opt}{proc_env}{sidecar};
    return $proc;
}

sub met {
    my ($n, $point) = @_;
    $t->wait_for(sub {
        $t->log_of('sidecar', $n) =~ /^crash point \Q$point\E, /m
    }, 15) || die "$point was not reached\n";
}

sub attempt {
    my ($job) = @_;
    my $rows = $t->sql('admin', 'SELECT attempt FROM trifecta.job '
        . "WHERE id = ? AND state = 'running'", $job->{id});
    return @$rows ? $rows->[0][0] : 0;
}

# Another one runs the job again, meanwhile the first one goes on.

sub overtaken {
    my ($stopped, $job) = @_;
    $t->start('sidecar', 1);
    $t->wait_for(sub { attempt($job) == 2 }, 15)
        or die "it is not taken over\n";
    $stopped->signal('CONT');
    return $p->broken(crashes => 1);
}


# What is seen in a mutant, and what the situation is.

my %situation = (

    # one that stalled before its begin, while the job ended elsewhere
    begin_unconditional => [qr/^open row/, sub {
        my $stopped = armed(0, 'begin.before=stop');
        my $job = $p->ask('say=late');
        met(0, 'begin.before');
        $t->start('sidecar', 1);
        $t->wait_for_answer($job->{id});
        $stopped->signal('CONT');
        sleep 1;
        return $p->broken(crashes => 1);
    }],

    # one that stalled with a result in its hands
    complete_unfenced => [qr/its result is ".* attempt=1 .*" at attempt 2/, sub {
        my $stopped = armed(0, 'complete.before=stop');
        my $job = $p->ask('sleep=1500 say=fenced');
        met(0, 'complete.before');
        return overtaken($stopped, $job);
    }],

    # one that stalled with a piece of an answer in its hands
    emit_unchecked => [qr/it said 1-\d+ '.*', stored is nothing|came behind/, sub {
        my $stopped = armed(0, 'emit.before:3=stop');
        my $job = $p->ask('sleep=3000 every=300 pieces=6 say=again and again');
        met(0, 'emit.before');
        return overtaken($stopped, $job);
    }],

    # one that stalled behind its commit; PostgreSQL lost that commit
    finish_unchecked => [qr/^open row/, sub {
        my $stopped = armed(0, 'finish.before=stop');
        my $job = $p->ask('sleep=1500 say=again');
        met(0, 'finish.before');
        $t->sql('admin', 'DELETE FROM trifecta.job_result WHERE job = ?',
                $job->{id});
        $t->sql('admin', "UPDATE trifecta.job SET state = 'running', "
                . 'finished = NULL WHERE id = ?', $job->{id});
        return overtaken($stopped, $job);
    }],

    # a power cut before anybody has worked on what was accepted
    everysec => [qr/was \S+, sent again it is/, sub {
        $t->{opt}{proc_env}{redis}{TF_POWER_DELAY} = 100;
        $t->restart('redis');
        ready();
        $p->ask("say=power$_") for 1 .. 8;
        $t->kill('redis');
        $power->cut("$t->{dir}/redis");
        delete $t->{opt}{proc_env}{redis}{TF_POWER_DELAY};
        $t->start('redis');
        $t->start('sidecar');
        return $p->broken;
    }],

    # one that dies between the two
    finish_first => [qr/^open row/, sub {
        my $died = armed(0, 'complete.before');
        $p->ask('say=first');
        $died->wait(15 * $t->slow) or die "it did not die\n";
        $died->kill;
        $t->start('sidecar', 1);
        return $p->broken(crashes => 1);
    }],

    # a job that takes some leases, and another worker that has time
    no_heartbeat => [qr/attempt \d+, at most 1/, sub {
        $t->start('sidecar', $_) for 0, 1;
        $p->ask('sleep=' . 3500 * $t->slow . ' say=held');
        return $p->broken;
    }],
);


sub ready {
    return $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 15);
}


sub stack {
    my ($mutation) = @_;
    my $folder = "$root/build/mutant-$mutation";
    my $n = Trifecta::Test->new(start => 0)->slow;

    $t = Trifecta::Test->new(start => 0, sidecars => 0, sidecar => {
        threads => 4, lease => $n . 's', heartbeat => 200 * $n . 'ms',
        drain_timeout => '1s', reconcile => '1h',
        durability_check => $mutation eq 'everysec' ? 'warn' : 'strict',
        -d "$folder/migrations" ? (migrations => "$folder/migrations") : () });
    $power = Trifecta::Fault::Power->new("$t->{dir}/run/power");
    $t->{opt}{proc_env}{redis} = { $power->env };

    if ($mutation ne 'sound') {
        $t->{bin} = "$folder/trifecta" if -x "$folder/trifecta";
        my $mutate = "'$root/t/fault/mutate' $mutation '$t->{dir}/conf'";
        my $out = qx($mutate redis.conf 2>&1);
        die $out if $?;
    }

    $t->start_all;
}


sub in_the_situation {
    my ($name, $patience) = @_;
    $p = Trifecta::Test::Promises->new($t, patience => $patience);
    unlink glob "$t->{dir}/log/sidecar*.log";

    my @broken = eval { $situation{$name}[1]->() };
    push @broken, "the situation does not come about: $@" if $@;

    $_->kill for grep { defined } map { $t->proc('sidecar', $_) } 0, 1;
    return @broken;
}


if (my $share = $ENV{TF_MUTATIONS}) {
    my ($kind, @names) = split / /, $share;

    stack($kind) if $kind eq 'sound';

    for my $name (@names) {
        my $began = time;
        stack($name) if $kind eq 'mutant';

        my @broken = in_the_situation($name, $kind eq 'sound' ? 1 : 0.4);

        if ($kind eq 'sound') {
            is_deeply \@broken, [], "the sound program passes it: $name";
        } else {
            ok((grep { /$situation{$name}[0]/ } @broken),
               "the suite catches: $name") or diag join "\n", @broken;
        }
        diag sprintf '%s %s %.1f s', $kind, $name, time - $began
            if $ENV{TF_TIMES};
    }

    done_testing;
    exit;
}


my @names = map { s{.*/}{}r } sort glob "$root/t/fault/mutations/*";
is_deeply \@names, [sort keys %situation],
    'each mutation has its situation, each situation its mutation';

# build/test is there, so each is one to three files and a link

for my $name (@names) {
    my ($c) = grep { /^file: sidecar/ } split /\n/,
        Trifecta::Test->read_file("$root/t/fault/mutations/$name");
    my $target = "build/mutant-$name/" . ($c ? 'trifecta' : 'files');

    delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
    my $out = qx(make -s -C "$root" $target 2>&1);
    is $?, 0, "it can be made: $name" or diag $out;
}

my @mutants = ('', '', '');
for my $n (0 .. $#names) {
    $mutants[$n % 3] .= " $names[$n]";
}

Trifecta::Test::Stacks::run(TF_MUTATIONS => "sound @names",
                            map { "mutant$_" } @mutants);

done_testing;
