# The end of a job is told to its client's server: once it is taken, until it
# is, by whoever is there, signed, and never inside.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use FindBin;
use lib "$FindBin::Bin/lib";
use MIME::Base64 qw(decode_base64 encode_base64);
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::Receiver;

my $t = Trifecta::Test->new(start => 0, trifecta => {
    trifecta_webhooks => 'on' });
my $key = $t->dir . '/secrets/webhook.key';
my @keys = map { unpack 'H*', pack 'N4', map { int rand 2**32 } 1 .. 4 } 1 .. 2;

$t->write_file($key, "$keys[0]\n", 0600);
$t->{opt}{sidecar} = {
    webhook_key_file => $key, webhook_ca => $t->{ca},
    webhook_networks => '127.0.0.0/8', webhook_timeout => '1s',
    webhook_wait => '50ms', threads => 4, reconcile => '60s',
};
$t->write_conf;
$t->start_all;

my $r = Trifecta::Test::Receiver->new($t,
    twice   => sub { $_[0]->answer($_[0]{count} < 3 ? 500 : 200, 'ok') },
    gone    => sub { $_[0]->answer(410, '') },
    refuses => sub { $_[0]->answer($_[0]{count} < 2 ? 400 : 200, '') },
    later   => sub { $_[0]->answer(503, '', 'Retry-After' => 2)
                         if $_[0]{count} == 1;
                     $_[0]->answer(200, '') if $_[0]{count} > 1 },
    moved   => sub { my ($c) = @_;
                     $c->answer(302, '', Location => 'https://localhost:'
                                . $c->{sock}->sockport . '/redirected')
                         if $c->{count} == 1;
                     $c->answer(200, '') if $c->{count} > 1 },
    slow    => sub { sleep 30 if $_[0]{count} == 1; $_[0]->answer(200, '') },
    drips   => sub { my ($c) = @_;
                     if ($c->{count} == 1) {
                         $c->put("HTTP/1.1 200 OK\r\n");
                         $c->put("X: y\r\n") && sleep 0.2 for 1 .. 200;
                     }
                     $c->answer(200, '') },
    huge    => sub { my ($c) = @_;
                     $c->put("HTTP/1.1 200 OK\r\n\r\n");
                     for (1 .. 1000) { $c->put('x' x 65536) or last } },
    closes  => sub { my ($c) = @_;
                     $c->answer(200, '') if $c->{count} > 1 },
    garbage => sub { my ($c) = @_;
                     $c->put("\0\0 no HTTP\r\n\r\n") if $c->{count} == 1;
                     $c->answer(200, '') if $c->{count} > 1 },
    crash   => sub { sleep 30 if $_[0]{count} == 1; $_[0]->answer(200, '') },
    never   => sub { $_[0]->answer(500, 'secret of the receiver') });


# A job with a URL: its id and its answer.

sub ask {
    my ($query, $url, %body) = @_;
    return $t->ask($query, body => { webhook_url => $url, model => 'test',
                                     %body });
}


sub came {
    my ($name, $n, $seconds) = @_;
    $t->wait_for(sub { ($r->requests($name)) >= $n },
                 ($seconds || 10) * $t->slow);
    return $r->requests($name);
}


# The row of the delivery of a job: state, code of its error, its usage.

sub delivery {
    my ($id) = @_;
    my $rows = $t->sql('admin', "SELECT state, error->>'code', usage->>'tries',"
        . ' id, error->>\'message\' FROM trifecta.job'
        . ' WHERE id = trifecta.webhook_of($1)', $id);
    return @$rows ? @{ $rows->[0] } : ();
}


