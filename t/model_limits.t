# A model is asked no more than it is allowed to be: requests at once, requests
# and tokens a minute.  Who finds no room waits a little, then a fallback
# answers, or the job comes again at its time; no job is lost or failed by it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0,
    sidecar => { threads => 12, lease => '3s', heartbeat => '500ms' });
my $busy = $t->dir . '/busy';

# It answers slowly and says how many it did at once.

sub at_once {
    my ($c) = @_;
    my $name = $c->{json}{model};
    my $all = sub { my @f = glob "$busy/$name.*"; scalar @f };
    $t->write_file("$busy/$name.$$", '');
    sleep 0.5;
    my $n = $all->();
    sleep 0.2;
    unlink "$busy/$name.$$";
    return $c->sse("there were $n");
}

mkdir $busy or die $!;

my $fast = sub { $_[0]->sse('fast') };
my $server = Trifecta::Test::ModelServer->new($t,
    two => \&at_once, one => \&at_once, free => \&at_once, spare => $fast,
    stuck => sub { sleep 30 }, stuck_falls => sub { sleep 30 },
    rpm => $fast, tpm => $fast, tpm_big => $fast, rpm_falls => $fast,
    keys => sub { my ($c) = @_;
        $c->{headers}{authorization} eq 'Bearer key-two' ? $c->sse('two')
            : $c->answer(401, {}) },
    vectors => sub {
        my ($c) = @_;
        my $i = 0;
        $c->answer(200, { data => [map { { index => $i++,
            embedding => [1, length] } } @{ $c->{json}{input} }],
            usage => { prompt_tokens => 500, total_tokens => 500 } });
    },
);

my $keys = $t->dir . '/keys';
$t->write_file($keys, "key-one\nkey-two\n", 0600);

my $wait = 15 * $t->slow;         # at most a minute
my %more = (
    two => "parallel_requests = 2\nlimit_wait = ${wait}s",
    one => "parallel_requests = 1\nlimit_wait = 0",
    stuck => "parallel_requests = 1\nlimit_wait = 60s",
    stuck_falls => "parallel_requests = 1\nlimit_wait = 100ms\n"
        . 'fallback = spare',
    rpm => 'requests_per_minute = 3',
    rpm_falls => "requests_per_minute = 1\nfallback = spare",
    tpm => "tokens_per_minute = 1000\nmax_output = 600",
    tpm_big => "tokens_per_minute = 100\nmax_output = 600",
    keys => "requests_per_minute = 2\nkey_file = $keys",
);
my @names = (sort keys %more, 'free', 'spare');

