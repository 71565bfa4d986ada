# Ingest as a job, beyond one folder that is read: its limits, what it removes,
# several of them over the same documents, and what a cancel or a kill leaves.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;
use Trifecta::Test::Documents qw(gz pdf tar zip);

my $t = Trifecta::Test->new(sidecars => 2, sidecar => { threads => 4,
    lease => '2s', heartbeat => '300ms' });
my $dir = $t->dir . '/in';
my @mine = ('--owner', 'test:alice');
my $id;

sub folder {
    my ($name, %files) = @_;
    mkdir $dir;
    mkdir "$dir/$name";
    $t->write_file("$dir/$name/$_", $files{$_}) for sort keys %files;
    return "$dir/$name";
}

sub direct { $t->run('ingest', @mine, @_) }
sub queue { $t->run('ingest', '--queue', @mine, @_) }
sub count { $t->sql('admin', "SELECT count(*) FROM trifecta.$_[0]")->[0][0] }

sub queued {
    my ($status, $out, $err) = queue('--no-wait', @_);
    is $status, 0, "submitted: @_" or diag "$out$err";
    return $out =~ /^([0-9a-f-]{36})$/m ? $1 : die "no id: $out$err";
}

sub ended { $t->wait_for_answer($_[0], timeout => 60 * $t->slow) }

# Documents of a collection, and the chunks of each.

sub documents {
    my ($collection) = @_;
    return { map { $_->[0] => $_->[1] } @{ $t->sql('admin',
        'SELECT d.source, (SELECT count(*) FROM trifecta.chunk c WHERE'
        . ' c.document = d.id) FROM trifecta.document d JOIN'
        . ' trifecta.collection c ON c.id = d.collection WHERE c.name = ?',
        $collection) } };
}

sub sources { [sort keys %{ documents(@_) }] }


# Limits: what is just within is read, what is just beyond is not even stored

my $some = folder('some', map { ("f$_.txt" => 'The owl sat.' . "\n") } 1 .. 5);

for (['files=5', 'files=4'], ['total=65', 'total=64']) {
    my ($at, $over) = @$_;
    my ($name) = $at =~ /^(\w+)/;

    my ($status, $out) = queue('--collection', $name, '--limit', $at, $some);
    is $status, 0, "$name: a job at its limit is done";
    like $out, qr/^5 files: 5 new/m, '  all of it';

    my @before = map { count($_) } qw(job document_file document_blob);
    ($status, $out, my $err) = queue('--collection', $name, '--limit', $over,
                                     $some);
    is $status, 1, "$name: one_more_than_the_limit_is_refused";
    like $err, qr/some: too much for one job \(limit $over\); name its folders/,
        '  by the name of the limit, and what helps';
    cmp_ok count($_), '<=', shift @before, "  nothing is stored: $_"
        for qw(job document_file document_blob);
}

my $pack = zip({ name => 'owl.md', data => "# Owl\n\nThe owl hoots.\n" });
my $packed = folder('packed', 'pack.zip' => $pack, 'plain.md' => "Plain.\n");
my $n = length $pack;
my ($status, $out, $err) = queue('--limit', "archive=$n", $packed);
is $status, 0, 'an archive at its limit is read';
is_deeply sources('packed'), ['pack.zip/owl.md', 'plain.md'], '  with its files';
$n--;
($status, $out, $err) = queue('--limit', "archive=$n", $packed);
is $status, 4, 'a_larger_one_is_skipped';
like $err, qr/pack\.zip: it is too large \(limit archive=$n\); unpack it, or/,
    '  by the name of the limit';

$t->{opt}{sidecar}{ingest_limits} = 'files=3';
$t->write_conf;
like +(queue($some))[2], qr/limit files=3/, 'the_configuration_has_them_too';
delete $t->{opt}{sidecar}{ingest_limits};
$t->write_conf;


# Hostile files end no job, and nothing of them is stored

my $hostile = folder('hostile', 'good.md' => "# Good\n\nThe good wren.\n",
    'bomb.zip' => zip({ name => 'a.txt', data => 'a' x 8388608 }),
    'bomb.tgz' => gz(tar({ name => 'a.txt', data => 'a' x 8388608 })),
    'laughs.xml' => '<!DOCTYPE x [<!ENTITY a "haha"><!ENTITY b "&a;&a;">]>'
        . '<x>&b;</x>',
    'pages.pdf' => pdf([map { ["Page $_"] } 1 .. 20]),
    'program.txt' => "\x7fELF\2\1\1" . "\0" x 100,
    'line.md' => 'x' x 2097152,
    'path.tar' => tar({ name => '../up.md', data => 'x' }));

$id = queued('--collection', 'hostile', '--limit', 'pages=10', $hostile);
my $last = ended($id);
is $last->{status}, 'succeeded', 'a_job_ends_whatever_its_files_are';
for (['bomb.zip', qr/\(limit ratio=200\)/], ['bomb.tgz', qr/limit ratio=200/],
     ['laughs.xml', qr/declares entities/], ['pages.pdf', qr/limit pages=10/],
     ['program.txt', qr/looks like a program/], ['line.md', qr/limit line=1m/],
     ['path.tar', qr/leads out/])
{
    my ($name, $why) = @$_;
    like $last->{response}, qr/^skipped \Q$name\E\S*: .*$why/m,
        "a_hostile_file_of_a_job_is_skipped_by_name: $name";
}
is_deeply sources('hostile'), ['good.md'], 'only the good one is there';


