# Something else writes to the keys of the queue: a key gets another type, a
# stream the last entry that it can have, a group is set beyond its entries.
# Each is found, said, and mended, and no accepted job is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $P = '{trifecta:0}';
my $t = Trifecta::Test->new(sidecars => 2, models => 'extractive test',
    sidecar => { threads => 4, lease => '2s', heartbeat => '400ms',
                 reconcile => '1s' });
my $slow = $t->slow;
my $LAST = '18446744073709551615-18446744073709551615';

sub ask {
    my ($script) = @_;
    return $t->post('/api/v1/query', { query => $script, model => 'test' },
                    headers => { 'Idempotency-Key' => $script =~ tr/ =/--/r });
}

sub ended {
    my (@ids) = @_;
    return $t->wait_for(sub { $t->sql('admin', 'SELECT count(*) FROM '
        . 'trifecta.job_result WHERE job = ANY(?::uuid[])',
        '{' . join(',', @ids) . '}')->[0][0] == @ids }, 40 * $slow);
}

sub mended {
    my $n = 0;
    $n += $t->sidecar_get($_, '/metrics')->{content}
        =~ /^trifecta_queue_mended_total\S* (\d+)/m ? $1 : 0 for 0, 1;
    return $n;
}

# What both have logged since.

my @seen = (0, 0);

sub logs {
    return join '', map { substr $t->log_of('sidecar', $_), $seen[$_] } 0, 1;
}

sub accepts {
    my ($what) = @_;
    my ($id, $n);
    $t->wait_for(sub { $id = ask("sleep=100 say=$what" . ++$n)->{json}{query_id} }, 20);
    return $id;
}

# Jobs that run, wait in the stream, in the park and for their time.

sub jobs {
    my ($what, $ms) = (@_, 300);
    return map { $_->{json}{query_id} // die $_->{content} }
           map { ask("sleep=$ms say=$what$_") } 1 .. 24;
}

sub spoilt {
    my ($what, $said, $spoil) = @_;
    my $before = mended();
    @seen = map { length $t->log_of('sidecar', $_) } 0, 1;

    my @ids = jobs($what);
    sleep 0.4;
    $spoil->();

    my $later = accepts($what);
    ok $later, "$what: jobs_are_accepted_after_that";
    ok $t->wait_for(sub { logs() =~ $said }, 20 * $slow),
        '  it_is_found_and_said' or diag logs();
    ok $t->wait_for(sub { mended() > $before }, 5), '  and counted';

    ok ended(grep { $_ } @ids, $later), '  and_no_accepted_job_is_lost'
        or diag explain $t->sql('admin', 'SELECT id, state, error FROM '
        . "trifecta.job WHERE state <> 'succeeded'");
}


# Another type

for my $key (qw(live acc r:1 meta wk dly dead)) {
    spoilt($key =~ tr/:/_/r, qr/the key \Q$P:$key\E had become a string, /,
           sub { $t->redis('SET', "$P:$key", 'a stranger') });
    is $t->redis('GET', $_), 'a stranger', '  what it held is kept'
        for @{ $t->redis('KEYS', "$P:aside:*:$key") };
}

for my $set (qw(park ready run live)) {
    spoilt("tenant_$set",
        qr/the key \Q$P:t:default:$set\E had become a hash, /,
        # at once: a job may come between two commands
        sub { $t->redis('EVAL', "redis.call('DEL', KEYS[1])"
            . " return redis.call('HSET', KEYS[1], 'a', 'b')", 1,
            "$P:t:default:$set") });
}

cmp_ok $t->redis('PTTL', $_), '>', 0, 'a key that was moved goes some day'
    for (@{ $t->redis('KEYS', "$P:aside:*") })[0];


# An Idempotency-Key that is no string any more

{
    my $id = ask('say=idem')->{json}{query_id};
    my ($key) = grep { index($t->redis('GET', $_) // '', $id) == 0 }
        @{ $t->redis('KEYS', "$P:idem:*") };
    ok ended($id), 'a job has a key';
    $t->redis('DEL', $key);
    $t->redis('SADD', $key, 'x');
    is ask('say=idem')->{status}, 202, 'one of another type stops no request';
}


# Streams and groups

spoilt('last_entry', qr/the stream \Q$P:r:1\E had got to the end of its ids/,
       sub { $t->redis('XADD', "$P:r:1", $LAST, 'id', 'x') });
spoilt('last_of_the_log', qr/the stream \Q$P:acc\E had got to the end/,
       sub { $t->redis('XADD', "$P:acc", $LAST, 'op', 'x') });
spoilt('group_ahead', qr/the group of the stream \Q$P:r:1\E had been set to 9/,
       sub { $t->redis('XGROUP', 'SETID', "$P:r:1", 'w',
                       '9999999999999-0') });

# The ledger does not read while it is done.  A read that it had begun before
# may hold the first entry: what comes behind it is found when that one is
# done, a second later, and until then the jobs must not have ended.

{
    $t->freeze('sidecar', $_) for 0, 1;
    my @ids = jobs('log_skipped', 2500);
    $t->redis('XGROUP', 'SETID', "$P:$_", $_ eq 'acc' ? 'l' : 'w', '$')
        for 'acc', 'r:1';
    $t->thaw('sidecar', $_) for 0, 1;
    ok $t->wait_for(sub {
        logs() =~ /the group of the stream \Q$P:acc\E had been set to/
    }, 20 * $slow), 'entries_that_a_group_has_skipped_are_found'
        or diag logs(), explain $t->redis('XINFO', 'GROUPS', "$P:acc");
    ok ended(@ids), 'and_no_job_of_theirs_is_lost';
}


$t->idle_holds('nothing is left');
$t->finish;
done_testing;
