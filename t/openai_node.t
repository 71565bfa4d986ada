# A program of OpenAI's official Node client asks Trifecta and knows no
# difference: the programs of t/node/ and what they find.
#
# The client is fetched by npm, pinned exactly; where that is not possible
# there is nothing to test, which is a failure only where CI says so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $root = "$FindBin::Bin/..";
my $why = qx("$root/scripts/lib/node-packages" 2>&1);

if ($?) {
    die $why if $ENV{CI};
    plan skip_all => $why =~ s/\s+/ /gr;
}

my $t = Trifecta::Test->new(start => 0, workers => 1);
my $slow = $t->slow;

my $server = Trifecta::Test::ModelServer->new($t, small => sub {
    my ($c) = @_;
    my $i = 0;
    $c->answer(200, { data => [map { { index => $i++,
        embedding => [3, 4, 0, 0] } } @{ $c->{json}{input} }] });
}, caller => sub {
    my ($c) = @_;
    my @told = map { $_->{content} }
        grep { $_->{role} eq 'tool' } @{ $c->{json}{messages} };
    my $city = (qw(Oslo Rome))[scalar @told];
    return $c->sse(join(' and ', @told) . '.') if !defined $city;
    $c->head(200, 'text/event-stream');
    $c->put('data: ' . JSON::PP::encode_json({ choices => [$_] }) . "\n\n") for
        { delta => { tool_calls => [{ index => 0, id => "call_$city",
            type => 'function', function => { name => 'weather',
            arguments => JSON::PP::encode_json({ city => $city }) } }] } },
        { delta => {}, finish_reason => 'tool_calls' };
    $c->put("data: [DONE]\n\n");
});

$t->write_file($t->dir . '/models.conf', "[small]\nprovider = openai\n"
    . "kind = embedding\nbase_url = " . $server->url . "/v1\n"
    . "dimensions = 4\n\n[caller]\nprovider = openai\nretrieval = off\n"
    . 'base_url = ' . $server->url . "/v1\n");
$t->{opt}{models} = 'extractive test caller';
$t->{opt}{sidecar}{models} = $t->dir . '/models.conf';
$t->write_conf;
$t->start_all;

my $P = '{trifecta:0}';

# Runs a program; what it asserts is asserted here.  A function among the
# arguments is called when the program says that it is ready.

sub node {
    my ($file, @args) = @_;
    my ($ready) = grep { ref } @args;
    @args = grep { !ref } @args;
    my $pid = open(my $fh, '-|') // die "fork: $!\n";

    if ($pid == 0) {
        %ENV = (%ENV, TRIFECTA_URL => $t->url(''),
                TRIFECTA_TOKEN => $t->token, NODE_EXTRA_CA_CERTS => $t->{ca},
                TRIFECTA_NODE => "$root/build/node");
        open STDERR, '>&', \*STDOUT;
        exec 'timeout', 60 * $slow, 'node', "$FindBin::Bin/node/$file.mjs",
            @args or POSIX::_exit(127);
    }

    my ($n, @other) = 0;
    while (my $line = <$fh>) {
        my $said = eval { JSON::PP::decode_json($line) };
        if (ref $said ne 'HASH') {
            push @other, $line;
            next;
        }
        $n++;
        $ready->() if $ready && $said->{name} eq 'ready';
        ok $said->{ok}, "$file: $said->{name}" or diag $said->{got};
    }

    close $fh;
    ok $? == 0 && $n, "$file: to its end" or diag "status $?\n", @other;
}

# An example of the manual, as it stands there, by the program for it: the
# first in the language that begins so.

sub example {
    my ($language, $file, @command) = @_;
    my $manual = $t->read_file("$root/docs/openai.md");
    my ($text) = $manual =~ /^```$language(.*?)^```$/ms;
    $text =~ s/^\n// if defined $text;

    $t->write_file($file, $text // 'none');

    my $pid = open(my $fh, '-|') // die "fork: $!\n";
    if ($pid == 0) {
        %ENV = (%ENV, TRIFECTA_URL => $t->url(''),
                TRIFECTA_TOKEN => $t->token, TRIFECTA_CA => $t->{ca},
                NODE_EXTRA_CA_CERTS => $t->{ca}, SSL_CERT_FILE => $t->{ca});
        open STDERR, '>&', \*STDOUT;
        exec 'timeout', 60 * $slow, @command, $file or POSIX::_exit(127);
    }

    my $said = do { local $/; <$fh> } // '';
    close $fh;
    is $?, 0, "the manual's example ($command[0]) runs" or diag $said;
    like $said, qr/basalt/, '  and prints the answer';
}

sub conf {
    my (%o) = @_;
    @{ $t->{opt} }{keys %o} = values %o;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20);
}


mkdir "$t->{dir}/docs", 0755;
$t->write_file("$t->{dir}/docs/signal.md", "# Signals\n\nOn SIGTERM a sidecar"
    . " does what stops it: it turns to basalt.\n");
is +($t->run('ingest', "$t->{dir}/docs"))[0], 0, 'a document';

example('js', "$root/build/node/example.$$.mjs", 'node');
example("js\n// a batch", "$root/build/node/example.$$.mjs", 'node');
unlink "$root/build/node/example.$$.mjs";
example('sh', "$t->{dir}/run/example.sh", 'sh');

SKIP: {
    skip 'there is no Python client', 4
        if system('python3 -c "import openai" 2>/dev/null');
    example('python', "$t->{dir}/run/example.py", 'python3');
    example("python\n# a batch", "$t->{dir}/run/example.py", 'python3');
}

node('responses');
node('errors');
node('streams');
node('tools');
node('batches');

conf(server => 'trifecta_limit name=one key=user rate=60r/m burst=1;');
node('retries', 'limited');
conf(server => '');

$t->redis('HSET', "$P:meta", 'paused', 1);
node('retries', 'unavailable');
$t->redis('HDEL', "$P:meta", 'paused');

node('retries', 'unconfirmed', sub { $t->freeze('redis') });
$t->thaw('redis');

# The package asks for Node 22; with 18 all of it works but abort().

SKIP: {
    my ($major) = `node --version` =~ /^v(\d+)/;
    skip 'abort() of this package needs Node 20', 4 if $major < 20;

    node('retries', 'left');
    my $left = time;
    ok $t->wait_for(sub {
        $t->sql('queue', 'SELECT count(*) FROM trifecta.job WHERE state ='
                . " 'cancelled' AND request->>'query' = 'sleep=60000'"
                . " AND NOT request->'openai' \@> '{\"background\": true}'")
            ->[0][0] == 1 }, 10), 'left: and the job of who left is cancelled';
    cmp_ok time - $left, '<', 5 * $slow, 'left: soon';
}

$t->finish;
done_testing;