sub ended {
    my ($id, $seconds) = @_;
    $t->wait_for(sub { ((delivery($id))[0] // 'queued') !~ /queued|running/ },
                 ($seconds || 10) * $t->slow);
    return delivery($id);
}


# The signatures of a request, by the standard, with nothing of ours.

sub signed {
    my ($req, @secrets) = @_;
    my $h = $req->{headers};
    my $text = "$h->{'webhook-id'}.$h->{'webhook-timestamp'}.$req->{body}";

    return join ' ', map { 'v1,' . encode_base64(hmac_sha256($text,
        decode_base64(s/^whsec_//r)), '') } @secrets;
}


sub secrets {
    my ($status, $out) = $t->run('webhook', 'secret', @_);
    is($status, 0, 'webhook secret');
    return split /\n/, $out;
}


# One that is taken

my ($secret) = secrets();
like($secret, qr{^whsec_[A-Za-z0-9+/]{43}=$}, 'a secret as the standard has it');
isnt((secrets('--tenant', 'acme'))[0], $secret, 'each tenant has its own');

my $id = ask('say=hello webhook', $r->url('ok?token=canary-in-url'),
             metadata => { order => '17', "\x{fc}" => "\x{20ac}" });
my ($req) = came('ok', 1);
my $get = $t->result($id);
my ($row) = ended($id);

is($row, 'succeeded', 'its delivery has succeeded');
is($req->{method}, 'POST', 'a POST');
is($req->{path}, '/ok?token=canary-in-url', 'of the whole URL');
is($req->{headers}{'content-type'}, 'application/json', 'of JSON');
is($req->{headers}{'webhook-id'}, 'msg_' . ($id =~ tr/-//dr), 'its id');
cmp_ok(abs($req->{headers}{'webhook-timestamp'} - $req->{time}), '<', 5,
       'its time');
is($req->{headers}{'webhook-signature'}, signed($req, $secret),
   'its signature');
ok(!grep({ /auth|cookie/ } keys %{ $req->{headers} }), 'no credential');
is($req->{json}{type}, 'job.succeeded', 'its type');
is($req->{json}{timestamp}, $get->{json}{completed_at}, 'when it ended');
is_deeply($req->{json}{data}, $get->{json}, 'its data is what a GET answers');
is_deeply($get->{json}{metadata}, { order => '17', "\x{fc}" => "\x{20ac}" },
          'the metadata come back');
sleep 1;
is(scalar(() = $r->requests('ok')), 1, 'it is told once');
is($t->get('/api/v1/query/' . (delivery($id))[3])->{status}, 404,
   'the delivery is no job of its owner\'s');
is(scalar(grep { $_->{query_id} ne $id }
          @{ $t->get('/api/v1/queries')->{json}{data} }), 0,
   'nor is it among them');


# Every end is told

ask('fail=1 say=oops', $r->url('failed'));
($req) = came('failed', 1);
is($req->{json}{type}, 'job.failed', 'a failure');
is($req->{json}{data}{error}{code}, 'internal_error', 'with its error')
    or diag explain $req->{json};
ok(!defined $req->{json}{data}{response}, 'and no answer');

$id = ask('sleep=60000 say=never', $r->url('cancelled'));
$t->wait_for(sub { $t->result($id)->{json}{status} eq 'running' }, 10);
$t->post("/api/v1/query/$id/cancel", {});
($req) = came('cancelled', 1);
is($req->{json}{type}, 'job.cancelled', 'a cancel');

# the queue itself ends what waits: the threads are busy, then it is cancelled,
# before and after the ledger has heard of the job

my @busy = map { $t->ask("sleep=60000 say=busy$_", body => { model => 'test' }) }
    1 .. 4;
$t->wait_for(sub { !grep { $t->result($_)->{json}{status} ne 'running' } @busy },
             10);

for my $how (qw(at_once later)) {
    $id = ask("say=$how", $r->url("waiting_$how"), metadata => { n => $how });
    $t->wait_for(sub { @{ $t->sql('admin', 'SELECT 1 FROM trifecta.job'
                                  . ' WHERE id = $1', $id) } }, 10)
        if $how eq 'later';
    $t->post("/api/v1/query/$id/cancel", {});
    $t->wait_for(sub { (delivery($id))[0] }, 10);
    is((delivery($id))[0], 'queued', "cancelled while it waits, $how:"
       . ' its delivery is there');
    ok($t->wait_for(sub { $t->redis('EXISTS', "{trifecta:0}:j:"
                                    . (delivery($id))[3]) }, 2 * $t->slow),
       '... and Redis knows of it at once');
}

$t->post("/api/v1/query/$_/cancel", {}) for @busy;

for my $how (qw(at_once later)) {
    ($req) = came("waiting_$how", 1, 20);
    is($req->{json}{type}, 'job.cancelled', 'it is told');
    is($req->{json}{data}{metadata}{n}, $how, '... with its metadata');
}

# dead: whoever runs it dies

$id = ask('kill=9 say=poison', $r->url('dead'));
$t->wait_for(sub {
    $t->start('sidecar', 0) if !$t->proc('sidecar', 0)->alive;
    $t->result($id)->{json}{status} eq 'dead' }, 60 * $t->slow);
($req) = came('dead', 1, 30);
is($req->{json}{type}, 'job.dead', 'a job that kills its workers');


# Those that do not take it at once

for my $case ([twice => 3, '500'], [refuses => 2, '400'],
              [moved => 2, 'a redirect'], [slow => 2, 'silence'],
              [drips => 2, 'a slow head'], [closes => 2, 'a closed connection'],
              [garbage => 2, 'no HTTP'])
{
    my ($name, $n, $what) = @$case;
    $id = ask("say=$name", $r->url($name));
    my @came = came($name, $n, 20);
    is(scalar @came, $n, "tried again after $what");
    is((ended($id))[0], 'succeeded', '... until it is taken');
    is((delivery($id))[2], $n, '... and its tries are counted');
    my %ids = map { $_->{headers}{'webhook-id'} => 1 } @came;
    is(scalar keys %ids, 1, '... with one id');
    is($came[-1]{headers}{'webhook-signature'}, signed($came[-1], $secret),
       '... and a signature of its own time');
}

is(scalar(() = $r->requests('redirected')), 0, 'no redirect was followed');

$id = ask('say=later', $r->url('later'));
my @came = came('later', 2, 20);
cmp_ok($came[1]{time} - $came[0]{time}, '>', 1.9, 'Retry-After is honoured');

$id = ask('say=huge', $r->url('huge'));
came('huge', 1);
is((ended($id))[0], 'succeeded', 'a huge answer is not read, and does no harm');

$id = ask('say=gone', $r->url('gone'));
came('gone', 1);
is((ended($id))[1], 'webhook_gone', '410 ends it');
sleep 0.5;
is(scalar(() = $r->requests('gone')), 1, '... at once');


# Nothing is told of what its owner has deleted

$id = ask('say=never', $r->url('never'));
came('never', 1);
is($t->request('DELETE', "/api/v1/query/$id")->{status}, 200, 'deleted');
is((ended($id))[1], 'webhook_unwanted', 'its delivery has stopped');
my $n = () = $r->requests('never');
sleep 1;
is(scalar(() = $r->requests('never')), $n, '... for good');


# Both keys sign while they rotate, without a restart

$t->write_file($key, "$keys[1]\n$keys[0]\n", 0600);
my @both = secrets();
is(scalar @both, 2, 'two keys, two secrets');
is($both[1], $secret, '... the old one the same as before');
ask('say=rotated', $r->url('rotated'));
($req) = came('rotated', 1);
is($req->{headers}{'webhook-signature'}, signed($req, @both),
   'a signature by each');


# Whoever dies while it delivers, another one delivers

$id = ask('say=crash', $r->url('crash'));
came('crash', 1);
$t->kill('sidecar', 0);
$t->start('sidecar', 0);
is((ended($id, 20))[0], 'succeeded', 'a sidecar died: another try');
my @two = $r->requests('crash');
is(scalar @two, 2, '... which is the second');
is($two[0]{headers}{'webhook-id'}, $two[1]{headers}{'webhook-id'},
   '... of one message');

# or dies when the end is stored, and Redis was not told

$t->stop('sidecar', 0);
$t->{opt}{proc_env}{sidecar}{TRIFECTA_FAULT} = 'complete.committed';
$t->start('sidecar', 0);
$id = ask('say=born', $r->url('born'));
$t->wait_for(sub { !$t->proc('sidecar', 0)->alive }, 10 * $t->slow);
is((delivery($id))[0], 'queued', 'a sidecar died behind the commit: the end'
   . ' has its delivery');
delete $t->{opt}{proc_env}{sidecar};
$t->start('sidecar', 0);
($req) = came('born', 1, 30);
is($req->{json}{type}, 'job.succeeded', '... which is made');
is((ended($id))[0], 'succeeded', '... and ends');
is(scalar(() = $r->requests('born')), 1, '... once');

# An end that Redis never heard of

$id = ask('sleep=1500 say=away', $r->url('away'));
$t->wait_for(sub { $t->result($id)->{json}{status} eq 'running' }, 10);
$t->kill('redis');
$t->wait_for(sub {
    my $rows = $t->sql('admin', 'SELECT state FROM trifecta.job WHERE id = $1',
                       $id);
    @$rows && $rows->[0][0] eq 'succeeded' }, 10);
is((delivery($id))[0], 'queued', 'the end is stored with its delivery');
$t->start('redis');
($req) = came('away', 1, 30);
is($req->{json}{type}, 'job.succeeded', 'told when Redis is back');


# What can be seen of it

my $m = $t->metrics(0);
cmp_ok($m->{trifecta_webhook_delivered_total} // 0, '>=', 1, 'metrics');
my $log = join '', map { $t->log_of($_) // '' } qw(sidecar0 error);
unlike($log, qr/canary-in-url|whsec_|\Q$keys[0]\E|secret of the receiver/,
       'no secret, URL or answer in a log');
my ($status, $out) = $t->run('jobs', 'show', $id);
my $delivery = (delivery($id))[3];
like($out, qr/^ *webhook +\Q$delivery\E$/m, 'jobs show names the delivery');
($status, $out) = $t->run('jobs', 'show', $delivery);
like($out, qr/^ *kind +webhook$/m, '... and shows it');
like($out, qr/"tries": ?1/, '... with its tries');

# Standard Webhooks' own example, so that the signatures are compared with it

is(signed({ headers => { 'webhook-id' => 'msg_p5jXN8AQM9LWM0D4loKWxJek',
                         'webhook-timestamp' => '1614265330' },
            body => '{"test": 2432232314}' },
          'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'),
   'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
   'the signature that is compared with is the standard\'s');

$t->finish;
done_testing;
