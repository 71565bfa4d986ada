# Files: what is uploaded comes back byte for byte, to its owner and to nobody
# else, and there is never a part of one.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Digest::SHA qw(sha256_hex);
use Encode qw(encode_utf8);
use IO::Select;
use IO::Socket::INET;
use Socket qw(PF_INET SOCK_STREAM SOL_SOCKET SO_RCVBUF inet_aton
              pack_sockaddr_in);
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $MAX = 12 * 1024 * 1024;
my $PIECE = 256 * 1024;

my $t = Trifecta::Test->new(start => 0, sidecars => 0,
    trifecta => { trifecta_file_size => '12m', trifecta_files => '12 40m' });
my $plain = $t->free_port;
my $brisk = $t->free_port;

$t->{opt}{http} = <<"END";
    server {
        listen 127.0.0.1:$plain sndbuf=8k;
        send_timeout 10m;
        location / { trifecta api; gzip on; gzip_types *; }
    }
    server {
        listen 127.0.0.1:$brisk sndbuf=8k;
        send_timeout 1s;
        location / { trifecta api; }
    }
END
$t->write_conf;
$t->start_all;

my $slow = $t->slow;
my %me = map { $_ => $t->token(sub => $_) } qw(alice bob carol dave erin);
$me{acme} = $t->token(sub => 'alice', tenant => 'acme');


# The body of an upload, and its type.

sub form {
    my (@parts) = @_;
    my $text = '';

    while (my ($name, $content) = splice @parts, 0, 2) {
        my $head = qq(Content-Disposition: form-data; name="$name");
        ($head, $content) = (qq($head; filename="$content->[0]"\r\n)
            . 'Content-Type: application/octet-stream', $content->[1])
            if ref $content;
        $text .= "--XyZ\r\n$head\r\n\r\n$content\r\n";
    }

    return "$text--XyZ--\r\n";
}

