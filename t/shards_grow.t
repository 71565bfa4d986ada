# An Idempotency-Key follows its tenant when the list of shards gets longer: a
# question that is sent again with it is not asked a second time, whichever
# server has the first job.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my @tenants = map { "t$_" } 0 .. 23;
my $t = Trifecta::Test->new(sidecars => 0, start => 0,
    shards => ['redis', 'redis1', 'redis'], models => 'extractive test',
    tenants => join(',', @tenants), sidecar => { threads => 8, lease => '2s',
        heartbeat => '400ms', reconcile => '1s', drain_timeout => '1s' });
my @urls = $t->redis_urls;

sub shards {
    my ($n) = @_;
    $t->{opt}{redis_urls} = [@urls[0 .. $n - 1]];
    $t->write_conf;
}

sub crc16 {
    my ($crc) = 0;
    for my $octet (unpack 'C*', $_[0]) {
        $crc ^= $octet << 8;
        $crc = ($crc & 0x8000 ? $crc << 1 ^ 0x1021 : $crc << 1) & 0xffff
            for 1 .. 8;
    }
    return $crc;
}

# A tenant whose shards are these when the list has 1, 2 and 3 servers.

sub tenant_of {
    my (@of) = @_;
    return (grep { my $crc = crc16($_); $crc % 2 == $of[0]
                   && $crc % 3 == $of[1] } @tenants)[0]
        // die "no tenant for @of";
}

sub ask {
    my ($tenant, $key, $script) = @_;
    return $t->post('/api/v1/query', { query => $script, model => 'test' },
        token => $t->token(tenant => $tenant),
        headers => { 'Idempotency-Key' => $key });
}

sub id_of { my $res = ask(@_); return $res->{json}{query_id} // $res->{content} }

sub shard_in { hex(substr $_[0], 15, 2) }

sub ended {
    my ($tenant, $id) = @_;
    return $t->wait_for(sub { ($t->get("/api/v1/query/$id",
        token => $t->token(tenant => $tenant))->{json}{status} // '')
        eq 'succeeded' }, 20 * $t->slow);
}

sub noted { ($t->redis_at($t->server_of($_[0]), 'HGET', "{trifecta:$_[0]}:meta",
                         'shards') // '') =~ /^(\d+) (\d+) (\d+)$/ }

# As the manual says, less the reload of nginx.

sub grow {
    my ($n) = @_;
    shards($n);
    my ($status, $out, $err) = $t->run('migrate');
    is $status, 0, "the list has $n servers" or diag "$out$err";
    $t->stop('sidecar', 0);
    $t->start('sidecar', 0);
    ok $t->wait_for(sub { $n == grep { ((noted($_))[0] // 0) == $n }
                          0 .. $n - 1 }, 20 * $t->slow),
        'and each of them knows that';
}

# nginx has the new list, and none of its workers the old one.

sub reload {
    my @old = $t->reload;
    ok $t->wait_for(sub { !grep { kill 0, $_ } @old }, 20 * $t->slow),
        'nginx has it, too';
}

# Rounds of the reconciler on all shards, since now.

sub a_round {
    my ($n) = @_;
    my @last = map { (noted($_))[2] } 0 .. $n - 1;
    return $t->wait_for(sub { $n == grep { (noted($_))[2] > $last[$_] }
                              0 .. $n - 1 }, 20 * $t->slow);
}


# One server, then two

shards(1);
$t->start_all;
$t->start('sidecar', 0);

my $moves = tenant_of(1, 1);
my $stays = tenant_of(0, 0);

my %first = map { $_ => id_of($_, 'ended', 'say=one') } $moves, $stays;
my $open = id_of($moves, 'open', 'sleep=8000 say=two');
ok ended($_, $first{$_}), 'a job has ended' for $moves, $stays;

grow(2);
my $late = id_of($moves, 'late', 'say=late');
is shard_in($late), 0, 'an nginx that has not heard of it accepts on the old one';
ok ended($moves, $late), 'which is run';
ok a_round(2), 'the keys are gathered again and again';
reload();

is shard_in(id_of($moves, 'new', 'say=new')), 1, 'a new job is on the new one';
is id_of($moves, 'ended', 'say=one'), $first{$moves},
    'the_key_of_a_job_that_has_ended_follows_its_tenant_to_a_new_shard';
is id_of($moves, 'open', 'sleep=8000 say=two'), $open,
    'and_the_key_of_one_that_is_open';
is id_of($moves, 'late', 'say=late'), $late,
    'and_the_key_of_one_that_was_accepted_on_the_old_shard_after_that';
is ask($moves, 'ended', 'say=other')->{status}, 422,
    'another question with such a key is refused as ever';
is id_of($stays, 'ended', 'say=one'), $first{$stays},
    'a tenant that stays has its keys';
ok ended($moves, $open), 'the open job ends where it is';
like $t->log_of('sidecar', 0), qr/shard 1: 1 idempotency keys followed their/,
    'the log says that keys came later';


# The new server loses everything

$t->redis_at('redis1', 'FLUSHALL');
my $n = 0;
ok $t->wait_for(sub { my $id = id_of($moves, 'try' . $n++, 'say=try');
    $id =~ /^[\w-]+$/ && shard_in($id) == 1 }, 30 * $t->slow),
    'a shard is rebuilt';
is id_of($moves, 'late', 'say=late'), $late,
    'a_rebuild_brings_a_key_that_followed_its_tenant_back';


# Three servers: tenants move between those that were there, too

my $back = tenant_of(1, 0);
my $over = tenant_of(0, 1);
%first = map { $_ => id_of($_, 'third', 'say=three') } $back, $over;
is shard_in($first{$back}), 1, 'one is in shard 1';
is shard_in($first{$over}), 0, 'one in shard 0';
ok ended($_, $first{$_}), 'a job has ended' for $back, $over;

grow(3);
reload();
is shard_in(id_of($back, 'other', 'say=x')), 0, 'their tenants have changed';
is shard_in(id_of($over, 'other', 'say=x')), 1, 'places';
is id_of($_, 'third', 'say=three'), $first{$_},
    'a_key_follows_its_tenant_from_one_old_shard_to_another' for $back, $over;


# A sidecar that was forgotten does not undo it

my @note = noted(0);
shards(2);
$t->start('sidecar', 1);
ok $t->wait_for(sub { $t->sidecar_get(1, '/readyz')->{status} == 200 }, 20),
    'a sidecar has the shorter list';
sleep 2.5;
is((noted(0))[0], 3, 'a_shorter_list_does_not_count_at_once');
is((noted(0))[1], $note[1], 'and nothing was gathered for it');

$t->finish;
done_testing;
