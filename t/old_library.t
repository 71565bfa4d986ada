# A sidecar that is newer than the function library in Redis, because nobody has
# run "trifecta migrate" yet: an earlier library ends one job a call.  Jobs end
# all the same, and the log says what to do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, models => 'test',
                            sidecar => { threads => 16 });
$t->start_all;

my %library = @{ $t->redis('FUNCTION', 'LIST', 'LIBRARYNAME', 'trifecta_v1',
                           'WITHCODE')->[0] };
my $code = $library{library_code};
ok $code =~ s/(local function finish\(keys, args\)\n)/$1    args = { unpack(args, 1, 4) }\n/,
    'finish can be made as it was';
$t->redis('FUNCTION', 'LOAD', 'REPLACE', $code);

my @ids = map { $t->post('/api/v1/query', { query => "sleep=300 say=$_",
    model => 'test' })->{json}{query_id} } 1 .. 48;
is_deeply [grep { $_->{status} ne 'succeeded' }
           map { $t->wait_for_answer($_) } @ids], [],
    'with_an_earlier_library_jobs_end';
ok $t->wait_for(sub { !$t->not_idle(0) }, 20), 'and leave the queue';

my $log = $t->log_of('sidecar', 0);
is scalar(() = $log =~ /of an earlier release; run .?"trifecta migrate/g), 1,
    'it_is_said_once';
unlike $log, qr/the queue is not available/, 'and_the_queue_is_not_given_up';

$t->finish;
done_testing;