# --delete, as without --queue

sub grow {
    my ($name) = @_;
    return folder($name, map({ ("$_.md" => "# Bird $_\n\nThe bird $_.\n") }
                             qw(stays goes grows)),
        'note' => "<!doctype html><title>N</title><p>The note.\n",
        'bag.zip' => zip(map { { name => "$_.md", data => "The sack $_.\n" } }
                         qw(in out fat)));
}

sub shrink {
    my ($folder) = @_;
    unlink "$folder/goes.md";
    $t->write_file("$folder/grows.md", "# Bird\n\n" . 'x ' x 5000);
    $t->write_file("$folder/note", "\x89PNG\r\n\x1a\n\0\0");
    $t->write_file("$folder/bag.zip", zip(
        { name => 'in.md', data => "The sack in.\n" },
        { name => 'fat.md', data => 'x ' x 5000 }));
    $t->write_file("$folder/fresh.md", "# Fresh\n\nThe fresh bird.\n");
}

my @limit = ('--limit', 'file=6k');
my @with = ([direct => \&direct], [queue => \&queue]);

for (@with) {
    my ($name, $ingest) = @$_;
    my $folder = grow("del_$name");
    is +($ingest->('--collection', $name, $folder))[0], 0, "$name: before";
    $t->run('ingest', '--owner', 'test:bob', '--collection', $name,
            "$some/f1.txt");
    shrink($folder);
    ($status, $out, $err) = $ingest->('--delete', '--collection', $name,
                                      @limit, $folder);
    is $status, 4, "$name: done, and something is skipped" or diag "$out$err";
    like $out, qr/, 2 removed;/, "$name: counted";
    like $out . $err, qr/^removed goes\.md$/m, "$name: and named";
}

is_deeply sources('queue'), [qw(bag.zip/fat.md bag.zip/in.md f1.txt fresh.md
    grows.md note stays.md)],
    'a_file_that_is_gone_goes_and_one_that_cannot_be_read_stays';
is_deeply sources('queue'), sources('direct'),
    'delete_as_a_job_removes_what_delete_removes';

for (@with) {
    my ($name, $ingest) = @$_;
    my $folder = "$dir/del_$name";
    unlink "$folder/fresh.md";
    $t->write_file("$folder/bag.zip", "PK\3\4 nothing of the kind");
    ($status, $out, $err) = $ingest->('--delete', '--collection', $name,
                                      @limit, $folder);
    like $out . $err, qr/nothing is removed, because not everything in/,
        "$name: an_archive_that_cannot_be_read_keeps_everything";
    ok documents($name)->{'fresh.md'}, '  really';
}

($status, $out, $err) = queue('--delete', '--collection', 'queue', '--limit',
                              'archive=10', "$dir/del_queue");
like $err, qr/nothing is removed, because not everything in/,
    'an_archive_that_is_not_sent_keeps_everything, too';
ok documents('queue')->{'fresh.md'}, '  really';

for (@with) {
    my ($name, $ingest) = @$_;
    my $folder = "$dir/del_$name";
    unlink glob "$folder/*";
    $t->write_file("$folder/$_.png", "\x89PNG\r\n\x1a\n\0\0") for 1, 2;
    ($status, $out, $err) = $ingest->('--delete', '--collection', $name,
                                      $folder);
    is $status, 0, "$name: a folder without documents" or diag "$out$err";
    is_deeply sources($name), ['f1.txt'],
        "$name: all_of_the_owner_go_and_nobody_elses";
}

is +(queue('--delete', $some))[0], 2, '--delete wants a --collection';

# The folder was looked at when the command ran.

my $late = folder('late', 'a.md' => "# A\n\nThe adder.\n",
                  'b.md' => "# B\n\nThe boa.\n");
queue('--collection', 'late', $late);
unlink "$late/b.md";
$t->stop('sidecar', $_) for 0, 1;
$id = queued('--delete', '--collection', 'late', $late);
$t->write_file("$late/c.md", "# C\n\nThe cobra.\n");
is +(direct('--collection', 'late', "$late/c.md"))[0], 0, 'one more comes';
$t->start('sidecar', $_) for 0, 1;
is ended($id)->{usage}{removed}, 1, 'a job that waited removes';
is_deeply sources('late'), ['a.md', 'c.md'],
    'what_came_after_the_command_stays';


# Several at once over the same documents

my $FILES = 700;
my $text = join "\n\n", map { "The heron $_ stands still in the water and"
    . " waits for the fish number $_ of the pond." } 1 .. 40;
my $many = folder('many', map {
    sprintf("m%04d.md", $_) => "# Number $_\n\n$text\n" } 1 .. $FILES);

