# A sidecar that is newer than the function library in Redis, because nobody has
# run "trifecta migrate" yet: an earlier library ends one job a call, or cannot
# say what of the accept log is due.  Jobs end all the same, and the log says
# what to do.

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
my $now = $code;
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


# What begins stays in the accept log, and nobody says what is due

$code = $now;
ok $code =~ s/^register\('due'.*\n//m
   && $code =~ s/^ +entries_go\(P \.\. ':acc', written, 'l'\)\n//m,
    'the accept log can be as it was';
$t->stop('sidecar');
$t->redis('FUNCTION', 'LOAD', 'REPLACE', $code);
$t->start('sidecar');

@ids = map { $t->post('/api/v1/query', { query => "sleep=300 say=$_",
    model => 'test' })->{json}{query_id} } 1 .. 48;
is $t->post('/api/v1/query', { query => 'say=durable', model => 'test' },
    headers => { Prefer => 'durable' })->{headers}{'preference-applied'},
    'durable', 'a durable one is';
is_deeply [grep { $_->{status} ne 'succeeded' }
           map { $t->wait_for_answer($_) } @ids], [],
    'with_a_library_that_knows_nothing_of_what_is_due_jobs_end';
ok $t->wait_for(sub { !$t->not_idle(0) }, 20), 'and leave the accept log';
is scalar(() = $t->log_of('sidecar', 0)
          =~ /what of its accept log is due.*run .?"trifecta migrate/g), 1,
    'that_is_said_once';
unlike $t->log_of('sidecar', 0), qr/the queue is not available/,
    'and_no_reason_to_give_up_either';

# until it is loaded again
$t->redis('FUNCTION', 'LOAD', 'REPLACE', $now);
is $t->ask_and_wait('say=now', model => 'test')->{status}, 'succeeded',
    'nor is a library that comes meanwhile';

$t->finish;
done_testing;