sub send_form {
    my ($body, %o) = @_;
    return $t->request('POST', '/v1/files', body => $body,
        timeout => 60 * $slow, token => $o{token} // $me{alice},
        headers => { 'Content-Type' => $o{type}
                         // 'multipart/form-data; boundary=XyZ' });
}

sub upload {
    my ($name, $content, %o) = @_;
    return send_form(form(purpose => 'batch', %{ $o{fields} || {} },
                          file => [encode_utf8($name), $content]), %o);
}

sub content {
    my ($id, %o) = @_;
    return $t->get("/v1/files/$id/content", token => $me{alice},
                   timeout => 60 * $slow, %o);
}

# no two pieces of it are the same, and every byte is there
sub bytes {
    my ($n) = @_;
    my $block = join '', map { chr } 0 .. 255;
    my $text = join '', map { $block . pack 'N', $_ } 0 .. $n / 260;
    return substr $text, 0, $n;
}

sub rows {
    my ($where, @bind) = @_;
    return $t->sql('admin', "SELECT count(*) FROM trifecta.file WHERE $where",
                   @bind)->[0][0];
}

sub uuid { $_[0] =~ /^file-(\w{8})(\w{4})(\w{4})(\w{4})(\w{12})$/
               ? "$1-$2-$3-$4-$5" : die "no id of a file: $_[0]\n" }


# The object

my $first = upload('first.jsonl', "{}\n");
{
    my $now = time;
    my $file = $first->{json};

    is $first->{status}, 200, 'an upload is answered with the file'
        or diag $first->{content};
    like $file->{id}, qr/^file-[0-9a-f]{32}$/, 'id';
    ok abs($file->{created_at} - $now) < 60, 'created_at';
    is_deeply $file, { id => $file->{id}, object => 'file', bytes => 3,
        created_at => $file->{created_at}, filename => 'first.jsonl',
        purpose => 'batch', status => 'processed' }, 'and nothing else';

    my $res = $t->get("/v1/files/$file->{id}", token => $me{alice});
    is_deeply $res->{json}, $file, 'GET gives the same';
    is content($file->{id})->{content}, "{}\n", 'and its content';
}


# Bytes

for my $case ([0, 'empty'], [1, 'a_byte'], [$PIECE - 1, 'less_than_a_part'],
              [$PIECE, 'exactly_a_part'], [$PIECE + 1, 'more_than_a_part'],
              [9 * 1024 * 1024 + 17, 'more_than_8_MB'])
{
    my ($size, $what) = @$case;
    my $want = bytes($size);
    my $res = upload("$what.bin", $want);

    is $res->{status}, 200, "a file of $size bytes" or diag $res->{content};
    is $res->{json}{bytes}, $size, 'its size';

    my $got = content($res->{json}{id});
    is $got->{headers}{'content-length'}, $size, 'its length';
    is sha256_hex($got->{content}), sha256_hex($want),
        "${what}_comes_back_byte_for_byte";
    is $got->{headers}{'content-type'}, 'application/octet-stream', 'type';
    is $got->{headers}{'x-content-type-options'}, 'nosniff', 'no guessing';

    my $parts = $t->sql('admin', 'SELECT count(*), max(octet_length(body))'
        . ' FROM trifecta.file_part WHERE file = ?', uuid($res->{json}{id}));
    cmp_ok $parts->[0][1] // 0, '<=', 1024 * 1024, 'parts of bounded size';

    $t->request('DELETE', "/v1/files/$res->{json}{id}", token => $me{alice});
}

{
    my $want = "\r\n--XyZ-\r\n--Xy\0\r\r\n--XyZ"; # what looks like a boundary
    $want =~ s/--XyZ/--XyY/g;
    my $res = upload('like.bin', $want);
    is content($res->{json}{id})->{content}, $want,
        'content_that_looks_like_a_form_comes_back';
    $t->request('DELETE', "/v1/files/$res->{json}{id}", token => $me{alice});
}


# The bound of one file

{
    my $want = bytes($MAX);
    my $res = upload('max.bin', $want, token => $me{bob});

    is $res->{status}, 200, 'a_file_may_be_as_large_as_the_limit';
    is sha256_hex(content($res->{json}{id}, token => $me{bob})->{content}),
        sha256_hex($want), 'and comes back';
    $t->request('DELETE', "/v1/files/$res->{json}{id}", token => $me{bob});

    $res = upload('max1.bin', $want . 'x', token => $me{bob});
    is $res->{status}, 413, 'one_byte_more_is_refused';
    is $res->{code}, 'body_too_large', 'code';
    like $res->{json}{detail}, qr/larger than 12582912 bytes/, 'says how many';
    is rows("owner = 'test:bob'"), 0, 'and leaves nothing behind';

    my $length = $MAX + 65537;
    $res = $t->raw("POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $me{bob}\r\nContent-Type: multipart/form-data;"
        . " boundary=XyZ\r\nContent-Length: $length\r\n\r\n");
    is $res->{status}, 413, 'what_is_announced_too_large_is_not_waited_for';
}


# Forms

my @bad = (
    [form(purpose => 'batch'), 400, 'missing_field', 'file', 'no file'],
    [form(file => ['a', 'b']), 400, 'missing_field', 'purpose', 'no purpose'],
    [form(purpose => 'batch', file => 'b'), 400, 'invalid_value', 'file',
     'a file without a name'],
    [form(purpose => 'batch', file => ['a', 'b'], file => ['c', 'd']), 400,
     'invalid_value', 'file', 'two files'],
    [form(purpose => 'batch', purpose => 'batch', file => ['a', 'b']), 400,
     'invalid_value', 'purpose', 'two purposes'],
    [form(purpose => 'x' x 65, file => ['a', 'b']), 400, 'invalid_value',
     'purpose', 'a long purpose'],
    (map { [form(purpose => $_, file => ['a', 'b']), 400, 'invalid_value',
            'purpose', "purpose \"$_\""] }
     '', 'batc', 'batches', 'assistants', 'fine-tune', 'vision', 'user_data',
     'evals', 'batch_output', "batch\0"),
    (map { [form(purpose => 'batch', @$_, file => ['a', 'b']), 400,
            'invalid_value', 'expires_after', "expiry @$_"] }
     ['expires_after[seconds]' => 3600],
     ['expires_after[anchor]' => 'created_at'],
     ['expires_after[anchor]' => 'now', 'expires_after[seconds]' => 3600],
     map { ['expires_after[anchor]' => 'created_at',
            'expires_after[seconds]' => $_] } 3599, 2592001, -1, 'x', '',
     '99999999999999999999'),
    (map { [form(purpose => 'batch', file => [$_, 'b']), 400, 'invalid_value',
            'file', 'name ' . ($_ =~ s/[^ -~]/?/gr)] }
     '', ' ', '.', '..', 'dir/', 'a%0Ab', "a\xff", "a\xff.txt",
     "\xed\xa0\x80", 'n' x 256),
    ['--XyZ--', 400, 'missing_field', 'file', 'an empty form'],
    [form(purpose => 'batch', file => ['a', 'b']) =~ s/--XyZ--\r\n//r, 400,
     'invalid_value', undef, 'no end'],
    [form(purpose => 'batch', file => ['a', 'b']) =~ s/XyZ/XyA/gr, 400,
     'invalid_value', undef, 'another boundary'],
    [form(purpose => 'batch', file => ["a\tb", 'b']), 400, 'invalid_value',
     'file', 'a tab in the name'],
    [form(purpose => 'batch', file => ["a\x01b", 'b']), 400, 'invalid_value',
     undef, 'a control character in a header'],
    ['', 400, 'invalid_value', undef, 'no form'],
    ['{}', 400, 'invalid_value', undef, 'JSON'],
    [form(map { $_ => 1 } 'a' .. 'q'), 400, 'invalid_value', undef, 'parts'],
);

for my $case (@bad) {
    my ($body, $status, $code, $param, $what) = @$case;
    my $res = send_form($body, token => $me{bob});

    is_deeply [@{$res}{qw(status code)}, $res->{json}{error}{param}],
        [$status, $code, $param], "refused: $what" or diag $res->{content};
    ok length $res->{json}{detail}, 'and says why';
}

for my $type ('application/json', 'multipart/mixed; boundary=XyZ',
              'multipart/form-dat')
{
    my $res = send_form(form(purpose => 'batch', file => ['a', 'b']),
                        type => $type, token => $me{bob});
    is $res->{status}, 415, "refused: $type";
}

for my $type ('multipart/form-data', 'multipart/form-data; boundary=',
              'multipart/form-data; boundary=' . 'x' x 71)
{
    my $res = send_form(form(purpose => 'batch', file => ['a', 'b']),
                        type => $type, token => $me{bob});
    is $res->{status}, 400, "refused: $type";
}

{
    my $res = $t->raw("POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $me{bob}\r\nContent-Type: multipart/form-data;"
        . " boundary=XyZ\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    is $res->{status}, 411, 'a length must be told';

    is send_form(form(), token => 'x')->{status}, 401, 'a token is needed';
}

is rows("owner = 'test:bob'"), 0, 'what_is_refused_leaves_nothing_behind';

{
    my $res = send_form(form(other => 'x' x 100000, file => ['a', 'late'],
                             purpose => 'batch'), token => $me{bob});
    is $res->{status}, 200, 'parts_may_come_in_any_order_others_are_ignored'
        or diag $res->{content};
    is content($res->{json}{id}, token => $me{bob})->{content}, 'late',
        'and the file is taken';
}


# Names

for my $case (['with space.jsonl'], ['quoted%22name.jsonl', 'quoted"name.jsonl'],
              ['back\\"slash.jsonl', 'back"slash.jsonl'],
              ['Überfluß 世界 🙂.jsonl'], ['../../etc/passwd', 'passwd'],
              ['C:\\dir\\x.jsonl', 'x.jsonl'], ['<b>&amp;</b>', 'b>'],
              ['n' x 255], ["';DROP TABLE file;--"])
{
    my ($given, $want) = @$case;
    my $res = upload($given, 'x', token => $me{carol});
    is $res->{json}{filename}, $want // $given, 'a_name_is_kept_without_path'
        or diag $res->{content};
    is_deeply $t->get("/v1/files/$res->{json}{id}",
                      token => $me{carol})->{json}, $res->{json},
        'and found again';
    $t->request('DELETE', "/v1/files/$res->{json}{id}", token => $me{carol});
}


# Lists

{
    my @ids;
    for my $n (1 .. 5) {
        push @ids, upload("$n.jsonl", $n, token => $me{dave})->{json}{id};
        sleep 0.005;
    }

    my $list = sub {
        my ($args) = @_;
        my $res = $t->get('/v1/files' . ($args ? "?$args" : ''),
                          token => $me{dave});
        return $res;
    };
    my $ids = sub { [map { $_->{id} } @{ $list->($_[0])->{json}{data} }] };

    is_deeply $ids->(''), [reverse @ids], 'a_list_has_the_newest_first';
    is_deeply $ids->('order=asc'), \@ids, 'or the oldest';
    is_deeply $ids->('purpose=batch'), [reverse @ids], 'by purpose';
    is_deeply $ids->('purpose=batch_output'), [], 'of another purpose';

    my $page = $list->('limit=2')->{json};
    is_deeply [map { $_->{id} } @{ $page->{data} }], [@ids[4, 3]], 'a page';
    ok $page->{has_more}, 'has more';
    is $page->{first_id}, $ids[4], 'first_id';
    is $page->{last_id}, $ids[3], 'last_id';
    is_deeply $ids->("limit=2&after=$ids[3]"), [@ids[2, 1]], 'the next one';
    ok !$list->("after=$ids[1]")->{json}{has_more}, 'the last one';
    is_deeply $ids->("order=asc&after=$ids[1]"), [@ids[2 .. 4]], 'the other way';

    $t->request('DELETE', "/v1/files/$ids[3]", token => $me{dave});
    is_deeply $ids->("limit=2&after=$ids[3]"), [@ids[2, 1]],
        'a_file_that_is_gone_is_still_a_place_in_the_list';

    for my $args ('limit=0', 'limit=10001', 'limit=x', 'order=up', 'after=1',
                  'after=file-x', 'purpose=%00', 'purpose=%ff')
    {
        my $res = $list->($args);
        is $res->{status}, 400, "refused: $args";
        is $res->{code}, 'invalid_value', 'code';
    }

    my $empty = $t->get('/v1/files', token => $me{erin})->{json};
    is_deeply $empty, { object => 'list', data => [], first_id => undef,
        last_id => undef, has_more => JSON::PP::false }, 'an empty list';
}


# Others

for my $who (qw(bob acme)) {
    for my $route (['GET', ''], ['GET', '/content'], ['DELETE', '']) {
        my $path = "/v1/files/$first->{json}{id}$route->[1]";
        my $res = $t->request($route->[0], $path, token => $me{$who});
        my $none = $t->request($route->[0], $path =~ s/(file-\w{28})\w{4}/${1}ffff/r,
                               token => $me{$who});

        is $res->{status}, 404,
            "${who}_does_not_find_a_file_of_alice: @$route";
        is_deeply [@{ $res->{json} }{qw(title detail)}],
            [@{ $none->{json} }{qw(title detail)}], 'as if it never was';
    }

    my $res = $t->get('/v1/files?limit=100', token => $me{$who});
    ok !grep({ $_->{id} eq $first->{json}{id} } @{ $res->{json}{data} }),
        'nor in the list';
}

is content($first->{json}{id})->{content}, "{}\n", 'alice still has it';

for my $id ('x', 'file-', 'file_' . substr($first->{json}{id}, 5),
            uuid($first->{json}{id}), $first->{json}{id} . '0',
            'file-' . 'g' x 32)
{
    is $t->get("/v1/files/$id", token => $me{alice})->{status}, 404,
        "no id: $id";
}

is $t->request('PUT', "/v1/files/$first->{json}{id}")->{headers}{allow},
    'GET, DELETE', 'methods of a file';


# Deleted, expired, not whole, in use

{
    my $id = upload('gone.jsonl', 'gone')->{json}{id};
    my $uuid = uuid($id);
    my $batch = '01900000-0000-7000-8000-000000000001';

    $t->sql('admin', 'INSERT INTO trifecta.batch (id, tenant, owner, endpoint,'
        . " input, expires) VALUES (?, 'default', 'test:alice',"
        . " '/v1/responses', ?, now() + interval '1 day')", $batch, $uuid);

    my $res = $t->request('DELETE', "/v1/files/$id", token => $me{alice});
    is $res->{status}, 409, 'the_file_of_an_open_batch_is_not_deleted';
    is $res->{code}, 'conflict', 'code';
    is $res->{headers}{'x-should-retry'}, 'false', 'and not at once again';

    $t->sql('admin', "UPDATE trifecta.batch SET state = 'failed',"
        . ' ended = now() WHERE id = ?', $batch);

    $res = $t->request('DELETE', "/v1/files/$id", token => $me{alice});
    is_deeply $res->{json}, { id => $id, object => 'file',
        deleted => JSON::PP::true }, 'a file is deleted';

    is $t->get("/v1/files/$id", token => $me{alice})->{status}, 404,
        'a_deleted_file_is_gone';
    is content($id)->{status}, 404, 'and its content';
    is $t->request('DELETE', "/v1/files/$id", token => $me{alice})->{status},
        404, 'once';
    is $t->sql('admin', 'SELECT count(*) FROM trifecta.file_gone'
        . ' WHERE file = ?', $uuid)->[0][0], 1, 'its parts are to go';
}

{
    my $res = upload('short.jsonl', 'x', fields => {
        'expires_after[anchor]' => 'created_at',
        'expires_after[seconds]' => 3600 });
    my $file = $res->{json};

    is $file->{expires_at}, $file->{created_at} + 3600, 'expires_at'
        or diag $res->{content};

    $t->sql('admin', "UPDATE trifecta.file SET expires = now() WHERE id = ?",
            uuid($file->{id}));
    is $t->get("/v1/files/$file->{id}", token => $me{alice})->{status}, 404,
        'a_file_that_is_over_is_gone';
    is content($file->{id})->{status}, 404, 'and its content';
}

{
    my $id = upload('half.jsonl', 'x')->{json}{id};

    $t->sql('admin', 'UPDATE trifecta.file SET whole = false WHERE id = ?',
            uuid($id));
    is $t->get("/v1/files/$id", token => $me{alice})->{status}, 404,
        'nobody_is_shown_half_a_file';
    is content($id)->{status}, 404, 'nor its content';
    ok !grep({ $_->{id} eq $id } @{ $t->get('/v1/files',
        token => $me{alice})->{json}{data} }), 'nor in a list';
}


# Bounds of an owner

{
    my @ids = map { upload("$_.jsonl", 'x', token => $me{carol})->{json}{id} }
              1 .. 12;
    my $res = upload('more.jsonl', 'x', token => $me{carol});

    is $res->{status}, 403, 'an_owner_has_a_bounded_number_of_files'
        or diag $res->{content};
    is $res->{code}, 'too_many_files', 'code';
    like $res->{json}{detail}, qr/12 files/, 'says how many';
    is rows("owner = 'test:carol'"), 12, 'and leaves nothing behind';

    $t->request('DELETE', "/v1/files/$_", token => $me{carol})
        for @ids[0 .. 3];

    $t->sql('admin', 'UPDATE trifecta.file SET bytes = 41943036 WHERE id = ?',
            uuid($ids[4]));

    $res = upload('more.jsonl', 'xx', token => $me{carol});
    is $res->{code}, 'too_many_files', 'and_a_bounded_number_of_bytes';
    like $res->{json}{detail}, qr/41943040 bytes/, 'says how many';

    $t->sql('admin', 'UPDATE trifecta.file SET bytes = 41943031 WHERE id = ?',
            uuid($ids[4]));
    is upload('more.jsonl', 'xx', token => $me{carol})->{status}, 200,
        'up to the last one';
    is upload('more.jsonl', '', token => $me{carol})->{status}, 200,
        'an empty one has always room';
}


# A client that leaves

sub half {
    my ($name, $n, $sent) = @_;
    my $body = form(purpose => 'batch', file => [$name, bytes($n)]);
    my $sock = $t->socket;

    print {$sock} "POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $me{erin}\r\nContent-Type:"
        . ' multipart/form-data; boundary=XyZ' . "\r\nContent-Length: "
        . length($body) . "\r\n\r\n" . substr $body, 0, $sent // length $body;
    $sock->flush;

    return $sock;
}

{
    my $sock = half('mid.bin', 3_000_000, 1_500_000);
    sleep 0.5;
    is rows("owner = 'test:erin'"), 0, 'an upload on its way is no row yet';
    $sock->close(SSL_no_shutdown => 1);
    sleep 0.3;
    is rows("owner = 'test:erin'"), 0,
        'a_client_that_leaves_in_the_middle_leaves_nothing';
    ok !(grep { -f } glob "$t->{dir}/run/body/*"), 'no temporary file, too';

    is $t->get('/v1/files', token => $me{erin})->{status}, 200, 'all is well';
    $t->freeze('pg');
    $sock = half('left.bin', 3_000_000);
    sleep 1;
    $sock->close(SSL_no_shutdown => 1);
    sleep 0.3;
    $t->thaw('pg');

    ok $t->wait_for(sub { $t->sql('admin', 'SELECT count(*) FROM'
        . " trifecta.file_gone WHERE owner = 'test:erin'")->[0][0] == 1 }, 20),
        'a_client_that_leaves_while_it_is_written_leaves_nothing';
    is rows("owner = 'test:erin'"), 0, 'no file';
}


# Many at once: each waits for its turn, and so many wait

sub many {
    my ($count) = @_;
    my $one = form(purpose => 'batch', file => ['turn', 'x']);
    my @text = map {
        my $token = $t->token(sub => 'many' . $_ % 8);
        "POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
            . "Connection: close\r\nAuthorization: Bearer $token\r\n"
            . "Content-Type: multipart/form-data; boundary=XyZ\r\n"
            . 'Content-Length: ' . length($one) . "\r\n\r\n$one";
    } 0 .. $count - 1;

    # handshakes take longer than the store may be away
    my @socks = map { $t->socket or die "socket: $!\n" } @text;

    $t->freeze('pg');

    for my $n (0 .. $#socks) {
        print { $socks[$n] } $text[$n];
        $socks[$n]->flush;
    }

    sleep 0.3;
    $t->thaw('pg');

    my %status;
    for my $sock (@socks) {
        my $got = do { local $/; <$sock> } // '';
        my ($status) = $got =~ m{^HTTP/1.1 (\d+)};
        $status{ $status // 'none' }++;
        $status{retry}++ if $got =~ /^Retry-After: \d/mi;
    }

    return \%status;
}

is_deeply many(48), { 200 => 48 }, 'uploads_wait_for_their_turn';

$t->sql('admin', "DELETE FROM trifecta.file WHERE owner LIKE 'test:many%'");
$t->{opt}{workers} = 1;
$t->write_conf;
$t->reload;
sleep 0.5;          # the old workers accept a little longer
$t->get('/v1/files', token => $me{alice});      # it has met the store

is_deeply many(92), { 200 => 80, 503 => 12, retry => 12 },
    'sixty_four_wait_and_the_others_are_told_to_come_back';


# A client that reads slowly, or not at all

sub socket_to {
    my ($port) = @_;
    socket my $fh, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
    setsockopt $fh, SOL_SOCKET, SO_RCVBUF, pack 'i', 4096;
    connect $fh, pack_sockaddr_in($port, inet_aton('127.0.0.1'))
        or die "connect: $!\n";
    $fh->autoflush(1);
    return $fh;
}

sub rss {
    my $sum = 0;
    for my $pid ($t->workers) {
        open my $fh, '<', "/proc/$pid/status" or next;
        /^VmRSS:\s+(\d+)/ and $sum += $1 while <$fh>;
    }
    return $sum;
}

{
    my $want = bytes(9_000_000);
    my $id = upload('slow.bin', $want, token => $me{dave})->{json}{id};
    my $get = "GET /v1/files/$id/content HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $me{dave}\r\nConnection: close\r\n\r\n";

    content($id, token => $me{dave});
    my $before = rss();
    my @socks = map { socket_to($plain) } 1 .. 10;
    print {$_} $get for @socks;
    sleep 2;
    my $grown = rss() - $before;
    cmp_ok $grown, '<', $slow > 1 ? 80_000 : 16_000,
        'ten_readers_that_stand_still_cost_little';
    close $_ for @socks[1 .. 9];

    my $got = '';
    while (sysread $socks[0], my $piece, 65536) {
        $got .= $piece;
        sleep 0.01 if length $got < 500_000;
    }
    my (undef, $body) = split /\r\n\r\n/, $got, 2;
    is sha256_hex($body), sha256_hex($want), 'a_slow_reader_gets_every_byte';

    my $sock = socket_to($brisk);
    print {$sock} $get;
    ok $t->wait_for(sub { $t->read_file("$t->{dir}/log/error.log")
        =~ /took nothing of a file for too long/ }, 10 * $slow),
        'a_reader_that_takes_nothing_is_left';
    close $sock;

    # with a length, whatever the client could unpack

    $sock = socket_to($plain);
    print {$sock} $get =~ s/(?=Connection)/Accept-Encoding: gzip\r\n/r;
    $got = do { local $/; <$sock> };
    (my $head, $body) = split /\r\n\r\n/, $got, 2;
    unlike $head, qr/^Content-Encoding/mi, 'a_content_is_not_compressed';
    like $head, qr/^Content-Length: 9000000\r?$/mi, 'it has its length';
    ok $body eq $want, 'and its bytes';

    # the store is away for a while in the middle

    $sock = socket_to($plain);
    print {$sock} $get;
    $got = '';
    sysread $sock, $got, 4096, length $got while length $got < 100_000;
    $t->freeze('pg');
    sysread $sock, $got, 65536, length $got
        while IO::Select->new($sock)->can_read(1);
    sleep 6;    # a query has 5 s
    $t->thaw('pg');
    1 while sysread $sock, $got, 65536, length $got;
    (undef, $body) = split /\r\n\r\n/, $got, 2;
    is sha256_hex($body), sha256_hex($want),
        'a_part_is_asked_for_again_when_the_store_was_away';

    # it goes away for good: the client sees that bytes are missing

    $sock = socket_to($plain);
    print {$sock} $get;
    $got = '';
    sysread $sock, $got, 4096, length $got while length $got < 100_000;
    $t->stop('pg');
    1 while sysread $sock, $got, 65536, length $got;
    (undef, $body) = split /\r\n\r\n/, $got, 2;
    cmp_ok length $body, '<', length $want,
        'a_content_that_is_cut_is_shorter_than_announced';
    is $body, substr($want, 0, length $body), 'but right so far';
}


# PostgreSQL is away

for my $case (sub { upload('away.jsonl', 'x') },
              sub { $t->get('/v1/files', token => $me{alice}) },
              sub { $t->get("/v1/files/$first->{json}{id}",
                            token => $me{alice}) },
              sub { content($first->{json}{id}) },
              sub { $t->request('DELETE', "/v1/files/$first->{json}{id}",
                                token => $me{alice}) })
{
    my $res = $case->();
    is $res->{status}, 503, 'without_the_store_it_is_503';
    is $res->{code}, 'store_unavailable', 'code';
    ok $res->{headers}{'retry-after'}, 'and says when to come back';
}

$t->start('pg');

ok $t->wait_for(sub { $t->get("/v1/files/$first->{json}{id}",
    token => $me{alice})->{status} == 200 }, 20 * $slow),
    'it_goes_on_when_the_store_is_back';
is upload('back.jsonl', 'x', token => $me{bob})->{status}, 200, 'and uploads';

{
    $t->freeze('pg');
    my $res = upload('frozen.jsonl', 'x', token => $me{bob});
    is $res->{status}, 503, 'a_store_that_does_not_answer_is_503';
    cmp_ok $res->{time}, '<', 25, 'in bounded time';
    $t->thaw('pg');
}


# Uploads are counted

$t->{opt}{trifecta}{trifecta_limit} = 'name=few key=user rate=1r/d';
$t->write_conf;
$t->reload;
sleep 0.5;          # the old workers accept a little longer

{
    my $token = $t->token(sub => 'frank');
    my @got = map { upload("$_.jsonl", 'x', token => $token) } 1 .. 2;
    is_deeply [map { $_->{status} } @got], [200, 429],
        'an_upload_is_a_request_that_trifecta_limit_counts';
    is $got[1]{code}, 'rate_limit_exceeded', 'code';
    is $t->get('/v1/files', token => $token)->{status}, 200,
        'and to look at files is none';
}

$t->finish;
done_testing;
