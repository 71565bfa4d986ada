# The beginning of a batch: how many are checked at once, what becomes of one
# whose client does not wait or cannot be told, and that it stands in nobody's
# way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0, workers => 1);
my $slow = $t->slow;
my $B = '/v1/batches';
my $json = JSON::PP->new->canonical;

sub input {
    my ($owner) = @_;
    my $text = join '', map { $json->encode({ custom_id => "r$_",
        method => 'POST', url => '/v1/responses',
        body => { input => "Question $_?" } }) . "\n" } 1 .. 500;
    my $id = $t->sql('admin', 'SELECT gen_random_uuid()')->[0][0];

    $t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner, name,'
        . " purpose, bytes, whole) VALUES (?, 'default', ?, 'requests.jsonl',"
        . " 'batch', ?, true)", $id, "test:$owner", length $text);
    $t->sql('admin', 'INSERT INTO trifecta.file_part (file, part, tenant,'
        . " owner, body) VALUES (?, 0, 'default', ?, decode(?, 'hex'))", $id,
        "test:$owner", unpack 'H*', $text);

    return 'file-' . ($id =~ tr/-//dr);
}

# Requests that are sent and not waited for.

sub posts {
    my ($count, $owner, $path, $body) = @_;
    my $token = $t->token(sub => $owner);
    my $text = $body ? $json->encode($body) : '';
    my @socks;

    for (1 .. $count) {
        my $sock = $t->socket or die "socket: $!\n";
        print {$sock} "POST $path HTTP/1.1\r\nHost: localhost\r\n"
            . "Connection: close\r\nAuthorization: Bearer $token\r\n"
            . "Content-Type: application/json\r\n"
            . 'Content-Length: ' . length($text) . "\r\n\r\n$text";
        $sock->flush;
        push @socks, $sock;
    }

    sleep 0.3 * $slow;
    return @socks;
}

sub batch {
    my ($file) = @_;
    return { input_file_id => $file, endpoint => '/v1/responses',
             completion_window => '24h' };
}

sub statuses {
    my %status;
    for my $sock (@_) {
        my $got = do { local $/; <$sock> } // '';
        $status{ $got =~ m{^HTTP/1.1 (\d+)} ? $1 : 'none' }++;
        $status{retry}++ if $got =~ /^Retry-After: \d/mi;
    }
    return \%status;
}

sub states {
    return { map { @$_ } @{ $t->sql('admin', 'SELECT state, count(*)'
        . ' FROM trifecta.batch WHERE owner = ? GROUP BY state',
        "test:$_[0]") } };
}


# So many at once

# the store has been met before it stands still
$t->get($B, token => $t->token(sub => 'ada'));

my $body = batch(input('ada'));
$t->freeze('pg');
my @socks = posts(20, 'ada', $B, $body);
$t->thaw('pg');

is_deeply statuses(@socks), { 200 => 8, 503 => 12, retry => 12 },
    'a worker checks eight files, also if they come at the same time';
ok $t->wait_for(sub { (states('ada')->{in_progress} || 0) == 8 },
    60 * $slow), 'all of them to the end' or diag explain states('ada');

is statuses(posts(8, 'ada', $B, $body))->{200}, 8,
    'then there is room for eight others';
ok $t->wait_for(sub { (states('ada')->{in_progress} || 0) == 16 },
    60 * $slow), 'that are checked, too' or diag explain states('ada');


# Clients that leave

$body = batch(input('bob'));
$t->freeze('pg');
@socks = posts(4, 'bob', $B, $body);
$_->close(SSL_no_shutdown => 1) for @socks;
sleep 0.3 * $slow;
$t->thaw('pg');

ok $t->wait_for(sub { (states('bob')->{in_progress} || 0) == 4 },
    60 * $slow), 'a batch whose client has left is checked all the same'
    or diag explain states('bob');


# A store that does not answer in time

$body = batch(input('cyd'));
$t->freeze('pg');
@socks = posts(2, 'cyd', $B, $body);
is_deeply statuses(@socks), { 503 => 2, retry => 2 },
    'a store that does not answer is 503';
$t->thaw('pg');
$t->wait_for(sub { $t->get($B, token => $t->token(sub => 'cyd'))->{status}
                   == 200 }, 20 * $slow);
sleep 0.5 * $slow;

ok $t->wait_for(sub { !states('cyd')->{validating} }, 60 * $slow),
    'a batch that nobody was told of is not left validating'
    or diag explain states('cyd');
is statuses(posts(8, 'cyd', $B, $body))->{200}, 8, 'and keeps no place';


# Somebody holds the row of a batch

my $held = $t->post($B, batch(input('dan')), token => $t->token(sub => 'dan'))
           ->{json}{id};
ok $t->wait_for(sub { (states('dan')->{in_progress} || 0) == 1 },
    60 * $slow), 'a batch to cancel';

my %input = map { $_ => input($_) } qw(fay gus);
my $dbh = $t->dbh('admin');
$dbh->begin_work;
$dbh->do('SELECT 1 FROM trifecta.batch WHERE owner = ? FOR UPDATE', undef,
    'test:dan');
@socks = posts(3, 'dan', "$B/$held/cancel");
my @others = map { posts(1, $_, $B, batch($input{$_})) } qw(fay gus);
is_deeply statuses(@socks), { 503 => 3, retry => 3 },
    'who waits for a row too long is told to come back';
is_deeply statuses(@others), { 200 => 2 }, 'and nobody else fails with it';
$dbh->commit;
is $t->post("$B/$held/cancel", '', token => $t->token(sub => 'dan'))
   ->{json}{status}, 'cancelling', 'once it is free it goes on';


# The last place of an owner, in two workers at once.  Rows take a while.

$t->{opt}{workers} = 4;
$t->write_conf;
$t->reload;
$t->sql('admin', 'CREATE FUNCTION trifecta.slowly() RETURNS trigger LANGUAGE'
    . " plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END'");
$t->sql('admin', 'CREATE TRIGGER slowly BEFORE INSERT ON trifecta.batch'
    . ' FOR EACH ROW EXECUTE FUNCTION trifecta.slowly()');
$t->sql('admin', 'ALTER TABLE trifecta.batch DISABLE TRIGGER slowly');
$body = batch(input('eve'));
$t->sql('admin', 'INSERT INTO trifecta.batch (id, tenant, owner, endpoint,'
    . " input, expires) SELECT gen_random_uuid(), 'default', 'test:eve',"
    . " '/v1/responses', gen_random_uuid(), now() + '1 day'"
    . ' FROM generate_series(1, 99)');
$t->sql('admin', 'ALTER TABLE trifecta.batch ENABLE TRIGGER slowly');
sleep 0.5;          # the old workers accept a little longer

is_deeply statuses(posts(8, 'eve', $B, $body)),
    { 200 => 1, 429 => 7, retry => 7 },
    'the last place is taken once, whatever workers are asked';
$t->sql('admin', 'DROP FUNCTION trifecta.slowly CASCADE');

$t->finish;
done_testing;
