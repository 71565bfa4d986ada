# Webhooks have bounds: where they go, how long they are tried, how many wait,
# and what they may cost the others.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;
use Trifecta::Test::Receiver;

my $t = Trifecta::Test->new(start => 0, trifecta => { trifecta_webhooks =>
    'localhost 127.0.0.1 *.Example.com' });
my $key = $t->dir . '/secrets/webhook.key';
my $cas = $t->dir . '/tls/cas.pem';

$t->write_file($key, 'k' x 64 . "\n", 0600);

# another certificate, of a name that is not the host's

my $other = $t->dir . '/tls/other';
system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
       . " -nodes -days 2 -subj /CN=other -addext subjectAltName=DNS:other"
       . " -keyout '$other.key' -out '$other.pem' 2>/dev/null") == 0
    or die "no certificate\n";
$t->write_file($cas, join '', map { $t->read_file($_) } $t->{ca},
               "$other.pem");

# what a sidecar is told besides; it starts anew with it

sub with {
    my (%keys) = @_;
    $t->stop('sidecar', 0) if $t->proc('sidecar', 0);
    $t->{opt}{sidecar} = { threads => 4, webhook_ca => $cas,
        webhook_key_file => $key, webhook_networks => '127.0.0.0/8 ::1',
        webhook_timeout => '2s', webhook_wait => '50ms', reconcile => '1s',
        %keys };
    $t->write_conf;
    $t->start('sidecar', 0) if $t->proc('sidecar', 0);
}

with();
$t->start_all;

my $r = Trifecta::Test::Receiver->new($t,
    never => sub { $_[0]->answer(500, '') },
    hangs => sub { sleep 30 });


sub ask {
    my ($query, $url, %body) = @_;
    return $t->ask($query, body => { webhook_url => $url, model => 'test',
                                     %body });
}

sub delivery {
    my ($id) = @_;
    my $rows = $t->sql('admin', "SELECT state, error->>'code', id,"
        . " error->>'message' FROM trifecta.job"
        . ' WHERE id = trifecta.webhook_of($1)', $id);
    return @$rows ? @{ $rows->[0] } : ();
}