my @ids = map { queued('--collection', 'same', $many) } 1 .. 4;
my %sum;
for my $end (map { ended($_) } @ids) {
    is $end->{status}, 'succeeded', 'several_jobs_over_the_same_folder_end';
    $sum{$_} += $end->{usage}{$_} for qw(files new unchanged changed);
}
is $sum{files}, 4 * $FILES, 'each saw all files';
is $sum{new}, $FILES, 'each document was written once';
my $same = documents('same');
is scalar keys %$same, $FILES, 'and is there once';
my %sizes = map { $_ => 1 } values %$same;
is scalar keys %sizes, 1, 'as a whole';
my ($whole) = keys %sizes;


# Cancelled in the middle.  Once something is written nothing else can be for a
# while: a job that is fast is not at its end.

my $admin = $t->dbh('admin');

sub begun {
    my ($id) = @_;
    my $sth = $admin->prepare('SELECT count(*) FROM trifecta.job_step WHERE'
                              . ' job = ?');

    my $begun = $t->wait_for(sub { $sth->execute($id);
                                   $sth->fetchrow_arrayref->[0] > 0 },
                             60 * $t->slow);
    $admin->begin_work;
    $admin->do('LOCK TABLE trifecta.document IN SHARE ROW EXCLUSIVE MODE');
    return $begun;
}

$id = queued('--delete', '--collection', 'stopped', $many);
begun($id);
is $t->post("/api/v1/query/$id/cancel", {})->{status}, 200, 'cancelled';
sleep 1;
$admin->rollback;
is ended($id)->{status}, 'cancelled', 'it stops';
my $stopped = documents('stopped');
my $done = keys %$stopped;
ok $done > 0 && $done < $FILES, "in the middle ($done of $FILES)";
is scalar(grep { $_ != $whole } values %$stopped), 0,
    'a_cancel_leaves_whole_documents_only';
is_deeply $t->sql('admin', q{SELECT n.id FROM trifecta.collection n
    WHERE n.name = 'stopped' AND n.chunks <> (SELECT count(*) FROM
    trifecta.chunk c WHERE c.collection = n.id)}), [],
    '  counted as such';


# Killed in the middle, and before anything is removed

$t->sql('admin', q{UPDATE trifecta.document SET source = 'gone' || source,
    ingested = now() - interval '1 h' WHERE source < 'm0003.md' AND collection
    = (SELECT id FROM trifecta.collection WHERE name = 'stopped')});
my $gone = grep { /^gone/ } keys %{ documents('stopped') };
cmp_ok $gone, '>', 0, 'documents without a file';

$id = queued('--delete', '--collection', 'stopped', $many);
ok begun($id), 'a job has begun';
my $worker = $t->redis('HGET', "{trifecta:0}:j:$id", 'worker');
my ($victim) = grep { my $pid = $t->proc('sidecar', $_)->pid;
                      $worker =~ /\b$pid\b/ } 0, 1;
$t->kill('sidecar', $victim // 0);
my $steps = count("job_step WHERE job = '$id'");
$admin->rollback;
cmp_ok $steps, '<', $FILES, "killed in the middle ($steps of $FILES)";
my $end = ended($id);
is $end->{status}, 'succeeded', 'the_next_attempt_finishes';
cmp_ok $end->{attempt} // 2, '>', 1, '  which it is';
is $end->{usage}{files}, $FILES, 'with the counts of both';
is $end->{usage}{removed}, $gone, 'and removes what is gone';
my $now = documents('stopped');
is_deeply [sort keys %$now], [sort keys %$same], 'all documents, no others';
is scalar(grep { $_ != $whole } values %$now), 0, 'each of them whole';


# Killed between two transactions that remove

my $old = folder('old', map { (sprintf('o%03d.md', $_) => "The stork.\n") }
                 1 .. 300);
is((direct('--collection', 'parts', $old))[0], 0, '300 documents');
my $new = folder('new', 'n.md' => "The crane.\n");
my $left = sub { scalar keys %{ documents('parts') } };

$admin->begin_work;
$admin->do(q{SELECT FROM trifecta.document WHERE source = 'o300.md' FOR
             UPDATE});
$id = queued('--delete', '--collection', 'parts', $new);
ok $t->wait_for(sub { $left->() == 45 }, 60 * $t->slow),
    'a part of them is removed';
$worker = $t->redis('HGET', "{trifecta:0}:j:$id", 'worker');
($victim) = grep { $t->proc('sidecar', $_)->alive
                   && $worker =~ /\b${\ $t->proc('sidecar', $_)->pid}\b/ } 0, 1;
$t->kill('sidecar', $victim // 1);
$t->start('sidecar', $victim // 1);
$admin->rollback;
$end = ended($id);
is $end->{status}, 'succeeded', 'another attempt removes the rest';
is $end->{usage}{removed}, 300,
    'the_documents_that_all_attempts_have_removed_are_counted';
like $end->{response}, qr/, 300 removed;/, 'and told';
my %told = map { $_ => 1 } $end->{response} =~ /^removed (\S+)$/mg;
is scalar keys %told, 200, 'as many by name as are named at all';
like $end->{response}, qr/^and 100 more were removed$/m, 'and the rest counted';
is_deeply sources('parts'), ['n.md'], 'one document is left';

$t->finish;
done_testing;
