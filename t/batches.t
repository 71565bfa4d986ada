# A batch from end to end: a file of requests goes up, its lines become jobs,
# and the answers come down as files, each request once, whatever became of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;
use Trifecta::Test::ModelServer;

my $t = Trifecta::Test->new(start => 0, workers => 1);
my $slow = $t->slow;
my $json = JSON::PP->new->canonical;

my $server = Trifecta::Test::ModelServer->new($t, small => sub {
    my ($c) = @_;
    my $i = 0;
    $c->answer(200, { data => [map { { index => $i++,
        embedding => [length $_, 0, 0, 0] } } @{ $c->{json}{input} }],
        usage => { prompt_tokens => 5 } });
});

$t->write_file($t->dir . '/models.conf', "[small]\nprovider = openai\n"
    . 'kind = embedding' . "\nbase_url = " . $server->url . "/v1\n"
    . "dimensions = 4\n");
$t->{opt}{sidecar}{models} = $t->dir . '/models.conf';
$t->write_conf;
$t->start_all;

sub upload {
    my ($text) = @_;
    my $body = join '', map { "--B\r\nContent-Disposition: form-data; "
        . "name=\"$_->[0]\"$_->[2]\r\n\r\n$_->[1]\r\n" }
        ['purpose', 'batch', ''],
        ['file', $text, "; filename=\"requests.jsonl\""];
    my $res = $t->post('/v1/files', undef, body => "$body--B--\r\n", headers =>
        { 'Content-Type' => 'multipart/form-data; boundary=B' });
    is $res->{status}, 200, 'a file goes up' or diag $res->{content};
    return $res->{json}{id};
}

sub line {
    my ($url, $id, $body) = @_;
    return $json->encode({ custom_id => $id, method => 'POST', url => $url,
                           body => $body }) . "\n";
}

sub batch {
    my ($endpoint, @lines) = @_;
    my $res = $t->post('/v1/batches', { input_file_id => upload(join '', map {
        line($endpoint, @$_) } @lines), endpoint => $endpoint,
        completion_window => '24h' });
    is $res->{status}, 200, "a batch of $endpoint" or diag $res->{content};
    return $res->{json}{id};
}

sub ended {
    my ($id) = @_;
    my $b;
    $t->wait_for(sub { $b = $t->get("/v1/batches/$id")->{json};
        ($b->{status} || '') =~ /^(completed|failed|expired|cancelled)$/ },
        60 * $slow);
    return $b;
}

# What a question to the model "test" said.

sub said { $_[0] =~ s/^pid=\d+ attempt=\d+ //r }

# The lines of a file by their custom_id, and how many there are.

sub content {
    my ($file) = @_;
    return ({}, 0) if !$file;
    my $res = $t->get("/v1/files/$file/content", timeout => 60 * $slow);
    is $res->{status}, 200, 'a file comes down' or diag $res->{content};
    my @lines = map { $json->decode($_) } split /\n/, $res->{content};
    return ({ map { $_->{custom_id} => $_ } @lines }, scalar @lines);
}


# Responses: answered, failed, refused

my %say = map { ("q$_" => { model => 'test', input => "say=this is $_",
                            metadata => { n => "$_" } }) } 1 .. 200;
my $id = batch('/v1/responses', (map { [$_, $say{$_}] } sort keys %say),
    ['fails', { model => 'test', input => 'fail=1' }],
    ['nobody', { model => 'nobody', input => 'x' }],
    ['streams', { model => 'test', input => 'x', stream => JSON::PP::true }]);
my $b = ended($id);

is $b->{status}, 'completed', 'it is completed';
is_deeply $b->{request_counts}, { total => 203, completed => 200,
    failed => 3 }, 'each line has ended';
cmp_ok $b->{completed_at}, '>=', $b->{finalizing_at}, 'one after the other';

my ($out, $n) = content($b->{output_file_id});
is $n, 200, 'an answer for each request';
is_deeply [sort keys %$out], [sort keys %say], 'each once';
is_deeply [grep { said($out->{$_}{response}{body}{output}[-1]{content}[0]
                       {text}) ne $say{$_}{input} =~ s/say=//r } keys %say], [],
    'and the answer of that request';
is $out->{q7}{response}{body}{metadata}{n}, 7, 'with its metadata';
is_deeply $t->get('/v1/responses/' . $out->{q7}{response}{body}{id})->{json},
    $out->{q7}{response}{body}, 'a line is a response like any other';

my ($err) = content($b->{error_file_id});
is_deeply { map { $_ => $err->{$_}{response}{status_code} } keys %$err },
    { fails => 200, nobody => 404, streams => 400 }, 'the others are errors';
is $err->{nobody}{error}{code}, 'model_not_found', 'with their codes';
is $err->{streams}{error}{param}, 'stream', 'and members';
is $err->{fails}{response}{body}{status}, 'failed', 'or as they failed';

my $file = $t->get("/v1/files/$b->{output_file_id}")->{json};
is_deeply [@$file{qw(object purpose)}], ['file', 'batch_output'],
    'the answers are a file';


# Chats and vectors

$b = ended(batch('/v1/chat/completions', map { [$_, { model => 'test',
    messages => [{ role => 'user', content => "say=$_" }] }] } 'a' .. 'e'));
($out) = content($b->{output_file_id});
is_deeply { map { $_ => said($out->{$_}{response}{body}{choices}[0]{message}
                             {content}) } keys %$out },
    { map { $_ => $_ } 'a' .. 'e' }, 'chat completions';

$b = ended(batch('/v1/embeddings', map { [$_, { model => 'small',
    input => $_ }] } 'a' .. 'e'));
($out) = content($b->{output_file_id});
is_deeply { map { $_ => $out->{$_}{response}{body}{data}[0]{embedding} }
            keys %$out }, { map { $_ => [1, 0, 0, 0] } 'a' .. 'e' }, 'vectors';
is $b->{usage}{input_tokens}, 25, 'what they cost is added up';


# Cancelled: what was answered is there, the rest says why not

$id = batch('/v1/responses', map { ["s$_", { model => 'test',
    input => 'sleep=300 say=slow' }] } 1 .. 200);
$t->wait_for(sub { ($t->get("/v1/batches/$id")->{json}{request_counts}
                    {completed} || 0) > 0 }, 30 * $slow);
is $t->post("/v1/batches/$id/cancel", '')->{json}{status}, 'cancelling',
    'it is cancelled';
$b = ended($id);
is $b->{status}, 'cancelled', 'and then it is';
is $b->{request_counts}{completed} + $b->{request_counts}{failed}, 200,
    'with each line';
($out) = content($b->{output_file_id});
($err) = content($b->{error_file_id});
is keys(%$out) + keys(%$err), 200, 'in one of the files';
is_deeply [grep { $out->{$_} } keys %$err], [], 'and not in both';
is_deeply [grep { !$err->{$_}{error}{code} } keys %$err], [],
    'each error has its code';

$t->finish;
done_testing;