sub ended {
    my ($id, $seconds) = @_;
    $t->wait_for(sub { ((delivery($id))[0] // 'queued') !~ /queued|running/ },
                 ($seconds || 10) * $t->slow);
    return delivery($id);
}

# What Redis has of the delivery: it has failed and waits for its next try.

sub waits {
    my ($id) = @_;
    return $t->wait_for(sub {
        my ($state, $fails) = @{ $t->redis('HMGET', '{trifecta:0}:j:'
            . ((delivery($id))[2] // ''), 'sub', 'fails') };
        ($state // '') eq 'delayed' && $fails }, 10 * $t->slow);
}

# All jobs of before are deleted, and with them their deliveries, so that they
# take nobody's place.

sub forget {
    my ($seconds) = @_;
    $t->request('DELETE', "/api/v1/query/$_->{query_id}")
        for @{ $t->get('/api/v1/queries?limit=100')->{json}{data} };
    return $t->wait_for(sub { !@{ $t->sql('admin', 'SELECT 1 FROM trifecta.job'
        . " WHERE kind = 'webhook' AND state IN ('queued', 'running')"
        . " AND tenant = 'default'") } }, ($seconds // 60) * $t->slow);
}

sub metric { $t->metrics(0)->{"trifecta_webhook_$_[0]_total"} }


# Which hosts may be named

for my $case (['https://localhost/', 202], ['https://LOCALHOST.:8443/x', 202],
              ['https://127.0.0.1/', 202], ['https://a.example.com/', 202],
              ['https://a.b.example.com/', 202],
              ['https://example.com/', 400], ['https://evilexample.com/', 400],
              ['https://localhost.evil.com/', 400], ['https://1.1.1.1/', 400],
              ['https://[::1]/', 400], ['https://127.0.0.2/', 400],
              ['http://localhost/', 400], ['https://u:p@localhost/', 400],
              ['https://localhost/#f', 400], ['', 400],
              ['https://localhost/' . 'x' x 2031, 400], [{}, 400])
{
    my ($url, $status) = @$case;
    my $res = $t->post('/api/v1/query', { query => 'say=x', model => 'extractive',
                                          webhook_url => $url });
    is($res->{status}, $status, 'a URL: ' . substr $url, 0, 40);
    is($res->{json}{error}{param}, 'webhook_url', '... is named')
        if $status == 400;
}

for my $case ([{ a => 'x' x 512 }, 202], [{ 'x' x 64, 'y' }, 202],
              [{ map { $_ => 'x' } 1 .. 16 }, 202], [{}, 202],
              [{ a => 'x' x 513 }, 400], [{ 'x' x 65, 'y' }, 400],
              [{ map { $_ => 'x' } 1 .. 17 }, 400], [{ a => 1 }, 400],
              [{ a => {} }, 400], [[], 400], ['a', 400])
{
    my ($metadata, $status) = @$case;
    is($t->post('/api/v1/query', { query => 'say=x', model => 'extractive',
                                   metadata => $metadata })->{status},
       $status, 'metadata: ' . substr JSON::PP->new->allow_nonref
           ->encode($metadata), 0, 30);
}


ok(forget(), 'what its owner deletes is told nowhere');


# Tried for a while, not for ever

with(webhook_for => '2s');
my $began = time;
my $id = ask('say=never', $r->url('never'));
my ($state, $code, $delivery) = ended($id, 20);

is($state, 'failed', 'what is never taken is given up');
is($code, 'webhook_failed', '... and says so');
cmp_ok(time - $began, '<', 10 * $t->slow, '... in time');
cmp_ok(scalar(() = $r->requests('never')), '>', 2, '... after some tries');
cmp_ok(metric('given_up'), '>=', 1, '... and is counted');

my $n = () = $r->requests('never');
my ($status, $out) = $t->run('jobs', 'retry', $delivery);
is($status, 0, 'an operator may try again');
ok($t->wait_for(sub { (() = $r->requests('never')) > $n }, 10 * $t->slow),
   '... and it is tried');
my @seen = $r->requests('never');
is($seen[-1]{headers}{'webhook-id'}, $seen[0]{headers}{'webhook-id'},
   '... under the same id');


# Nowhere inside: a name is good when it is asked for, and leads to loopback
# when it is connected to

my $door = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8)
    or die "no port: $!\n";

with(webhook_networks => '', webhook_wait => '1h');
my @ids = map { ask("say=inside$_", "https://$_:" . $door->sockport . '/') }
    qw(localhost 127.0.0.1);

for my $url (qw(localhost 127.0.0.1)) {
    my $of = shift @ids;
    ok(waits($of), "$url: not delivered");
}

ok(!IO::Select->new($door)->can_read(0.5), '... and no connection was made');
cmp_ok(metric('refused'), '>=', 2, '... which is counted');
like($t->log_of('sidecar0'), qr/address is not public/, '... and is logged');


# Whose certificate is not good

my $wrong = Trifecta::Test::Receiver->new($t,
    cert => ["$other.pem", "$other.key"]);

with(webhook_wait => '1h');
$id = ask('say=name', $wrong->url('name'));
ok(waits($id), 'a certificate of another name');
with(webhook_wait => '1h', webhook_ca => "$other.pem");
$id = ask('say=ca', $r->url('ca'));
ok(waits($id), 'a certificate of another CA');
is(scalar($wrong->requests) + scalar(() = $r->requests('ca')), 0,
   '... get nothing to see');


# Without a key nothing is sent, and nothing is lost

with(webhook_key_file => $key . '.not');
$id = ask('say=unsigned', $r->url('unsigned'));
ok(waits($id), 'no key: it waits');
is(scalar(() = $r->requests('unsigned')), 0, '... and nothing was sent');
with();
is((ended($id, 30))[0], 'succeeded', '... until there is one');


# Not too many wait, of each tenant

with(webhook_backlog => 2, webhook_wait => '1h');
my @acme = (token => $t->token(tenant => 'acme'));
my @of = map {
    my $of = $t->ask("say=crowd$_", @acme, body => { model => 'test',
                     webhook_url => $r->url('never?crowd') });
    ok(waits($of), "number $_ waits");
    $of } 1 .. 2;
my $of = $t->ask('say=crowd', @acme, body => { model => 'test',
                 webhook_url => $r->url('never?crowd') });
is((ended($of))[1], 'webhook_backlog', 'the third one is given up');
$id = $t->ask('say=fine', @acme, body => { model => 'test',
              webhook_url => $r->url('fine') });
is((ended($id))[0], 'succeeded', '... but one that is taken is not');


# Receivers that hang keep nobody else from his answer, or his webhook

with(webhook_timeout => '20s');
ask("say=hang$_", $r->url('hangs')) for 1 .. 8;
$t->wait_for(sub { (() = $r->requests('hangs')) >= 1 }, 10);
sleep 1;
is(scalar(() = $r->requests('hangs')), 1, 'one at a time to one host');
$began = time;
my $end = $t->ask_and_wait('say=quick', model => 'test');
is($end->{status}, 'succeeded', 'questions are answered meanwhile');
$id = ask('say=elsewhere', 'https://127.0.0.1:' . $r->port . '/elsewhere');
is((ended($id, 15))[0], 'succeeded', '... and others are told');
cmp_ok(time - $began, '<', 18 * $t->slow, '... before those are done');
cmp_ok(metric('put_off'), '>', 0, 'the rest waits for a place');


# The OpenAI shape

with();
forget(5);              # those that wait an hour are left where they are
my $res = $t->post('/v1/responses', { model => 'test', input => 'say=openai',
    background => JSON::PP::true(), webhook_url => $r->url('response') });
is($res->{status}, 200, 'a response with a webhook') or diag $res->{content};
$t->wait_for(sub { () = $r->requests('response') }, 40 * $t->slow);
my ($req) = $r->requests('response');
is($req->{json}{type}, 'response.completed', '... is told as OpenAI does');
is($req->{json}{object}, 'event', '... in its form');
is_deeply($req->{json}{data}, { id => $res->{json}{id} }, '... with its id');
is($t->post('/v1/chat/completions', { model => 'test',
    webhook_url => $r->url('chat'),
    messages => [{ role => 'user', content => 'say=chat' }] })->{status}, 200,
   'a chat with a webhook');
$t->wait_for(sub { () = $r->requests('chat') }, 40 * $t->slow);
is(($r->requests('chat'))[0]{json}{type}, 'job.succeeded',
   '... is told in the plain form');

$t->finish;
done_testing;
