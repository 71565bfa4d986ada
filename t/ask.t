# The manual answers questions about itself: "trifecta ask" on docs/, through
# nginx, the queue, a sidecar and both stores.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Encode qw(encode);
use JSON::PP;
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new;
my $manual = $t->root . '/docs';

my ($status, $out, $err) = $t->run('ingest', $manual);
is($status, 0, 'the manual is ingested') or diag "$out$err";
unlike($err, qr/^skipped/m, 'all of it');

for (['What is the default of trifecta_max_jobs?', qr/10000/],
     ['Which file formats can be ingested?', qr/Markdown/],
     ['What does status 410 mean for a job?', qr/gone/],
     ['What happens when Redis is down?', qr/queue_unavailable/],
     ['How do I remove documents?', qr/--delete/])
{
    my ($question, $want) = @$_;

    ($status, $out, $err) = $t->run('ask', $question);
    is($status, 0, $question) or diag $err;
    like($out, $want, 'answer');
    like($out, qr/\.md/, 'with its source');

    ($status, $out, $err) = $t->run('ask', '--json', $question);
    my $end = eval { JSON::PP->new->utf8->decode($out) };
    ok($end && @{ $end->{citations} }, 'as JSON') or diag "$out$err";

    my $body = encode('UTF-8', $end->{response} // '');
    my @bad = grep {
        my $text = $t->read_file("$manual/$_->{source}");
        my $quote = substr $text, $_->{start}, $_->{end} - $_->{start};
        $body !~ /\Q$quote\E\s\[$_->{n}\]/;
    } @{ $end->{citations} };
    is(scalar @bad, 0, 'every citation is the bytes of its file');
}

($status, $out) = $t->run('ask', 'Who wrote the play about Hamlet?');
is($status, 0, 'an honest answer is an answer');
like($out, qr/did not find/, 'that says so');

$t->finish;
done_testing;
