package Trifecta::Fault::Round;

# One round of a cell on a stack: load, the fault, healing, the end of all
# work, the check.
#
#   my $r = Trifecta::Fault::Round::run($stack, \%cell, $seed);
#
# A result has cell, seed, jobs, accepted, unknown, given_up, violations (a
# list), seconds, notes.
#
# A cell is a row of a table (t/fault/cells*.pl):
#
#   name        its name
#   what        what is done, for people
#   stack       the stack it needs (Trifecta::Fault::Stack); cells of the same
#               stack share one
#   inject      sub ($stack): does it; what it leaves broken is healed after
#   before, after   s of load before it (random, up to) and after the healing
#   load        changes to the load (Trifecta::Fault::Load)
#   mode        what the checker asks for (Trifecta::Fault::Check)
#   idle        s within which all work must have ended (40)
#   log         patterns of lines that are expected in the logs
#   quick       1: part of t/fault.t
#   supervised  1: a sidecar that ends is started again
#   check       sub ($stack, $seen): more that must hold, a list of what is
#               wrong

use strict;
use warnings;

use File::Path ();
use Time::HiRes qw(time);

use Trifecta::Fault::Check;
use Trifecta::Fault::Collect;
use Trifecta::Fault::Load;

# always expected: what a kill of nginx' workers leaves
my @LOG = (qr/worker process \d+ exited on signal 9/,
           qr/kill\(\d+, \d+\) failed \(3: No such process\)/);

# cells in which Redis is away, or not adopted, for a while
my $REDIS_AWAY = qr/redis|stores|all|power|rebuild|flush|memory/;


sub run {
    my ($stack, $cell, $seed) = @_;
    my $start = time;
    my $dir = "$stack->{t}{dir}/run/round";
    my $tag = sprintf 'k%x.%d', $seed % 2**31, ++$stack->{rounds};
    my %mode = (redis_away => scalar($cell->{name} =~ $REDIS_AWAY),
                %{ $cell->{mode} || {} });

    File::Path::remove_tree($dir);
    mkdir $dir, 0700 or die "$dir: $!\n";

    $stack->begin_round($seed);
    $stack->{supervised} = $cell->{supervised};

    my $sampler = Trifecta::Fault::Collect::sampler($stack, "$dir/sampled");
    my $load = Trifecta::Fault::Load->start(port => $stack->{http},
        seed => $seed, tag => $tag, file => "$dir/history",
        users => $stack->{users}, %{ $cell->{load} || {} });

    my @wrong;
    my $ok = eval {
        $stack->rest($stack->rand(0.5, $cell->{before} // 1.5));
        $cell->{inject}->($stack);
        push @wrong, map { { inv => 'alive', what => $_ } } $stack->ended;
        $stack->heal;
        $stack->rest($cell->{after} // 0.7);
        1;
    };
    my $error = $@;

    $load->stop;
    push @wrong, { inv => 'round', what => $error } unless $ok;

    my $ops = Trifecta::Fault::Load::history("$dir/history");
    my @left = Trifecta::Fault::Collect::until_idle($stack,
                                                    $cell->{idle} // 40);
    $sampler->();

    push @wrong, map { { inv => 'alive', what => $_ } } $stack->ended;

    my $seen = Trifecta::Fault::Collect::seen($stack, $ops, "$dir/sampled",
        [@LOG, @{ $cell->{log} || [] }]);
    $seen->{left} = \@left;
    $mode{killed} = $stack->{killed} if $mode{reclaim};
    my ($bad, $count) = Trifecta::Fault::Check::check($seen, \%mode);
    push @wrong, @$bad;
    push @wrong, map { { inv => 'cell', what => $_ } }
        $cell->{check}->($stack, $seen) if $cell->{check};

    return { cell => $cell->{name}, seed => $seed, %$count,
             violations => \@wrong, seconds => time - $start,
             notes => $stack->{notes} || [] };
}

1;
