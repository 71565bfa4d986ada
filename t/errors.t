# Each error of the table in include/trifecta/error.h: a request that provokes
# it, answered with the status, the code and the words of its row.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;

my $root = "$FindBin::Bin/..";

sub slurp { open my $fh, '<', $_[0] or die "$_[0]: $!"; local $/; <$fh> }

my (%row, %enum);
my $header = slurp("$root/include/trifecta/error.h") =~ s/\\\n//gr;
while ($header =~ /X\((\w+),\s*(\d+),\s*"(\w+)",\s*"(\w+)",\s*"([\w-]+)",
                   \s*"([^"]*)"\)/gx)
{
    $enum{$3} = $1;
    $row{$3} = { status => $2, type => $4, slug => $5, title => $6 };
}

cmp_ok scalar(keys %row), '>=', 20, 'the table is found';
is scalar(keys %row), scalar(() = $header =~ /X\([A-Z_]+,\s*\d/g),
    'all of it';


# What no request can provoke, and why.  Such a code must not be in use, or
# only where the reason says.

my %cannot = (
    not_acceptable => 'no route has more than one form of its answer',
    internal_error => 'it takes an allocation that fails',
    response_timeout =>
        'it takes a job that is open half a minute after its deadline',
);

my $t = Trifecta::Test->new(sidecars => 0,
    models => 'extractive test closed',
    trifecta => { trifecta_model_groups => 'closed nobody' });
my $P = '{trifecta:0}';
my $Q = '/api/v1/query';

sub ask { $t->post($Q, { query => 'x' }, @_) }
sub token_of { token => $t->token(@_) }

sub with {
    my ($set, $what, $undo) = @_;
    $set->();
    my $res = $what->();
    $undo->();
    return $res;
}

sub conf {
    my (%o) = @_;
    $t->{opt}{$_} = $o{$_} for keys %o;
    $t->write_conf;
    my @old = $t->reload;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 10);
    ready();
}

sub ready {
    $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 20)
        or die "nginx is not ready\n";
}

# A chat request without a length, or one with what happens to its job while
# it waits for the end.

my $chat = '{"messages":[{"role":"user","content":"x"}]}';

sub chat {
    my ($length, $do) = @_;
    my $bytes = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        . 'Authorization: Bearer ' . $t->token . "\r\nContent-Type: "
        . "application/json\r\n$length\r\n\r\n$chat";
    my $before = $t->redis('ZCARD', "$P:live");

    my $pid = open(my $fh, '-|') // die "fork: $!\n";
    if ($pid == 0) {
        print STDOUT JSON::PP->new->encode($t->raw($bytes, timeout => 20));
        STDOUT->flush;
        POSIX::_exit(0);
    }

    if ($do) {
        $t->wait_for(sub { $t->redis('ZCARD', "$P:live") > $before }, 10);
        $do->($t->redis('ZRANGE', "$P:live", -1, -1)->[0]);
    }

    my $text = do { local $/; <$fh> };
    close $fh;
    return JSON::PP->new->decode($text);
}

sub chat_and { chat('Content-Length: ' . length $chat, @_) }

my $meta = sub { my @cmd = @_; sub { $t->redis(@cmd) } };