my $models = $t->dir . '/models.conf';
$t->write_file($models, join('', map { <<"END" } @names) . <<"END");
[$_]
provider = openai
base_url = @{[$server->url]}/v1
retrieval = off
cache = 0
@{[$more{$_} // '']}
END
[vectors]
provider = openai
kind = embedding
dimensions = 2
base_url = @{[$server->url]}/v1
tokens_per_minute = 80
END

$t->{opt}{sidecar}{models} = $models;
$t->{opt}{models} = "@names";
$t->write_conf;
$t->start_all;

my $n = 0;
sub ask { return $t->ask("question " . $n++, model => $_[0]) }
sub end_of { return $t->wait_for_answer($_[0], timeout => 60 * $t->slow) }
sub asked { return scalar(my @all = $server->requests($_[0])) }
sub field { return $t->redis('HGET', "{trifecta:0}:j:$_[0]", $_[1]) // '' }

sub delayed {
    my ($id, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = $t->wait_for(sub { field($id, 'sub') eq 'delayed' },
                          20 * $t->slow);
    ok($ok, $name);
    is($t->result($id)->{json}{status}, 'queued', '... it is queued');
    return (field($id, 'run_at') - 1000 * time) / 1000;
}


# requests at once

my @jobs = map { ask('two') } 1 .. 5;
my @said = map { end_of($_)->{response} // 'failed' } @jobs;
is_deeply([grep { !/^there were [12]$/ } @said], [],
    'no_more_requests_at_once_than_allowed') or diag "@said";
ok((grep { /2$/ } @said), 'and no fewer');
is_deeply([map { field($_, 'fails') } @jobs], [(0) x 5],
    'who waited in his thread did not fail');

@jobs = map { ask('one') } 1 .. 7;
@said = map { end_of($_)->{response} // 'failed' } @jobs;
is_deeply(\@said, [('there were 1') x 7],
    'more_than_five_times_out_of_room_is_no_failure');
is(asked('one'), 7, 'each was asked once');
is_deeply([map { field($_, 'fails') } @jobs], [(0) x 7], 'none has failed');


# a limit of one model is not one of another

my $stuck = ask('stuck');
$t->wait_for(sub { asked('stuck') == 1 }, 10 * $t->slow);
my @behind = map { ask('stuck') } 1 .. 30;
my $began = time;
like(end_of(ask('free'))->{response}, qr/^there were/,
    'those_who_wait_for_one_model_do_not_keep_others_waiting');
cmp_ok(time - $began, '<', 5 * 2 * $t->slow, 'for long');
sleep 3;
is(asked('stuck'), 1, 'the_stuck_one_is_not_asked_meanwhile');
my $attempts = $t->sql('admin', "SELECT sum(attempt) FROM trifecta.job "
    . "WHERE model = 'stuck'")->[0][0];
cmp_ok($attempts, '<', 31 * 8, 'nobody_spins') or diag $attempts;
$t->request('POST', "/api/v1/query/$_/cancel") for $stuck, @behind;
is_deeply([grep { $_ ne 'cancelled' } map { end_of($_)->{status} } @behind],
    [], 'who_waits_can_be_cancelled');


# a fallback

$stuck = ask('stuck_falls');
$t->wait_for(sub { asked('stuck_falls') == 1 }, 10 * $t->slow);
my $end = end_of(ask('stuck_falls'));
is($end->{response}, 'fast', 'a_fallback_answers_when_there_is_no_room');
is($end->{usage}{model}, 'spare', 'usage says so');
$t->request('POST', "/api/v1/query/$stuck/cancel");


# requests a minute

is_deeply([map { end_of($_)->{response} } map { ask('rpm') } 1 .. 3],
    [('fast') x 3], 'as many requests a minute as allowed');
my $later = ask('rpm');
my $due = delayed($later, 'one_more_comes_later');
cmp_ok($due, '>', 40 - 5 * $t->slow, 'when the minute is over');
cmp_ok($due, '<', 91, 'and not much later');
is(field($later, 'fails'), 0, 'it_did_not_fail');
is(asked('rpm'), 3, 'the server was not asked');

is(end_of(ask('rpm_falls'))->{usage}{model}, 'rpm_falls', 'one a minute');
is(end_of(ask('rpm_falls'))->{usage}{model}, 'spare',
    'the next is answered by a fallback at once');

is(end_of(ask('keys'))->{response}, 'two', 'two keys were tried');
delayed(ask('keys'), 'each_key_that_is_tried_is_a_request');


# tokens a minute: 600 and the prompt are the guess, 16 is what it takes

is_deeply([map { end_of(ask('tpm'))->{response} } 1 .. 5], [('fast') x 5],
    'tokens_that_were_not_taken_are_given_back');
is(end_of(ask('tpm_big'))->{response}, 'fast',
    'a_request_larger_than_the_limit_is_made_alone');
delayed(ask('tpm_big'), 'the_next_one_waits_for_its_minute');


# vectors: what was made before the limit is kept

my $dir = $t->dir . '/docs';
mkdir $dir or die $!;
$t->write_file("$dir/$_.md", "# Number $_\n\nA walrus of the number $_ "
    . ('goes on ' x 8) . "\n")
    for 1 .. 3;
is(($t->run('ingest', $dir))[0], 0, 'ingested');
is(($t->run('embed', 'create', '--jobs', 1, '--model', 'vectors'))[0], 0, 'a set');
my $vectors = sub { $t->sql('admin',
    'SELECT count(*) FROM trifecta.embedding')->[0][0] };
$t->wait_for(sub { $vectors->() >= 2 }, 20 * $t->slow);
cmp_ok($vectors->(), '>=', 2,
    'an_embed_job_keeps_what_it_has_when_there_is_no_room');

# on a slow machine the minute may be over already

my @batches = map { scalar @{ $_->{json}{input} } }
              $server->requests('vectors');
like("@batches", qr/^2( 1)?$/,
    'no_batch_is_larger_than_the_tokens_of_a_minute');


# and they come

my $seen = 100 * $t->slow;
is($t->wait_for_answer($later, timeout => $seen)->{response}, 'fast',
    'the_job_that_was_put_off_is_answered_at_its_time');
$t->wait_for(sub { $vectors->() == 3 }, $seen);
is($vectors->(), 3, 'and the rest is embedded');
is(asked('rpm'), 4, 'each was asked once');


# what the limits did is counted

my $metrics = $t->metrics(0);
my $limited = sub { $metrics->{qq(trifecta_model_limited_total{model="$_[0]",)
    . qq(outcome="$_[1]"})} };
cmp_ok($limited->('two', 'waited'), '>=', 1,
    'requests_that_waited_for_a_place_are_counted');
cmp_ok($limited->('one', 'refused'), '>=', 1, 'and those that were refused');
is($limited->('one', 'waited'), 0, 'who may not wait did not');
is($limited->('rpm_falls', 'refused'), 1, 'also if a fallback answered');
is($limited->('free', 'waited'), undef, 'a model without limits has none');
is_deeply([grep { /limited/ && /key-|http/ } keys %$metrics], [],
    'names are all that is said');


# files that are wrong

sub refused {
    my ($text, $why) = @_;
    my $file = $t->dir . '/wrong.conf';
    $t->write_file($file, "[a]\n$text");
    my ($rc, undef, $err) = $t->run({ env => { TRIFECTA_MODELS => $file } },
                                    'models');
    is($rc, 1, 'refused: ' . $text =~ s/\n/, /gr);
    like($err, $why, 'and says why');
}

my $chat = "provider = openai\nbase_url = http://x\n";
refused("requests_per_minute = 5\n", qr/only models behind a server have lim/);
refused("${chat}tokens_per_minute = 2000000000000\n", qr/larger than any serv/);
refused("${chat}parallel_requests = -1\n", qr/a number is expected/);
refused("${chat}limit_wait = 2m\n", qr/limit_wait must be a minute at most/);

$server->stop;
$t->finish;
done_testing;
