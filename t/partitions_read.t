# What a sidecar does for a job costs the same however many days are kept, and
# however many jobs a day has: the partitions of other days are not looked
# into, and in its own a job is found by its id, also when the plans for that
# were made while nothing was there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecar => { threads => 4, reconcile => '1h' });

# how often a job was looked for by its id: today (or tomorrow, should it be
# midnight), and in the partitions of the days after that

sub looks {
    my ($which) = @_;
    return $t->sql('admin', <<"END")->[0][0];
        SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes
        WHERE schemaname = 'trifecta' AND indexrelname ~ '^job_[0-9]+_pkey\$'
        AND (substr(relname, 5)::date
             > (now() AT TIME ZONE 'UTC')::date + 1) = $which
END
}

# rows of today's jobs that were read from any other index

sub wandered {
    return $t->sql('admin', <<"END")->[0][0];
        SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes
        WHERE schemaname = 'trifecta' AND relname ~ '^job_[0-9]+\$'
        AND indexrelname !~ '_pkey\$'
END
}

# a server counts what it has done when it has nothing to do, or a second later
sub settled {
    my $last = -1;
    $t->wait_for(sub {
        my $now = looks('false') + looks('true');
        my $same = $now == $last;
        $last = $now;
        sleep 2 if !$same;
        return $same;
    }, 60);
}

# by SQL: a GET reads rows, too
sub ended {
    my ($n) = @_;
    return $t->wait_for(sub { $t->sql('admin', 'SELECT count(*) FROM '
        . "trifecta.job WHERE state = 'succeeded'")->[0][0] == $n }, 30);
}

$t->ask("say=$_", model => 'test') for 1 .. 3;
ended(3);
settled();
my ($before, $others) = (looks('false'), looks('true'));
my $wandered = wandered();

$t->ask("say=$_", model => 'test') for 1 .. 20;
ok(ended(23), 'jobs are begun and completed');
settled();

cmp_ok(looks('false'), '>', $before, 'they were looked for in their day');
is(looks('true'), $others, 'no_other_day_is_looked_into');
is(wandered(), $wandered, 'a_job_is_found_by_its_id_and_by_nothing_else');

$t->finish;
done_testing;
