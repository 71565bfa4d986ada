# Batches at the edge, without a sidecar: what a file of requests must be, which
# rows are made of it, and what its owner is told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0, workers => 1,
    trifecta => { trifecta_batch_lines => 2000 });
my $slow = $t->slow;
my $B = '/v1/batches';
my $json = JSON::PP->new->canonical;
my $me = $t->token(sub => 'ada');
my $other = $t->token(sub => 'bob');


# The rows that an upload makes, cut into parts of so many bytes.

sub upload {
    my ($text, %o) = @_;
    my $id = $t->sql('admin', 'SELECT gen_random_uuid()')->[0][0];
    my $cut = $o{cut} || 1048576;
    my $n = 0;

    $t->sql('admin', 'INSERT INTO trifecta.file (id, tenant, owner, name,'
        . ' purpose, bytes, whole, expires) VALUES (?, ?, ?, ?, ?, ?, ?,'
        . ' now() + ?::interval)', $id, 'default', $o{owner} || 'test:ada',
        'requests.jsonl', $o{purpose} || 'batch', length $text,
        $o{whole} // 1, $o{expires});

    while (length $text) {
        my $sth = $t->dbh('admin')->prepare('INSERT INTO trifecta.file_part'
            . ' (file, part, tenant, owner, body) VALUES (?, ?, ?, ?,'
            . " decode(?, 'hex'))");
        $sth->execute($id, $n++, 'default', $o{owner} || 'test:ada',
                      unpack 'H*', substr($text, 0, $cut, ''));
    }

    return 'file-' . ($id =~ tr/-//dr);
}

sub line {
    my ($id, $body, %o) = @_;
    return $json->encode({ custom_id => $id, method => 'POST',
        url => '/v1/responses', body => $body || { input => "Question $id?" },
        %o }) . "\n";
}

sub without {
    my ($line, $name) = @_;
    my $o = $json->decode($line);
    delete $o->{$name};
    return $json->encode($o) . "\n";
}

sub create {
    my ($file, %o) = @_;
    my $token = delete $o{token} || $me;
    return $t->post($B, { input_file_id => $file, endpoint => '/v1/responses',
        completion_window => '24h', %o }, token => $token);
}

sub get {
    my ($id, $token) = @_;
    return $t->get("$B/$id", token => $token || $me);
}

sub uuid { $_[0] =~ s/^(?:batch_|file-)//r =~
           s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/r }

sub rows {
    my ($id, $columns, $more) = @_;
    return $t->sql('admin', "SELECT $columns FROM trifecta.batch_line"
        . ' WHERE batch = ? ' . ($more || '') . ' ORDER BY n', uuid($id));
}

# The batch once its file was checked.

sub checked {
    my ($id) = @_;
    my $res;
    $t->wait_for(sub { $res = get($id);     # the store may still be away
                       $res->{status} == 200
                       && $res->{json}{status} ne 'validating' },
                 60 * $slow);
    return $res->{json};
}

sub errors {
    my ($text, %o) = @_;
    my $res = create(upload($text, cut => $o{cut}), %{ $o{create} || {} });
    my $b = checked($res->{json}{id});
    return ($b, [map { [@$_{qw(line code param)}] }
                 @{ $b->{errors}{data} || [] }]);
}


# A good file

my $good = join '', map { line("r$_") } 1 .. 2000;
my $file = upload($good, cut => 999);
my $res = create($file, metadata => { run => 'nightly' },
    output_expires_after => { anchor => 'created_at', seconds => 7200 });

is $res->{status}, 200, 'a batch is made';
like $res->{json}{id}, qr/^batch_[0-9a-f]{32}$/, 'with an id';
is $res->{json}{status}, 'validating', 'and answered before it was checked';
is_deeply [@{ $res->{json} }{qw(object endpoint input_file_id
    completion_window model errors output_file_id error_file_id metadata
    completed_at failed_at)}],
    ['batch', '/v1/responses', $file, '24h', undef, undef, undef, undef,
     { run => 'nightly' }, undef, undef], 'it is as it was asked for';
cmp_ok $res->{json}{expires_at} - $res->{json}{created_at}, '==', 86400,
    'it has a day';

my $batch = checked($res->{json}{id});
is $batch->{status}, 'in_progress', 'a file of 2000 lines in small parts goes';
is_deeply $batch->{request_counts},
    { total => 2000, completed => 0, failed => 0 }, 'all of them count';
is $batch->{model}, 'extractive', 'the model of all lines is that of the batch';
ok $batch->{in_progress_at}, 'and it has begun';
is_deeply $t->sql('admin', 'SELECT count(*), count(DISTINCT custom_id),'
        . ' min(n), max(n), count(request), count(error) FROM'
        . ' trifecta.batch_line WHERE batch = ?', uuid($batch->{id})),
    [[2000, 2000, 1, 2000, 2000, 0]], 'a row for each line';
is $t->sql('admin', 'SELECT output_expires_after FROM trifecta.batch'
        . ' WHERE id = ?', uuid($batch->{id}))->[0][0], 7200, 'how long the files are kept is noted';

is_deeply $json->decode(rows($batch->{id}, 'request', 'AND n = 7')->[0][0]),
    { query => 'Question r7?', model => 'extractive',
      openai => { shape => 'response' } },
    'a line asks what the body alone would ask';


# Who may

is get($batch->{id}, $other)->{status}, 404, 'a batch of another is not there';
is $t->post("$B/$batch->{id}/cancel", '', token => $other)->{status}, 404,
    'and cannot be cancelled';
is create($file, token => $other)->{status}, 404,
    'a file of another is not there';
is $t->get("$B/$_", token => $me)->{status}, 404, "$_ is no batch"
    for 'batch_1', 'batch_' . '0' x 32, 'resp_' . substr $batch->{id}, 6;

for (['a file that is not whole', 404, whole => 0],
     ['a file whose time is over', 404, expires => '-1 second'],
     ['a file with another purpose', 400, purpose => 'batch_output'])
{
    my ($name, $status, %o) = @$_;
    $res = create(upload($good, %o));
    is_deeply [$res->{status}, $res->{json}{error}{param}],
        [$status, 'input_file_id'], "$name is no input";
}


# Members of the body

for (['input_file_id', undef, 400, 'missing_field'],
     ['endpoint', undef, 400, 'missing_field'],
     ['completion_window', undef, 400, 'missing_field'],
     ['input_file_id', 7, 400, 'invalid_value'],
     ['input_file_id', 'file-7', 404, 'not_found'],
     ['input_file_id', 'file-' . 'g' x 32, 404, 'not_found'],
     ['input_file_id', 'file-' . '0' x 32, 404, 'not_found'],
     ['endpoint', '/v1/completions', 400, 'invalid_value'],
     ['completion_window', '48h', 400, 'invalid_value'],
     ['metadata', { a => 1 }, 400, 'invalid_value'],
     ['output_expires_after', { anchor => 'created_at', seconds => 1 },
      400, 'invalid_value'],
     ['output_expires_after', { seconds => 7200 }, 400, 'invalid_value'])
{
    my ($name, $value, $status, $code) = @$_;
    $res = create($file, $name => $value);
    is_deeply [$res->{status}, $res->{code}, $res->{json}{error}{param} =~
               /^\Q$name\E/ ? 1 : 0], [$status, $code, 1],
        "$name: " . ($value ? $json->allow_nonref->encode($value) : 'nothing')
        . ' is refused';
}

is $t->post($B, '[', token => $me)->{code}, 'invalid_json', 'no JSON';
is $t->post($B, '{}', token => undef)->{status}, 401, 'no token';


# The form of the file

my @forms = (
    ['{"custom_id": "x"', 'invalid_json_line', undef],
    ['[1]', 'invalid_json_line', undef],
    ['{"custom_id": "x", "custom_id": "y"}', 'invalid_json_line', undef],
    [without(line('x'), 'custom_id'), 'missing_required_parameter',
     'custom_id'],
    [line(''), 'invalid_value', 'custom_id'],
    [line('i' x 513), 'invalid_value', 'custom_id'],
    [line(7, undef, custom_id => 7), 'invalid_value', 'custom_id'],
    [line('first'), 'duplicate_custom_id', 'custom_id'],
    [without(line('x1'), 'method'), 'missing_required_parameter', 'method'],
    [line('x2', undef, method => 'GET'), 'invalid_method', 'method'],
    [without(line('x3'), 'url'), 'missing_required_parameter', 'url'],
    [line('x4', undef, url => '/v1/embeddings'), 'invalid_url', 'url'],
    [without(line('x5'), 'body'), 'missing_required_parameter', 'body'],
    [line('x6', undef, body => 'text'), 'invalid_value', 'body'],
    [line('x7', { input => 'a' x 1048577 }), 'line_too_long', undef],
);

my $wrong = line('first') . "\n" . join '', map { $_->[0] =~ s/\n?$/\r\n/r }
            @forms;
my ($b, $errors) = errors($wrong . line('last'));

is $b->{status}, 'failed', 'a file with mistakes is no batch';
ok $b->{failed_at}, 'since when is told';
is_deeply $errors, [map { [$_ + 3, @{ $forms[$_] }[1, 2]] } 0 .. $#forms],
    'each mistake has its line' or diag explain $errors;
is $b->{errors}{object}, 'list', 'they are a list';
is $t->sql('admin', 'SELECT count(*) FROM trifecta.job')->[0][0], 0,
    'nothing is run';

(undef, my $again) = errors($wrong . line('last'), cut => 262144);
is_deeply $again, $errors, 'however the file is cut';

($b, $errors) = errors("\r\n \n\n");
is_deeply $errors, [[undef, 'empty_file', 'input_file_id']], 'an empty file';

($b, $errors) = errors($good . line('more'));
is_deeply $errors, [[2001, 'too_many_tasks', undef]], 'one line too many';

($b, $errors) = errors('nothing' . "\n" x 2 . "{}\n" x 200);
is @$errors, 100, 'a hundred mistakes are told of';

($b, $errors) = errors(line('a') . line('b') =~ s/\n$//r);
is_deeply [$b->{status}, $b->{request_counts}{total}], ['in_progress', 2],
    'the last line needs no end';


# What an endpoint refuses is an error of that line only

my $long = 'x' x 512;
my @refused = (
    [{ input => '' }, 400, 'invalid_value', 'input'],
    [{ input => 'a', model => 'nobody' }, 404, 'model_not_found', 'model'],
    [{ }, 400, 'missing_field', 'input'],
    [{ input => 'a', stream => JSON::PP::true }, 400, 'invalid_value',
     'stream'],
    [{ input => 'a', background => JSON::PP::true }, 400, 'invalid_value',
     'background'],
    [{ input => 'a', webhook_url => 'https://a.example/' }, 400,
     'invalid_value', 'webhook_url'],
    [{ input => 'a', temperature => 3 }, 400, 'invalid_value', 'temperature'],
    [{ input => 'a', previous_response_id => 'resp_' . '0' x 32 }, 404,
     'not_found', 'previous_response_id'],
);
my $n = 0;
$b = checked(create(upload(line($long) . join '', map { line('no' . $n++,
    $_->[0]) } @refused))->{json}{id});

is_deeply [@$b{qw(status errors model)}, $b->{request_counts}{total}],
    ['in_progress', undef, 'extractive', 1 + @refused],
    'bodies that are refused are no mistakes of the file';
is_deeply [map { [$_->[0], $_->[1],
        @{ $json->decode($_->[2]) }{qw(code param)}, $_->[3]] }
        @{ rows($b->{id}, 'custom_id, status, error, request',
                'AND error IS NOT NULL') }],
    [map { ["no$_", @{ $refused[$_] }[1, 2, 3], undef] } 0 .. $#refused],
    'each line has the answer that the body alone would get';
is rows($b->{id}, 'n', 'AND request IS NOT NULL')->[0][0], 1,
    'and the others are to be run';

for (['/v1/chat/completions', { model => 'extractive',
          messages => [{ role => 'user', content => 'Hm?' }] },
      { query => 'Hm?', model => 'extractive', openai => { shape => 'chat' } }],
     ['/v1/embeddings', { model => 'small', input => 'word' },
      { input => ['word'], openai => { shape => 'embeddings',
                                       base64 => JSON::PP::false } }])
{
    my ($url, $body, $want) = @$_;
    $b = checked(create(upload(line('one', $body, url => $url)),
                        endpoint => $url)->{json}{id});
    is_deeply $json->decode(rows($b->{id}, 'request')->[0][0]), $want,
        "lines of $url";
}

$b = checked(create(upload(line('a') . line('b', { input => 'x',
    conversation => 'new' })))->{json}{id});
like $json->decode(rows($b->{id}, 'request', 'AND n = 2')->[0][0])
    ->{conversation_id}, qr/^conv_[0-9a-f]{32}$/, 'a new conversation has an id';


# The list

my @all = map { $_->{id} } @{ $t->get("$B?limit=100", token => $me)->{json}
                              {data} };
my (@seen, $after);
for my $page (1 .. 20) {
    my $list = $t->get("$B?limit=3" . ($after ? "&after=$after" : ''),
                       token => $me)->{json};
    push @seen, map { $_->{id} } @{ $list->{data} };
    is_deeply [@$list{qw(object first_id last_id)}],
        ['list', map { $list->{data}[$_]{id} } 0, -1], "page $page"
        if $page == 1;
    last if !$list->{has_more};
    $after = $list->{last_id};
}
cmp_ok scalar @all, '>', 9, 'the list has them';
is_deeply \@seen, \@all, 'page by page, newest first';
is_deeply [reverse sort @all], \@all, 'by their time';
is_deeply $t->get($B, token => $other)->{json},
    { object => 'list', data => [], first_id => undef, last_id => undef,
      has_more => JSON::PP::false }, 'somebody else has none';
is $t->get("$B?$_", token => $me)->{code}, 'invalid_value', "$_ is refused"
    for qw(limit=0 limit=101 limit=x after=x after=batch_1);


# Cancel

$res = $t->post("$B/$batch->{id}/cancel", '', token => $me);
is_deeply [$res->{status}, $res->{json}{status}], [200, 'cancelling'],
    'a batch that runs is cancelled';
ok $res->{json}{cancelling_at}, 'since when is told';
is $t->post("$B/$batch->{id}/cancel", '', token => $me)->{status}, 200,
    'twice is the same';
$t->sql('admin', "UPDATE trifecta.batch SET state = 'completed', ended = now()"
    . ' WHERE id = ?', uuid($batch->{id}));
is $t->post("$B/$batch->{id}/cancel", '', token => $me)->{status}, 409,
    'one that has ended is not';

# Rows can only be written when the lock has gone: until then it is checked.

sub locked {
    my ($what) = @_;
    my $dbh = $t->dbh('admin');
    $dbh->begin_work;
    $dbh->do('LOCK TABLE trifecta.batch_line IN EXCLUSIVE MODE');
    my $id = create($file)->{json}{id};
    sleep 0.5;
    $what->($id);
    eval { $dbh->commit };      # unless the store has gone
    return $id;
}

my $during;
my $id = locked(sub { $during = get($_[0])->{json}{status} });
is $during, 'validating', 'while rows are not written it is checked';
is checked($id)->{status}, 'in_progress', 'a store that is slow only delays';

$id = create($file)->{json}{id};
$res = $t->post("$B/$id/cancel", '', token => $me);
ok $res->{json}{status} =~ /^cancell(ed|ing)$/, 'a batch is cancelled at once';
sleep 1 * $slow;
is get($id)->{json}{status}, $res->{json}{status},
    'and its check does not bring it back';


# A reload; and the death of the worker

$id = locked(sub { $t->reload });
is checked($id)->{status}, 'in_progress',
    'a worker that leaves checks to the end';
is $t->sql('admin', 'SELECT count(*) FROM trifecta.batch_line'
    . ' WHERE batch = ?', uuid($id))->[0][0], 2000, 'with all lines';

$t->expect_log(qr/exited on signal 9/);
$id = locked(sub {
    kill 'KILL', $t->workers;
});
sleep 1;
$t->wait_for(sub { (eval { get($id)->{status} } || 0) == 200 }, 20 * $slow);
is get($id)->{json}{status}, 'validating',
    'a worker that dies leaves the batch to the sidecars';
is checked(create($file)->{json}{id})->{status}, 'in_progress',
    'and the next one checks';


# A store that is away for a while

$id = locked(sub { $t->kill('pg') });
$t->start('pg');
is checked($id)->{status}, 'in_progress',
    'a store that comes back finds the check going on';
is $t->sql('admin', 'SELECT count(*) FROM trifecta.batch_line'
    . ' WHERE batch = ?', uuid($id))->[0][0], 2000, 'no line twice, none lost';


# How many

$t->sql('admin', 'INSERT INTO trifecta.batch (id, tenant, owner, endpoint,'
    . " input, expires) SELECT gen_random_uuid(), 'default', 'test:ada',"
    . " '/v1/responses', gen_random_uuid(), now() + '1 day'"
    . ' FROM generate_series(1, 100)');
$res = create($file);
is_deeply [$res->{status}, $res->{code}], [429, 'tenant_queue_full'],
    'batches that have not ended are bounded';
is create(upload($good, owner => 'test:bob'), token => $other)->{status}, 200,
    'for each owner';

$t->{opt}{trifecta}{trifecta_limit} = 'name=few key=user rate=1r/d';
$t->write_conf;
$t->reload;
sleep 0.5;          # the old worker accepts a little longer
my @status = map { create(upload('x', owner => 'test:cyd'),
    token => $t->token(sub => 'cyd'))->{status} } 1 .. 3;
is $status[0], 200, 'a batch is a request';
is $status[2], 429, 'that trifecta_limit counts' or diag "@status";

$t->finish;
done_testing;
