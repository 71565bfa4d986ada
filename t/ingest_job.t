# Ingest as a job: the files wait in the store with the job's row, a sidecar
# reads them, whoever polls sees how far it is, and nothing is done twice or
# left out, whoever dies in between.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 2, sidecar => { threads => 4,
    lease => '2s', heartbeat => '300ms' });
my $dir = $t->dir . '/in';
my $MANY = 1200;
my @mine = ('--owner', 'test:alice');

mkdir $dir;

sub put { my ($name, $text) = @_; $t->write_file("$dir/$name", $text) }

sub queue { return $t->run('ingest', '--queue', @mine, @_) }

sub queued {
    my ($status, $out, $err) = queue('--no-wait', @_);
    is $status, 0, "submitted: @_" or diag "$out$err";
    return $out =~ /^([0-9a-f-]{36})$/m ? $1 : die "no id: $out$err";
}

sub ended {
    my ($id) = @_;
    return $t->wait_for_answer($id, timeout => 60 * $t->slow);
}

sub count { $t->sql('admin', "SELECT count(*) FROM trifecta.$_[0]")->[0][0] }

# Documents of a collection: source, and its number of passages.

sub documents {
    my ($collection) = @_;
    return $t->sql('admin', 'SELECT d.source, (SELECT count(*) FROM'
        . ' trifecta.chunk c WHERE c.document = d.id) FROM trifecta.document d'
        . ' JOIN trifecta.collection c ON c.id = d.collection'
        . ' WHERE c.name = ? ORDER BY d.source', $collection);
}


# One command, to the end

put("f$_.md", "# Heron $_\n\nThe heron number $_ stands in the pond $_.\n")
    for 1 .. 5;
put('bad.txt', "text\0text");
put('picture.png', "\x89PNG\r\n\x1a\n");
mkdir "$dir/pack";
$t->write_file("$dir/pack/in$_.txt", "The otter number $_ swims.\n")
    for 1 .. 3;
system('tar', '-C', $dir, '-czf', "$dir/otters.tgz", 'pack') == 0 or die;
unlink glob "$dir/pack/*";
rmdir "$dir/pack";

my ($status, $out, $err) = queue('--collection', 'birds', '--meta',
                                 'kind=heron', $dir);
is $status, 4, 'done, and something was skipped' or diag "$out$err";
my ($id) = $out =~ /^([0-9a-f-]{36})$/m;
like $out, qr/8 files: 8 new, 0 changed, 0 unchanged/, 'counts';
like $out, qr/^skipped bad\.txt: \S.*NUL/m,
    'a_bad_file_is_named_with_its_reason_and_skipped';
like $err, qr/^(?:queued|running) \Q$id\E: \d+ of 7 files$/m,
    'without a terminal there are plain lines';
is scalar @{ documents('birds') }, 8, 'all documents are there';
ok((grep { $_->[0] eq 'otters.tgz/pack/in2.txt' } @{ documents('birds') }),
   'those of an archive by their path in it');

my $end = $t->result($id)->{json};
is $end->{status}, 'succeeded', 'its owner polls it like any job';
is_deeply [@{ $end->{usage} }{qw(files new unchanged skipped)}], [8, 8, 0, 1],
    'the_result_has_the_counts';
like $end->{response}, qr/^skipped bad\.txt: /m, 'and what was skipped';
is $t->get("/api/v1/query/$id", token => $t->token(sub => 'bob'))->{status},
    404, 'nobody else sees it';

my $answer = $t->ask_and_wait('Where does the heron number 3 stand?',
                              body => { filters => { kind => 'heron' } },
                              timeout => 30 * $t->slow);
like $answer->{response}, qr/pond 3/, 'what was ingested answers questions';


# Again, and changed

($status, $out) = queue('--collection', 'birds', '--meta', 'kind=heron', $dir);
like $out, qr/0 new, 0 changed, 8 unchanged; 0 chunks written/,
    'unchanged_files_are_known_by_their_hash';

