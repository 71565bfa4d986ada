# The command line: help, wrong use, token, ask, doctor.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use FindBin;
use lib "$FindBin::Bin/lib";
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(decode_base64url encode_base64url);
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 1);
my $json = JSON::PP->new->utf8;
my ($rc, $out, $err);


# help and wrong use

($rc, $out, $err) = $t->run('--help');
is($rc, 0, '--help');
is($err, '', 'says nothing on stderr');
my @commands = $out =~ /^  ([a-z]+) {2,}\S/mg;
is_deeply([sort @commands],
    [qw(ask doctor embed eval ingest jobs migrate models prune serve token
        webhook)],
    'lists the commands');

for my $command (@commands) {
    ($rc, $out, $err) = $t->run($command, '--help');
    is($rc, 0, "$command --help");
    is($err, '', 'says nothing on stderr');
    like($out, qr/^Usage:\ trifecta\ $command\ .*^Options:.*
        ^\ \ --config\ FILE\ .*^Exit\ codes:.*^Examples:.*
        trifecta\ $command/msx,
        'has usage, options, exit codes, examples');
    is(scalar(grep { length > 80 } split /\n/, $out), 0,
        'in 80 columns');

    ($rc, $out, $err) = $t->run($command, '--no-such-option');
    is($rc, 2, "an unknown option of $command");
    is($out, '', 'says nothing on stdout');
    like($err, qr/no-such-option.*trifecta $command --help/s,
        'names it and where help is');
}

for my $wrong ([], ['nonsense'], ['--nonsense'], ['ask'], ['ask', ''],
               ['ask', 'two', 'words'], ['ask', '--timeout'],
               ['ask', '--timeout', 'soon', 'q'], ['token'],
               ['token', '--sub', 'a', 'b'], ['token', '--sub', "a\nb"],
               ['token', '--sub', 'a', '--ttl', '0'],
               ['token', '--sub', 'a', '--ttl', '400d'],
               ['token', '--sub', 'a', '--tenant', 'x' x 65],
               ['token', '--sub', 'x' x 300],
               ['models', 'x'], ['models', '--nginx=1'], ['doctor', 'x'],
               ['migrate', 'x'], ['migrate', '--wait', 'x'], ['ask', '-x'])
{
    ($rc, $out, $err) = $t->run(@$wrong);
    ok($rc == 2 && $out eq '' && $err =~ /--help/,
        'wrong use: ' . (join(' ', @$wrong) =~ s/\n/\\n/r || '(nothing)'))
        or diag "exit $rc, stdout $out, stderr $err";
}

($rc, $out) = $t->run('--version');
is($rc, 0, '--version');
like($out, qr/^trifecta \d+\.\d+\.\d+ /, 'says it');


# configuration

my $conf = $t->read_file($t->root . '/conf/sidecar.conf');
$conf =~ s/^#([a-z_]+ =)/$1/mg;
$conf =~ s/^jwt_key_file = .*/jwt_key_file = $t->{dir}\/none/m;
my $file = $t->write_file("$t->{dir}/run/all.conf", $conf);
($rc, $out, $err) = $t->run('token', '--sub', 'a', '--config', $file);
like($err, qr{cannot read jwt_key_file "\Q$t->{dir}\E/none"},
    'every key of conf/sidecar.conf is understood, with its default');
$t->write_file($file, "# nothing\nurl = https://a\nnonsense = 1\n");
($rc, $out, $err) = $t->run('token', '--sub', 'a', '--config', $file);
is($rc, 1, 'an unknown key');
like($err, qr/\Q$file\E:3: unknown key "nonsense"/, 'with file and line');
($rc, $out, $err) = $t->run('token', '--sub', 'a', '--config', '/none');
is($rc, 1, 'no such file');
like($err, qr{"/none": No such file}, 'is named');
for my $key (qw(LEASE DRAIN_TIMEOUT)) {
    ($rc, $out, $err) = $t->run({ env => { "TRIFECTA_$key" => '25d' } },
                                'token', '--sub', 'a');
    is($rc, 1, "a_time_that_would_overflow_is_refused: $key");
    like($err, qr/must be at most 1d/, 'which is said');
}


# models

