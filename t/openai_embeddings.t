# Vectors of texts in the OpenAI shape: as numbers and in base64, from the
# model that is asked for; what is refused, and that nothing is left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0, workers => 1);
my $slow = $t->slow;
my $E = '/v1/embeddings';

sub vectors {
    my ($c) = @_;
    my $i = 0;
    $c->answer(200, { data => [map { { index => $i++,
        embedding => [length $_, 1, 0, 0] } } @{ $c->{json}{input} }],
        usage => { prompt_tokens => 3 * @{ $c->{json}{input} } } });
}

my $server = Trifecta::Test::ModelServer->new($t,
    small => \&vectors,
    wide => sub {
        my ($c) = @_;
        my ($i, $v) = (0, '[' . join(',', (1) x 4000) . ']');
        $c->answer(200, '{"data":[' . join(',', map { '{"index":' . $i++
            . ",\"embedding\":$v}" } @{ $c->{json}{input} }) . ']}');
    },
    slow => sub { sleep 30 },
    broken => sub { $_[0]->answer(400, { error => { message => 'no' } }) },
);

my $conf = '';
$conf .= "[$_]\nprovider = openai\nkind = embedding\nbase_url = "
    . $server->url . "/v1\ndimensions = 4\nbatch = 4\n\n"
    for qw(small slow broken);
$conf .= "[wide]\nprovider = openai\nkind = embedding\nbase_url = "
    . $server->url . "/v1\ndimensions = 4000\n\n";
$t->write_file($t->dir . '/models.conf', $conf);
$t->{opt}{sidecar}{models} = $t->dir . '/models.conf';
$t->write_conf;
$t->start_all;

sub embed {
    my ($body, %o) = @_;
    return $t->post($E, { model => 'small', %$body }, timeout => 30 * $slow,
                    %o);
}

sub unit {
    my ($n) = @_;
    my $l = sqrt($n * $n + 1);
    return [map { sprintf '%.5f', $_ } $n / $l, 1 / $l, 0, 0];
}

sub same { [map { sprintf '%.5f', $_ } @{ $_[0] }] }


{
    my $res = embed({ input => ['aaa', 'b', 'cc', 'dddd', 'eeeee'] });
    is $res->{status}, 200, 'vectors of texts';
    my $o = $res->{json};
    is_deeply [@$o{qw(object model)}], ['list', 'small'], 'a list, of a model';
    is_deeply [map { $_->{index} } @{ $o->{data} }], [0 .. 4], 'in order';
    is_deeply [map { same($_->{embedding}) } @{ $o->{data} }],
        [map { unit($_) } 3, 1, 2, 4, 5], 'each_text_has_its_vector';
    is $o->{data}[0]{object}, 'embedding', 'object';
    is_deeply $o->{usage}, { prompt_tokens => 15, total_tokens => 15 },
        'usage';

    my $coded = embed({ input => 'aaa', encoding_format => 'base64' })
        ->{json}{data}[0]{embedding};
    is_deeply same([unpack 'f<4', decode_base64($coded)]), unit(3),
        'base64_is_the_same_numbers';
    is embed({ input => 'x', encoding_format => 'float', dimensions => 4,
               user => 'u' })->{status}, 200, 'what changes nothing';
}

{
    ok $t->wait_for(sub { $t->sql('queue', 'SELECT count(*) FROM trifecta.job'
        . " WHERE kind = 'embeddings' AND deleted IS NULL")->[0][0] == 0 },
        10), 'nothing_is_left_of_them';
    my %key = (headers => { 'Idempotency-Key' => 'k' });
    my $one = embed({ input => 'again' }, %key);
    my $two = embed({ input => 'again' }, %key);
    is_deeply $two->{json}, $one->{json},
        'but with an Idempotency-Key they can be had again';
    is scalar(grep { "@{ $_->{json}{input} }" eq 'again' }
              $server->requests('small')), 1, 'without asking the model twice';
    is_deeply $t->get('/api/v1/queries')->{json}{data}, [],
        'they_are_no_questions';
}

{
    my %key = (headers => { 'Idempotency-Key' => 'no-response' });
    is embed({ input => 'kept' }, %key)->{status}, 200, 'a job that is kept';
    my ($id) = map { tr/-//dr } $t->sql('queue', 'SELECT id FROM trifecta.job'
        . " WHERE kind = 'embeddings' AND request->'input' = '[\"kept\"]'")
        ->[0][0];
    is $t->get("/v1/responses/resp_$id$_->[0]")->{status}, 404,
        "vectors_are_no_response: $_->[1]"
        for ['', 'read'], ['?stream=true', 'streamed'],
            ['/input_items', 'its input'];
}