put('f2.md', "# Heron 2\n\nThe heron number 2 sleeps.\n");
($status, $out) = queue('--collection', 'birds', '--meta', 'kind=heron', $dir);
like $out, qr/0 new, 1 changed, 7 unchanged/, 'a changed one is read';


# Files of jobs that ended go

ok $t->wait_for(sub { !count('document_blob') && !count('document_file') },
                100 * $t->slow), 'files_of_jobs_that_ended_are_removed';

my $failed = queued('--collection', 'birds', '--meta', 'kind=heron', $dir);
ended($failed);
$t->sql('admin', "UPDATE trifecta.job SET state = 'failed' WHERE id = ?",
        $failed);

if (count('document_file')) {
    is $t->sql('queue', 'SELECT trifecta.prune_files(10)')->[0][0], 0,
        'those_of_a_failed_job_stay_for_a_repetition';
    ($status, $out) = $t->run('jobs', 'retry', $failed);
    is $status, 0, 'which can be asked for';
    my ($again) = $out =~ /([0-9a-f-]{36})/;
    is ended($again)->{usage}{unchanged}, 8,
        'a_repetition_finds_by_the_hash_what_is_there';
}

$t->sql('admin', "UPDATE trifecta.job SET finished = now() - interval '25 h'"
    . ' WHERE id = ?', $failed);
$t->sql('queue', 'SELECT trifecta.prune_files(10)') for 1 .. 3;
is count('document_file'), 0, 'for a day';
(undef, $out) = $t->run('jobs', 'retry', $failed);
is ended($out =~ /([0-9a-f-]{36})/)->{error}{code}, 'files_gone',
    'after_that_the_repetition_says_that_the_files_are_gone';


# Nobody else sees the files

$t->stop('sidecar', $_) for 0, 1;

my $waiting = queued('--collection', 'later', $dir);
my $rag = $t->dbh('rag');

for my $row (['test:alice', 7], ['test:bob', 0]) {
    $rag->begin_work;
    $rag->do("SELECT set_config('trifecta.tenant', 'default', true),"
        . " set_config('trifecta.owner', ?, true),"
        . " set_config('trifecta.groups', '[]', true)", undef, $row->[0]);
    is(($rag->selectrow_array('SELECT count(*) FROM trifecta.document_file'))
       [0], $row->[1], "row_level_security_of_files: $row->[0]");
    $rag->rollback;
}

is $t->result($waiting)->{json}{status}, 'queued', 'it waits for a sidecar';
is $t->sql('admin', 'SELECT sum(octet_length(body)) FROM'
    . ' trifecta.document_blob')->[0][0],
    $t->sql('admin', 'SELECT sum(bytes) FROM trifecta.document_file')
    ->[0][0], 'the_files_are_stored_with_the_row_before_anybody_reads_them';

# The command died before Redis heard of it: what a sidecar finds.

my $P = '{trifecta:0}';
$t->redis('DEL', "$P:j:$waiting");
$t->redis('ZREM', "$P:live", $waiting);
$t->redis('ZREM', "$P:t:default:$_", $waiting) for qw(live ready);
$t->redis('XTRIM', "$P:r:2", 'MAXLEN', 0);
$t->start('sidecar', $_) for 0, 1;
is ended($waiting)->{status}, 'succeeded',
    'a_job_that_redis_never_heard_of_is_put_there_by_a_sidecar';


# Several at once, progress, cancel, and a worker that dies

my $many = $t->dir . '/many';
mkdir $many;
my $text = join "\n\n", map { "The heron $_ stands still in the water and"
    . " waits for the fish number $_ of the pond." } 1 .. 120;
$t->write_file(sprintf("%s/m%04d.md", $many, $_), "# Number $_\n\n$text\n")
    for 1 .. $MANY;

