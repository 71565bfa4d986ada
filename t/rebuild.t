# A Redis that comes back empty, older or as another, and a PostgreSQL that
# was restored: what was accepted ends once, and nothing is accepted before
# the stores agree.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 2, sidecar => {
    threads => 4, lease => '2s', heartbeat => '400ms', reconcile => '1s' });
my $slow = $t->slow;
my $P = '{trifecta:0}';

sub test_job {
    my ($script, %o) = @_;
    my $res = $t->post('/api/v1/query',
        { query => $script, model => 'test' }, %o);
    is($res->{status}, 202, "accepted: $script") or diag $res->{content};
    return $res->{json}{query_id};
}

sub state_of { $t->result($_[0])->{json}{status} // '?' }

sub until_state {
    my ($id, $state, $seconds) = @_;
    return $t->wait_for(sub { state_of($id) eq $state },
        ($seconds // 20) * $slow);
}

sub meta { $t->redis('HGET', "$P:meta", $_[0]) }

sub identity {
    my ($info) = join '', map { $t->redis('INFO', $_) } qw(server replication);
    my ($run) = $info =~ /^run_id:(\w+)/m;
    my ($replid) = $info =~ /^master_replid:(\w+)/m;
    return "$run:$replid";
}

sub adopted { (eval { meta('server') } // '') eq identity() && !meta('rebuild') }

sub until_adopted {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok($t->wait_for(sub { eval { adopted() } }, 10 * $slow), $name);
}

sub rows { $t->sql('admin', 'SELECT count(*) FROM trifecta.job WHERE id = ?
    AND state = ?', @_)->[0][0] }

sub ended_once {
    my ($name, @ids) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @bad;

    for my $id (@ids) {
        my ($row) = @{ $t->sql('admin', 'SELECT state, attempt, '
            . '(SELECT count(*) FROM trifecta.job_result r '
            . 'WHERE r.job = j.id AND r.attempt = j.attempt) '
            . 'FROM trifecta.job j WHERE id = ?', $id) };
        push @bad, [$id, $row] if !$row || $row->[0] ne 'succeeded'
                                  || $row->[2] != 1;
    }

    return is_deeply(\@bad, [], $name);
}


# FLUSHALL under load

my $epoch = meta('epoch');
my @ids = map { test_job("sleep=300 say=n$_",
    headers => { 'Idempotency-Key' => "key-$_" }) } 1 .. 30;
ok($t->wait_for(sub { $t->sql('admin', 'SELECT count(*) FROM trifecta.job')
    ->[0][0] >= 30 }, 10), 'the ledger has them');
$t->redis('FLUSHALL');
until_adopted('an_emptied_redis_is_rebuilt_by_a_sidecar');
cmp_ok(meta('epoch'), '>', $epoch, 'with a new epoch');
ok(until_state($_, 'succeeded'), 'and ends') for @ids;
ended_once('FLUSHALL_under_load_every_job_ends_once', @ids);

$t->finish;
done_testing;