for my $case (
    [{}, 400, 'missing_field', 'input'],
    [{ input => '' }, 400, 'invalid_value', 'input'],
    [{ input => [] }, 400, 'invalid_value', 'input'],
    [{ input => [1, 2] }, 400, 'invalid_value', 'input'],
    [{ input => ['x', ''] }, 400, 'invalid_value', 'input'],
    [{ input => [('x') x 2049] }, 400, 'invalid_value', 'input'],
    [{ input => 'x' x 1048577 }, 400, 'invalid_value', 'input'],
    [{ input => 'x', encoding_format => 'hex' }, 400, 'invalid_value',
     'encoding_format'],
    [{ input => 'x', dimensions => 0 }, 400, 'invalid_value', 'dimensions'],
    [{ input => 'x', dimensions => 5 }, 400, 'invalid_value', '-'],
    [{ input => 'x', model => 'none' }, 404, 'model_not_found', 'model'],
    [{ input => 'x', model => 'extractive' }, 404, 'model_not_found',
     'model'],
    [{ input => 'x', model => undef }, 400, 'invalid_value', 'model'],
    [{ input => [('x') x 263], model => 'wide' }, 400, 'invalid_value', '-'],
    [{ input => [('x') x 33], model => 'wide' }, 400, 'invalid_value', '-'],
    [{ input => 'x', model => 'broken' }, 400, 'invalid_value', '-'],
) {
    my ($body, @want) = @$case;
    my $res = embed($body);
    is_deeply [$res->{status}, $res->{code},
               $res->{json}{error}{param} // '-'], \@want, 'refused: '
        . substr(JSON::PP->new->canonical->encode($body), 0, 60)
        or diag $res->{content};
}

{
    my $all = [('x') x 33];
    like embed({ input => $all, model => 'wide' })->{json}{error}{message},
        qr/"encoding_format": "base64", or send at most 32 texts/,
        'more_than_131072_numbers_are_not_drawn_as_text';
    is scalar(grep { @{ $_->{json}{input} } > 1 } $server->requests('wide')),
        0, 'nor made';
    my $res = embed({ input => $all, model => 'wide',
                      encoding_format => 'base64' });
    is_deeply [map { length decode_base64($_->{embedding}) }
               @{ $res->{json}{data} }], [(16000) x 33],
        'in_base64_they_are';
    is scalar @{ embed({ input => [('x') x 32], model => 'wide' })
                 ->{json}{data} }, 32, 'as many as can be are drawn';
}

# What is stored is not trusted, either.

{
    my %key = (headers => { 'Idempotency-Key' => 'stored' });
    my $nan = encode_base64(pack('f<4', 1, 'nan', 0, 0), '');
    my $many = encode_base64("\0" x 4 x 131073, '');
    is embed({ input => 'stored' }, %key)->{status}, 200, 'stored';
    for my $case (
        [qq(["$nan"]), 503, 'store_unavailable', 'NaN_is_not_drawn'],
        [qq(["$many"]), 400, 'invalid_value', 'nor_too_much'],
        ['["AAAA', 503, 'store_unavailable', 'nor_what_is_cut'],
        ['[1]', 503, 'store_unavailable', 'nor_what_is_no_vector'],
    ) {
        my ($body, @want) = @$case;
        my $name = pop @want;
        $t->sql('admin', 'UPDATE trifecta.job_result SET body = ? WHERE job = '
            . "(SELECT id FROM trifecta.job WHERE kind = 'embeddings' AND "
            . 'deleted IS NULL ORDER BY accepted DESC LIMIT 1)', $body);
        my $res = embed({ input => 'stored' }, %key);
        is_deeply [@$res{qw(status code)}], \@want, $name;
    }
}

{
    my $text = '{"model":"slow","input":"x"}';
    my $sock = $t->socket;
    print {$sock} "POST $E HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
        . 'Bearer ' . $t->token . "\r\nContent-Type: application/json\r\n"
        . 'Content-Length: ' . length($text) . "\r\n\r\n$text";
    ok $t->wait_for(sub { $server->requests('slow') }, 10), 'a slow model';
    my $left = time;
    $sock->close;
    ok $t->wait_for(sub { $t->redis('ZCARD', '{trifecta:0}:live') == 0 }, 15),
        'who_leaves_cancels';
    cmp_ok time - $left, '<', 5 * $slow, 'soon';
}

$t->finish;
done_testing;