my @both = map { queued('--collection', "side$_", $dir) } 1, 2;
is_deeply [map { ended($_)->{status} } @both], [('succeeded') x 2],
    'several at once';

# A job writes up to 256 documents at once, and looks for a cancel behind them.
# However busy the machine is, these take 2.5 seconds from here on, and all of
# them 12.

$t->sql('admin', 'CREATE FUNCTION public.slowly() RETURNS trigger LANGUAGE '
    . 'plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$');
$t->sql('admin', 'CREATE TRIGGER slowly AFTER INSERT ON trifecta.job_step '
    . 'FOR EACH ROW EXECUTE FUNCTION public.slowly()');

my $long = queued('--collection', 'many', $many);
my %seen;
$t->wait_for(sub {
    my $res = $t->result($long);
    my $p = $res->{json}{progress};
    $seen{ $p->{done} } = $p->{total} if $p;
    return grep({ $_ > 0 && $_ < $MANY } keys %seen)
           || $res->{json}{status} !~ /queued|running/;
}, 60 * $t->slow);
ok((grep { $_ > 0 && $_ < $MANY && $seen{$_} == $MANY } keys %seen),
   'a_poll_shows_how_far_it_is') or diag explain \%seen;

my ($worker) = $t->redis('HGET', "$P:j:$long", 'worker');
my ($n) = grep { my $pid = $t->proc('sidecar', $_)->pid; $worker =~ /\b$pid\b/ }
    0, 1;
ok defined $n, "who does it ($worker)" or $n = 0;
$t->kill('sidecar', $n);
$t->sql('admin', 'ALTER TABLE trifecta.job_step DISABLE TRIGGER slowly');

my $before = count("job_step WHERE job = '$long'");
cmp_ok $before, '>', 0, 'some files are done when it is killed';
cmp_ok $before, '<', $MANY, 'and others are not';

$end = ended($long);
is $end->{status}, 'succeeded', 'another sidecar goes on';
is_deeply [@{ $end->{usage} }{qw(files new changed unchanged)}],
    [$MANY, $MANY, 0, 0],
    'it_goes_on_behind_the_last_file_and_the_counts_are_those_of_both';
is count("job_step WHERE job = '$long'"), $MANY, 'a step for each file';
my $rows = documents('many');
is scalar @$rows, $MANY, 'all documents are there, none twice';
my %chunks = map { $_->[1] => 1 } @$rows;
is scalar keys %chunks, 1, 'and each has all of its passages, none twice';
$t->start('sidecar', $n);

$t->wait_for(sub { $t->get('/api/v1/queries')->{status} == 200 }, 10);
$t->sql('admin', 'ALTER TABLE trifecta.job_step ENABLE TRIGGER slowly');
my $stopped = queued('--collection', 'stopped', $many);
$t->wait_for(sub { count("job_step WHERE job = '$stopped'") > 0 },
             60 * $t->slow);
is $t->post("/api/v1/query/$stopped/cancel", {})->{status}, 200, 'cancelled';
is ended($stopped)->{status}, 'cancelled', 'it stops';
my $done = @{ documents('stopped') };
ok $done > 0 && $done < $MANY,
    "a_cancel_works_between_files ($done of $MANY)";
is count("job_step WHERE job = '$stopped'"), $done,
    'what was done is done, with its step';


# Wrong use

for my $args (['--no-wait', $dir], ['--queue', '--delete', $dir],
              ['--queue', '--text', "$dir/f1.md"])
{
    is(($t->run('ingest', @$args))[0], 2, "wrong use: @$args[0 .. 1]");
}

is((queue($t->dir . '/nowhere'))[0], 1, 'nothing to send');
($status, undef, $err) = queue('--limit', 'file=10', "$dir/f1.md");
is $status, 1, 'a file beyond the limit is not sent';
like $err, qr/f1\.md: it is too large \(limit file=10\); split/, 'by name';

$t->finish;
done_testing;