my %provoke = (
    invalid_json => sub { $t->post($Q, '{') },
    missing_field => sub { $t->post($Q, {}) },
    invalid_value => sub { $t->post($Q, { query => '' }) },
    missing_token => sub { ask(token => undef) },
    invalid_token => sub { ask(token => 'x.y.z') },
    token_expired => sub { ask(token_of(exp => 1)) },
    forbidden => sub { ask(token_of(tenant => 'nobodys')) },
    user_mismatch => sub { $t->post($Q, { query => 'x', user_id => 'bob' }) },
    not_found => sub { $t->get("$Q/nope") },
    model_not_found => sub { $t->post($Q, { query => 'x', model => 'no' }) },
    model_not_allowed => sub {
        $t->post($Q, { query => 'x', model => 'closed' }) },
    method_not_allowed => sub { $t->request('PUT', $Q, json => {}) },
    gone => sub {
        my $id = $t->ask('x');
        $t->redis('DEL', "$P:j:$id");
        $t->result($id);
    },
    job_cancelled => sub {
        chat_and(sub { $t->post("$Q/$_[0]/cancel", '') }) },
    job_failed => sub {
        chat_and(sub {
            sleep 0.5;
            $t->redis('HSET', "$P:j:$_[0]", 'state', 'failed');
            $t->redis('SPUBLISH', "$P:c:$_[0]", 'failed');
        });
    },
    too_many_files => sub { with(
        sub { $t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner,'
            . " name, purpose) SELECT gen_random_uuid(), 'default',"
            . " 'test:alice', 'x', 'batch' FROM generate_series(1, 100)") },
        sub { $t->post('/v1/files', join("\r\n", '--b', 'Content-Disposition:'
            . ' form-data; name="purpose"', '', 'batch', '--b',
            'Content-Disposition: form-data; name="file"; filename="x"', '',
            'x', '--b--'), headers =>
            { 'Content-Type' => 'multipart/form-data; boundary=b' }) },
        sub { $t->sql('admin', 'DELETE FROM trifecta.file') }) },
    conflict => sub {
        my $id = $t->post('/v1/responses', { input => 'x',
            background => JSON::PP::true })->{json}{id};
        $id =~ s/^resp_/batch_/;
        $t->sql('admin', 'INSERT INTO trifecta.batch (id, tenant, owner,'
            . ' endpoint, input, state, expires) VALUES (?, ?, ?, ?, ?, ?,'
            . ' now())', $id =~ s/^batch_//r, 'default', 'test:alice',
            '/v1/responses', $id =~ s/^batch_//r, 'completed');
        $t->post("/v1/batches/$id/cancel", '');
    },
    length_required => sub { chat('Transfer-Encoding: chunked') },
    body_too_large => sub { $t->post($Q, 'x' x 262145) },
    unsupported_media_type => sub {
        ask(headers => { 'Content-Type' => 'text/plain' }) },
    idempotency_key_reused => sub {
        my %key = (headers => { 'Idempotency-Key' => 'k' });
        ask(%key);
        $t->post($Q, { query => 'y' }, %key);
    },
    rate_limit_exceeded => sub {
        conf(server => 'trifecta_limit name=one key=user rate=1r/d;');
        ask();
        my $res = ask();
        conf(server => '');
        $res;
    },
    tenant_queue_full => sub {
        conf(max_jobs_per_tenant => 1);
        ask(token_of(tenant => 'globex'));
        my $res = ask(token_of(tenant => 'globex'));
        conf(max_jobs_per_tenant => 1000);
        $res;
    },
    queue_full => sub {
        conf(max_jobs => 1);
        ask();
        my $res = ask();
        conf(max_jobs => 10000);
        $res;
    },
    queue_unavailable => sub {
        with($meta->('HSET', "$P:meta", 'paused', 1), \&ask,
             $meta->('HDEL', "$P:meta", 'paused'));
    },
    store_unavailable => sub {
        my $id = $t->ask('x');
        $t->redis('HSET', "$P:j:$id", 'state', 'failed');
        $t->kill('pg');
        sleep 0.2;
        my $res = $t->result($id);
        $t->start('pg');
        ready();
        $res;
    },
    submit_unconfirmed => sub {
        sleep 1.2;
        my $res = with(sub { $t->freeze('redis') }, \&ask,
                       sub { $t->thaw('redis') });
        ready();
        $res;
    },
);

is_deeply [sort(grep { !$provoke{$_} && !$cannot{$_} } keys %row)], [],
    'each_code_has_a_request_or_a_reason';
is_deeply [sort(grep { !$row{$_} } keys %provoke, keys %cannot)], [],
    'and each of those has its row';
is_deeply [grep { $provoke{$_} } sort keys %cannot], [], 'not both';

my $module = join '', map { slurp($_) } glob "$root/ngx_module/*.c";
unlike $module, qr/\bTF_E_$enum{not_acceptable}\b/,
    "not_acceptable is in no use: $cannot{not_acceptable}";
is_deeply [sort(grep { $module !~ /\bTF_E_$enum{$_}\b/ } keys %provoke)], [],
    'the others are';

for my $code (sort keys %provoke) {
    my $res = $provoke{$code}->();
    my $row = $row{$code};
    my $p = $res->{json} || {};
    my $e = $p->{error} || {};

    is_deeply [$res->{status}, $p->{status}, $e->{code}],
        [$row->{status}, $row->{status}, $code],
        "$code is answered with $row->{status}"
        or diag $res->{content};
    is_deeply [@$p{qw(type title)}, $e->{type}],
        ["/problems/$row->{slug}", $row->{title}, $row->{type}],
        '  in the words of its row';
    is $res->{headers}{'content-type'}, 'application/problem+json',
        '  as a problem';
    is $p->{request_id}, $res->{headers}{'x-request-id'}, '  with its id';
    is $p->{detail}, $e->{message}, '  and the same words twice';
    ok length $p->{detail}, '  which there are';
    is !!($res->{headers}{'retry-after'}),
        !!($row->{status} =~ /^(429|503)$/), '  Retry-After if it passes';
    is !!$res->{headers}{'www-authenticate'}, $row->{status} == 401,
        '  WWW-Authenticate if a token would help';
    is !!$res->{headers}{allow}, $row->{status} == 405,
        '  Allow if another method would';
}

{
    my $m = $t->metrics;
    is_deeply [grep { !$m->{qq(trifecta_errors_total{code="$_"})} }
               sort keys %provoke], [], 'each_is_counted_by_its_code';
}

$t->finish;
done_testing;