($rc, $out) = $t->run('models');
is($out =~ s/\n.*//sr, 'extractive', 'models: the default comes first');
my @models = split /\n/, $out;
($rc, $out) = $t->run('models', '--nginx');
is($out, "trifecta_models @models;\n", 'as the directive');


# token

sub decoded {
    my ($token) = @_;
    chomp $token;
    my ($head, $body, $mac) = split /\./, $token;
    is(encode_base64url(hmac_sha256("$head.$body", $t->{jwt_secret})), $mac,
        'signed with the secret of the file');
    return map { $json->decode(decode_base64url($_)) } $head, $body;
}

($rc, $out, $err) = $t->run('token', '--sub', 'alice', '--ttl', '30d',
    '--groups', 'staff,,hr', '--scopes', 'ask,read', '--tenant', 'acme');
is($rc, 0, 'token');
my ($head, $claims) = decoded($out);
is($head->{alg}, 'HS256', 'HS256');
my ($iat, $nbf, $exp) = delete @$claims{qw(iat nbf exp)};
is_deeply($claims, { iss => $t->{issuers}{test}{iss}, aud => 'trifecta',
    sub => 'alice', tenant => 'acme', groups => ['staff', 'hr'],
    scope => 'ask read' }, 'the claims');
ok(abs($iat - time) < 10 && $nbf == $iat && $exp == $iat + 30 * 86400,
    'and their times');
chomp $out;
is($t->post('/api/v1/query', { query => 'say=x', model => 'test' },
    token => $out)->{status}, 202, 'nginx_accepts_it');

($rc, $out) = $t->run('token', '--sub', "M\xc3\xbcller", '--ttl', '1s');
(undef, $claims) = decoded($out);
is($claims->{sub}, "M\x{fc}ller", 'names are UTF-8');
is($claims->{tenant}, 'default', 'the tenant is the configuration\'s');
($rc, $out, $err) = $t->run('token', '--sub', "\xff");
is($rc, 1, 'what is not UTF-8');
like($err, qr/UTF-8/, 'is refused');

$t->write_file("$t->{dir}/run/short.key", "short\n", 0600);
($rc, $out, $err) = $t->run({ env => {
    TRIFECTA_JWT_KEY_FILE => "$t->{dir}/run/short.key" } },
    'token', '--sub', 'a');
is($rc, 1, 'a short secret');
like($err, qr/shorter than 32 bytes.*openssl rand/, 'is refused');
unlike($err, qr/short\n/, 'and not shown');


# ask

($rc, $out, $err) = $t->run('ask', '--model', 'test', 'say=hello');
is($rc, 0, 'ask') or diag $err;
like($out, qr/attempt=1 hello\n/, 'prints the answer');
is($err, '', 'without a terminal no progress');
($rc, $out) = $t->run('ask', '--json', '--model', 'test', 'say=hello');
is($rc, 0, 'ask --json');
is(eval { $json->decode($out)->{status} }, 'succeeded', 'prints JSON');

($rc, $out, $err) = $t->run('ask', '--model', 'test', 'fail=1');
is($rc, 1, 'a job that fails');
like($err, qr/the job ended as failed: /, 'says why');
($rc, $out, $err) = $t->run('ask', '--model', 'test', '--timeout', '1s',
    'sleep=3000 say=late');
is($rc, 3, 'no answer in time');
like($err, qr{goes on.*/api/v1/query/[0-9a-f-]{36}\n}s, 'has its own code');

sub ask_fails {
    my ($name, $env, $re, @args) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, undef, $text) = $t->run({ env => $env }, 'ask', @args,
                                         'say=x');
    ok($status == 1 && $text =~ $re, $name)
        or diag "exit $status, $text";
    return $text;
}

ask_fails('no token', { TRIFECTA_TOKEN => '' },
    qr/no token: set TRIFECTA_TOKEN/);
ask_fails('a_token_that_is_refused_says_how_to_make_one',
    { TRIFECTA_TOKEN => $t->token(iss => 'https://other.example') },
    qr/401 invalid_token: .*trifecta token --sub/s);
ask_fails('an expired token', { TRIFECTA_TOKEN => $t->token(exp => 1) },
    qr/401 token_expired/);
ask_fails('a token with a line break', { TRIFECTA_TOKEN => "a\r\nX: y" },
    qr/line break/);
