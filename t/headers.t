# Header lines as nginx' lists have them, which differ between its versions:
# what a client sends in the last place is found, what the module sets can be
# read by others (variables, filters).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Trifecta::Test;

# not Cache-Control: nginx keeps its own, and "no-store" must not be something
# that a directive such as "expires" replaces
my @names = qw(x_request_id traceparent location retry_after etag
               content_type x_none);
my $t = Trifecta::Test->new(
    http => 'log_format h escape=none "' . join('|', map { "\$sent_http_$_" } @names)
            . "\";\n    access_log log/headers.log h;\n",
    server => 'add_header X-Also "$sent_http_x_request_id" always;');

my $Q = '/api/v1/query';
my $token = $t->token;
my $traceparent = '00-' . '1a' x 16 . '-' . '2b' x 8 . '-01';


# Sent: nginx' list of header lines comes in parts of 20

sub asked {
    my (@last) = @_;
    my $body = '{"query": "hello"}';

    return $t->raw(join("\r\n", "POST $Q HTTP/1.1", 'Host: localhost',
        'Connection: close', 'Content-Type: application/json',
        'Content-Length: ' . length $body,
        map({ "X-Filler-$_: " . 'f' x 40 } 1 .. 65), @last, '', $body));
}

my $res = asked("traceparent: $traceparent", "Authorization: Bearer $token",
                'Idempotency-Key: k1');
is $res->{status}, 202, 'a_line_in_the_last_place_is_found' or diag $res->{raw};
like $res->{headers}{traceparent}, qr/^00-(1a){16}-/, 'each of them';
my $id = $res->{json}{query_id};

$res = asked("Authorization: Bearer $token", 'Idempotency-Key: k1');
is $res->{json}{query_id}, $id, 'the key, too';

$res = $t->raw(join "\r\n", "GET $Q/$id HTTP/1.1", 'Host: localhost',
    'Connection: close', "Authorization: Bearer $token",
    "traceparent: $traceparent",
    map({ "X-Filler-$_: f" } 1 .. 65), "traceparent: $traceparent", '', '');
is $res->{status}, 200, 'a line twice, far apart';
unlike $res->{headers}{traceparent}, qr/^00-(1a){16}-/,
    'a_line_that_is_twice_is_seen_to_be';

$res = $t->raw(join "\r\n", "GET $Q/$id HTTP/1.1", 'Host: localhost',
    'Connection: close', "Authorization: Bearer $token",
    map({ "X-Filler-$_: f" } 1 .. 65), "Authorization: Bearer $token", '', '');
isnt $res->{status}, 200, 'two tokens are none';


# Answered

$t->wait_for_answer($id);
my %seen;

for my $n (1 .. 40) {
    for my $try (['POST', $Q, json => { query => 'hello' }],
                 ['GET', "$Q/$id"], ['GET', "$Q/none"], ['PUT', $Q])
    {
        my ($method, $path, @more) = @$try;
        my $res = $t->request($method, $path, keep_alive => 1, @more);
        my $id = $res->{headers}{'x-request-id'} // '';

        $seen{$id} = { map { my $name = $_; $name =~ tr/_/-/;
                             ($_ => $res->{headers}{$name}) } @names };
        is $res->{headers}{'x-also'}, $id, "$method: a header in a header"
            if $n == 1 || ($res->{headers}{'x-also'} // '') ne $id;
    }
}

is scalar(keys %seen), 160, 'all of them were answered';

my $find = sub {
    my %line = map { (split /\|/)[0] => $_ } split /\n/, $t->log_of("headers");
    return [map { $line{$_} // "no line for $_" } sort keys %seen];
};
$t->wait_for(sub { !grep { /^no line/ } @{ $find->() } }, 5);

is_deeply $find->(),
    [map { my $h = $seen{$_}; join '|', map { $_ // '' } @$h{@names} }
     sort keys %seen],
    'whatever_the_module_sets_is_a_variable_of_others';

$t->finish;
done_testing;
