# W3C Trace Context: from the client's header through the job to the log of
# the sidecar that ran it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(
    trifecta => { trifecta_models => 'test extractive' },
    http => "log_format trace '\$trifecta_trace_id';\n"
          . "    access_log log/trace.log trace;\n",
    locations => "location /echo/ {\n"
        . "    trifecta_auth on;\n"
        . "    add_header X-Sent \$trifecta_traceparent;\n"
        . "    try_files /none =204;\n}\n");
my $P = '{trifecta:0}';
my $TRACE = '0af7651916cd43dd8448eb211c80319c';
my $GOOD = "00-$TRACE-b7ad6b7169203331-01";
my $OURS = qr/^00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])$/;

sub with { my ($value) = @_; return (headers => { traceparent => $value }) }


my $res = $t->post('/api/v1/query', { query => 'say=hi', model => 'test' },
                   with($GOOD));
is $res->{status}, 202, 'accepted';
my ($trace, $span, $flags) = ($res->{headers}{traceparent} // '') =~ $OURS;
is $trace, $TRACE, 'a_trace_of_the_client_is_continued';
isnt $span, 'b7ad6b7169203331', 'with_a_span_of_our_own';
is $flags, '01', 'and its flag';
is $t->redis('HGET', "$P:j:$res->{json}{query_id}", 'trace'),
    $res->{headers}{traceparent}, 'the_job_keeps_what_the_answer_said';

my $second = $t->post('/api/v1/query', { query => 'say=hi', model => 'test' },
                      with($GOOD));
like $second->{headers}{traceparent}, qr/^00-$TRACE-(?!$span)/,
    'each_request_is_a_span_of_its_own';

$res = $t->post('/api/v1/query', { query => 'say=hi', model => 'test' });
like $res->{headers}{traceparent}, $OURS, 'a_new_trace_begins_without_one';
like $res->{headers}{traceparent}, qr/-00$/, 'which nobody asked to record';
my $got = $t->get("/api/v1/query/$res->{json}{query_id}");
isnt $got->{headers}{traceparent}, $res->{headers}{traceparent},
    'a GET has its own';

for my $bad ("ff-$TRACE-b7ad6b7169203331-01", uc $GOOD, "$GOOD-x", "$GOOD,",
             substr($GOOD, 0, 54), "00-" . '0' x 32 . "-b7ad6b7169203331-01",
             "00-$TRACE-" . '0' x 16 . '-01', 'nonsense', 'x' x 4000)
{
    $res = $t->get('/api/v1/nothing', with($bad));
    my $h = $res->{headers}{traceparent} // '';
    ok $h =~ $OURS && $1 ne $TRACE,
        'a_wrong_header_begins_a_new_trace: ' . substr $bad, 0, 60;
}

my $raw = "GET /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\n"
    . "Authorization: Bearer " . $t->token . "\r\nConnection: close\r\n"
    . "Traceparent: $GOOD\r\n";
like $t->raw("$raw\r\n")->{headers}{traceparent}, qr/^00-$TRACE-/,
    'the name is not case-sensitive';
unlike $t->raw("${raw}traceparent: $GOOD\r\n\r\n")->{headers}{traceparent},
    qr/$TRACE/, 'two_headers_are_none';

like $t->get('/api/v1/query', with($GOOD), token => 'bad')->{headers}
    {traceparent}, qr/^00-$TRACE-/, 'a refusal has it, too';
like $t->get('/echo/', with($GOOD))->{headers}{'x-sent'}, qr/^00-$TRACE-/,
    'a_protected_location_can_send_it_on';


# through the job into the sidecar's log

$res = $t->post('/api/v1/query', { query => 'fail=1', model => 'test' },
                with($GOOD));
my $end = $t->wait_for_answer($res->{json}{query_id});
is $end->{status}, 'failed', 'a job that leaves a line in the log';

my ($line) = grep { ($_->{trace_id} // '') eq $TRACE }
    map { eval { JSON::PP->new->decode($_) } || () }
    split /\n/, $t->log_of('sidecar', 0);
ok $line, 'a_line_of_the_sidecar_names_the_trace';
is $line->{job}, $end->{query_id}, 'and the job';

ok $t->wait_for(sub { $t->log_of('trace') =~ /^$TRACE$/m }, 5),
    'the_access_log_has_the_trace';
unlike $t->log_of('trace'), qr/[^0-9a-f\n]/, 'and nothing that was refused';


# jobs of before: no trace, or a damaged one

for my $text ('', 'damaged "x"', '00-zz') {
    my $id = sprintf '01990000-0000-7000-8000-%012x', 1 + length $text;
    $t->redis('FCALL', 'trifecta_submit_v1', 1, $P, id => $id, tenant => 't',
        owner => 'o', groups => '[]', scopes => '[]', kind => 'query',
        model => 'test', prio => 1, payload => '{"query":"say=x"}',
        request_id => 'r', fp => 'f', limit => 60000, max => 100,
        tmax => 100, length $text ? (trace => $text) : ());
    ok $t->wait_for(sub { $t->redis('HGET', "$P:j:$id", 'state')
                          eq 'succeeded' }, 10),
        "a_job_runs_without_a_trace: \"$text\"";
}

$t->finish;
done_testing;