ask_fails('a model that is not there', {},
    qr/404 model_not_found.*trifecta models/s, '--model', 'nobody');
ask_fails('a_certificate_of_an_unknown_ca_is_refused', { TRIFECTA_CA => '' },
    qr/certificate.*key "ca"/s);
ask_fails('a_certificate_for_another_name_is_refused',
    { TRIFECTA_URL => $t->url('') =~ s/localhost/127.0.0.2/r },
    qr/127\.0\.0\.2.*\n/);
ask_fails('a CA file that is not there', { TRIFECTA_CA => '/none' },
    qr/key "ca"/);
ask_fails('nobody listens', { TRIFECTA_URL => 'https://localhost:1' },
    qr/connect.*Is nginx running/s);
ask_fails('no such host', { TRIFECTA_URL => 'https://no.such.host.invalid' },
    qr/resolve.*key "url"/s);
ask_fails('a_token_does_not_travel_in_the_clear',
    { TRIFECTA_URL => 'http://192.0.2.1' }, qr/only https is used/);
ask_fails('no URL', { TRIFECTA_URL => 'nonsense:' }, qr/key "url"/);
ask_fails('another scheme', { TRIFECTA_URL => 'file:///etc' },
    qr/only https|no URL/);


# ask, and a server that is not nice; http is good enough for this host

sub server {
    my (@answers) = @_;
    my $port = $t->free_port;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 5, ReuseAddr => 1) or die "listen: $!";

    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        local $SIG{ALRM} = 'DEFAULT';
        alarm 60;
        while (my $c = $listen->accept) {
            my $in = '';
            while ($in !~ /\r\n\r\n/) { sysread($c, $in, 4096, length $in)
                                            or last }
            my $a = @answers > 1 ? shift @answers : $answers[0];
            $a = [200, '', $a] unless ref $a;
            print $c "HTTP/1.1 $a->[0] X\r\nConnection: close\r\n"
                . "Content-Length: " . length($a->[2])
                . "\r\n$a->[1]\r\n$a->[2]";
            $c->shutdown(1);
            1 while sysread $c, $in, 4096;
            close $c;
        }
        POSIX::_exit(0);
    }

    return ($pid, "http://127.0.0.1:$port");
}

sub ask_at {
    my ($answers, @args) = @_;
    my ($pid, $url) = server(@$answers);
    my @got = $t->run({ env => { TRIFECTA_URL => $url } }, 'ask', @args,
                      'q');
    kill 'KILL', $pid;
    waitpid $pid, 0;
    return @got;
}

my $path = '/api/v1/query/01930000-0000-7000-8000-000000000001';
my $accepted = [202, "Retry-After: 1\r\n", $json->encode({
    query_id => 'x', links => { self => $path } })];

($rc, $out, $err) = ask_at([$accepted, $json->encode({
    status => 'succeeded', response => "a\e[2Jb\x{9b}c\x07d\n",
    citations => [{ n => 1, source => "x\e]0;t\x07.md", title => 'T',
                    start => 3, end => 17 },
                  { n => 2, source => 'y.md', start => 0, end => 5 }] })]);
is($rc, 0, 'an answer with control characters');
unlike($out, qr/[\x00-\x08\x0b-\x1f\x7f]|\xc2\x9b/,
    'what_documents_say_does_not_steer_the_terminal');
is($out, "a?[2Jb?c?d\n\nSources:\n[1] x?]0;t?.md bytes 3-17  T\n"
    . "[2] y.md bytes 0-5\n", 'the rest is there, with sources');

($rc, $out, $err) = ask_at([[302, "Location: http://127.0.0.1:1/\r\n", '']]);
is($rc, 1, 'a redirect');
like($err, qr/302/, 'is_not_followed');
($rc, $out, $err) = ask_at(['<html>hello</html>']);
is($rc, 1, 'a server that is another one');
($rc, $out, $err) = ask_at([[202, '', '{"links":{"self":"@evil.example/"}}']]);
like($err, qr/is not Trifecta's/, 'a link to elsewhere is not followed');
($rc, $out, $err) = ask_at([[202, '', '{"links":{"self":"//evil/"}}']]);
like($err, qr/is not Trifecta's/, 'in no form');
($rc, $out, $err) = ask_at([$accepted, [503, "Retry-After: 1\r\n", '{}'],
    $json->encode({ status => 'succeeded', response => 'late' })]);
is("$rc $out", "0 late\n", 'a 503 while waiting is waited out');
($rc, $out, $err) = ask_at([[504, "Location: $path\r\n", '{}'],
    $json->encode({ status => 'succeeded', response => 'came' })]);
is("$rc $out", "0 came\n", 'after a 504 with Location the job is looked for');
($rc, $out, $err) = ask_at([$accepted, [410, '', $json->encode({
    detail => 'gone', error => { code => 'gone' } })]]);
is($rc, 1, 'a job that got lost');
like($err, qr/410 gone: gone\n.*ask again/s, 'says so');
($rc, $out, $err) = ask_at([$accepted, '{"status":"dead","error":null}']);
is($rc, 1, 'a dead job');
like($err, qr/ended as dead/, 'without an error member');
my $start = time;
($rc, $out, $err) = ask_at([$accepted, ([200,
    "Preference-Applied: wait=10\r\n", '{"status":"running"}']) x 3,
    $json->encode({ status => 'succeeded', response => 'late' })]);
is("$rc $out", "0 late\n", 'a server that says it waits');
cmp_ok(time - $start, '>', 2.5, 'and_does_not_is_not_asked_in_a_loop');
$start = time;
$t->freeze('nginx');
($rc, $out, $err) = $t->run('ask', '--timeout', '1500ms', 'q');
$t->thaw('nginx');
is($rc, 1, 'a frozen nginx');
like($err, qr/did not answer in time/, 'says so');
ok(time - $start < 4 * $t->slow, 'in_time');
($rc, $out, $err) = ask_at([[200, '', 'x' x (33 << 20)]]);
is($rc, 1, 'an_endless_answer_is_cut_off');


# doctor

($rc, $out, $err) = $t->run('doctor');
is($rc, 0, 'doctor on a good day') or diag $out;
is($err, '', 'says nothing on stderr');
is(scalar(grep { !/^(ok|warn) +\S/ && !/^\d+ ok, / } split /\n/, $out), 0,
    'one line each, nothing fails');
like($out, qr/^ok    \Q$_\E /m, "$_ is looked at")
    for 'program', 'id key', 'token key', 'PostgreSQL login',
        'PostgreSQL rights', 'PostgreSQL owner', 'row-level security',
        'migrations', 'PostgreSQL fsync', 'PostgreSQL full_page_writes',
        'PostgreSQL synchronous_commit', 'Redis functions', 'queue',
        'workers', 'Redis appendonly', 'Redis appendfsync',
        'Redis maxmemory-policy', 'Redis maxmemory', 'nginx',
        'clock of Redis', 'clock of PostgreSQL';

sub finds {
    my ($name, $env, @res) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $text) = $t->run({ env => $env }, 'doctor');
    my @missing = grep { $text !~ $_ } @res;
    is("@missing", '', $name) or diag $text;
    my $fails = $text =~ /^FAIL/m ? 1 : 0;
    is($status, $fails, '  the exit code says whether something fails');
}

my $secrets = "$t->{dir}/secrets";
finds('keys that are not there', { TRIFECTA_ID_KEY_FILE => '/none',
    TRIFECTA_JWT_KEY_FILE => "$t->{dir}/run/short.key" },
    qr{^FAIL  id key .*"/none": No such file}m,
    qr/^FAIL  token key .*5 bytes -> .*openssl/m);
chmod 0644, "$secrets/id.key";
finds('a_key_that_everybody_can_read', {},
    qr/^warn  id key .*mode 0644 -> chmod 600/m);
chmod 0600, "$secrets/id.key";
finds('a wrong password', {
    TRIFECTA_PG_RAG_PASSWORD_FILE => "$secrets/pg_queue.pass" },
    qr/^FAIL  PostgreSQL login .*trifecta_rag: .*trifecta migrate/m,
    qr/^ok    PostgreSQL login .*trifecta_queue$/m);
finds('no certificate that we know', { TRIFECTA_CA => '' },
    qr/^FAIL  nginx .*certificate.*"ca"/m);
finds('another server', { TRIFECTA_URL =>
    "http://127.0.0.1:$t->{admin_port}" },
    qr/^FAIL  nginx .*the module is not there/m);
finds('other migrations', { TRIFECTA_MIGRATIONS => '/none' },
    qr{^FAIL  migrations .*"/none"}m, qr{^warn  Redis functions .*"/none/}m);

# a sidecar would mend some of it

$t->stop('sidecar');
$t->sql('admin', 'ALTER TABLE trifecta.chunk NO FORCE ROW LEVEL SECURITY');
$t->sql('admin', 'ALTER TABLE trifecta.term OWNER TO postgres');
$t->sql('admin', 'ALTER ROLE trifecta_rag BYPASSRLS');
$t->sql('admin', 'UPDATE trifecta.flyway_schema_history SET checksum = 1
    WHERE version = \'2\'');
$t->redis('CONFIG', 'SET', 'appendfsync', 'everysec');
$t->redis('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
$t->redis('CONFIG', 'SET', 'maxmemory', '0');
$t->redis('FUNCTION', 'DELETE', 'trifecta_v1');
finds('everything_that_was_spoiled', {},
    qr/^FAIL  row-level security .*trifecta\.chunk -> ALTER TABLE/m,
    qr/^FAIL  PostgreSQL owner .*trifecta\.term belongs to postgres/m,
    qr/^FAIL  PostgreSQL rights .*ALTER ROLE trifecta_rag NOSUPERUSER/m,
    qr/^FAIL  migrations .*V2__\w+\.sql was changed/m,
    qr/^FAIL  Redis appendfsync .*everysec, less than "durability = durable".*nothing is accepted -> set "appendfsync always"/m,
    qr/^FAIL  Redis maxmemory-policy .*allkeys-lru.* -> /m,
    qr/^warn  Redis maxmemory .*unlimited/m,
    qr/^FAIL  Redis functions .*not loaded -> run "trifecta migrate"/m);

finds('what is weak is only said, if that is wished',
    { TRIFECTA_DURABILITY_CHECK => 'warn', TRIFECTA_DURABILITY => 'fast' },
    qr/^ok    Redis appendfsync .*everysec/m,
    qr/^warn  Redis maxmemory-policy .*allkeys-lru -> set /m);

($rc, $out) = $t->run('doctor', '--json');
is($rc, 1, 'doctor --json');
my $report = eval { $json->decode($out) };
ok($report && !$report->{ok}, 'says that something fails');
is(scalar(grep { !$_->{check} || !length $_->{found}
                 || $_->{level} ne 'ok' && !$_->{mend} }
          @{ $report->{checks} }), 0, 'every finding is whole');

$t->redis('FLUSHALL');
finds('an_emptied_redis_is_explained', {},
    qr/^FAIL  queue .*NOTREADY.*its epoch \d+: Redis was emptied.*trifecta serve/m);
$t->kill('redis');
$t->kill('pg');
finds('stores that are away', {},
    qr/^FAIL  Redis  .*connect.*-> start it/m,
    qr/^FAIL  PostgreSQL login .*trifecta_queue: .*connect/m,
    qr/^ok    nginx /m);
ask_fails('ask_names_doctor_when_a_store_is_away', {},
    qr/503 queue_unavailable.*trifecta doctor/s);


# a secret that is no file

require POSIX;
POSIX::mkfifo("$t->{dir}/fifo", 0600) or die "mkfifo: $!";
my $asked = time;
($rc, $out, $err) = $t->run({ env => {
    TRIFECTA_REDIS_PASSWORD_FILE => "$t->{dir}/fifo" } }, 'doctor');
isnt($rc, 0, 'doctor is not content with a FIFO');
cmp_ok(time - $asked, '<', 30, 'a_secret_that_is_no_regular_file_stops_nobody');
like("$out$err", qr/fifo/, 'and it is named');


# no secret is shown

my $log = $t->log_of('commands');
is(scalar(grep { index($log, $t->secret($_)) >= 0 }
          map({ "pg_$_.pass" } qw(admin queue rag edge)), 'redis.pass',
          'id.key', 'jwt.hs256.key'), 0, 'no_command_shows_a_secret');

$t->finish;
done_testing;
