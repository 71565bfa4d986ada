# Many documents at once: small ones share a transaction, and whatever dies or
# comes at the same time, each document is there as a whole and the statistics
# are those of a recount.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use File::Path qw(make_path remove_tree);
use Test::More;
use Time::HiRes qw(sleep);

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 0);
my $seed = $ENV{TRIFECTA_TEST_SEED} // int rand 2**31;
my @words = map { join '', map { chr(97 + int rand 26) } 1 .. 2 + int rand 7 }
    1 .. 2000;

$t->start($_) for qw(redis pg);
$t->migrate;
srand $seed;
diag "TRIFECTA_TEST_SEED=$seed";


sub ingest { $t->run('ingest', '--quiet', @_) }

sub text {
    my ($paragraphs) = @_;

    return join "\n\n", map { join(' ', map { rand() < 0.05
        ? $words[rand 20] . '_' . $words[rand 20]
        : $words[int @words ** rand] } 1 .. 60) . '.' } 1 .. $paragraphs;
}

sub write_documents {
    my ($dir, @numbers) = @_;
    make_path($dir);

    for my $i (@numbers) {
        $t->write_file("$dir/$i.md", "# Title " . int(rand 3) . " of $i\n\n"
            . text(1 + int rand 4) . "\n\n## Part\n\n"
            . text(rand() < 0.1 ? 20 : 1) . "\n");
    }
}

# The statistics, and whether each document has all its chunks and each chunk
# its postings.

sub exact {
    my ($name) = @_;

    # without statistics of its own the server would join them row by row
    $t->sql('admin', 'SET enable_nestloop = off');

    my $bad = $t->sql('admin', <<'END_SQL');
SELECT 'collection', c.name FROM trifecta.collection c
WHERE (c.chunks, c.total_len) <> (SELECT count(*), coalesce(sum(len), 0)
    FROM trifecta.chunk k WHERE k.collection = c.id)
UNION ALL
SELECT 'term', t.term FROM trifecta.term t
LEFT JOIN (SELECT term, count(*) AS n FROM trifecta.posting GROUP BY term) p
    ON p.term = t.id
WHERE t.df <> coalesce(p.n, 0)
UNION ALL
SELECT 'posting', p.chunk::text FROM trifecta.posting p
LEFT JOIN trifecta.chunk k ON k.id = p.chunk
WHERE k.id IS NULL OR k.acl <> p.acl OR k.len <> p.len
    OR p.term <> ALL (k.terms)
UNION ALL
SELECT 'chunk', k.id::text FROM trifecta.chunk k
LEFT JOIN (SELECT chunk, count(*) AS n, sum(tf) AS len FROM trifecta.posting
           GROUP BY chunk) p ON p.chunk = k.id
WHERE (cardinality(terms), k.len) <> (coalesce(n, 0), coalesce(p.len, 0))
UNION ALL
SELECT 'document', d.source FROM trifecta.document d
LEFT JOIN (SELECT document, count(DISTINCT seq) AS n, min(seq) AS first,
               max(seq) AS last FROM trifecta.chunk GROUP BY document) k
    ON k.document = d.id
WHERE (n, first, last) IS DISTINCT FROM (n, 0, n - 1)
END_SQL
    is_deeply($bad, [], $name) or diag explain $bad;
}

# All of a collection but its numbers.

sub content {
    return $t->sql('admin', q{
        SELECT d.source, d.title, d.hash, k.seq, k.heading, k.body, k.len,
            k.hash, p.terms FROM trifecta.collection c
        JOIN trifecta.document d ON d.collection = c.id
        JOIN trifecta.chunk k ON k.document = d.id
        LEFT JOIN (SELECT p.chunk, string_agg(t.term || ' ' || p.tf || ' '
                || t.df, ',' ORDER BY t.term COLLATE "C") AS terms
            FROM trifecta.posting p JOIN trifecta.term t ON t.id = p.term
            GROUP BY p.chunk) p ON p.chunk = k.id
        WHERE c.name = ? ORDER BY 1, 4}, @_);
}

sub start_ingest {
    my (@args) = @_;

    return Trifecta::Test::Proc->start(name => 'ingest',
        log => $t->dir . '/log/ingest.log', env => { $t->_env },
        cmd => [$t->{bin}, 'ingest', '--config',
                $t->dir . '/conf/sidecar.conf', @args]);
}


subtest 'a group has the same result as one by one' => sub {
    my $dir = $t->dir . '/one';
    write_documents($dir, 1 .. 20);
    $t->write_file("$dir/odd.md", "# It's a \\ title\n\nQuotes: 'a' \"b\" "
        . "\\'c\\' O'Reilly C:\\dir\\file.txt a.b-c_d.e it's {x,y} NULL null\n"
        . "café Straße naïve \xf0\x9f\x9a\x80 a.b-c_d.e\n");

    is((ingest('--collection', 'grouped', $dir))[0], 0, 'a folder');
    is((ingest('--collection', 'single', "$dir/$_"))[0], 0, $_)
        for map { "$_.md" } 1 .. 20, 'odd';

    my ($grouped, $single) = map { content($_) } qw(grouped single);
    cmp_ok(scalar @$grouped, '>', 40, 'some chunks');
    is_deeply($grouped, $single, 'the same rows, terms and counts');
    exact('and the statistics are exact');

    # what PostgreSQL alone says of a text without identifiers
    $t->write_file("$dir/../plain.md", "# Plain\n\n"
        . "The quick foxes don't jump over the jumping dogs' houses.\n");
    ingest('--collection', 'plain', $t->dir . '/plain.md');
    is_deeply([map { $_->[0] } @{ $t->sql('admin', q{
        SELECT t.term || ' ' || p.tf FROM trifecta.posting p
        JOIN trifecta.term t ON t.id = p.term JOIN trifecta.collection c
        ON c.id = t.collection WHERE c.name = 'plain' ORDER BY 1}) }],
        [map { $_->[0] } @{ $t->sql('admin', q{
        SELECT lexeme || ' ' || cardinality(positions) FROM unnest(
        to_tsvector('english', 'Plain . The quick
        foxes don''t jump over the jumping dogs'' houses.')) ORDER BY 1}) }],
        'terms are those of to_tsvector');
};


subtest 'a name twice in an archive' => sub {
    my $dir = $t->dir . '/twice';
    make_path($dir);
    $t->write_file("$dir/a.md", "# A\n\nThe first text.\n");
    system("cd '$dir' && tar cf twice.tar a.md") == 0 or die;
    $t->write_file("$dir/a.md", "# A\n\nThe second text.\n");
    system("cd '$dir' && tar rf twice.tar a.md && rm a.md") == 0 or die;

    is((ingest('--collection', 'twice', $dir))[0], 0, 'ingested');
    is_deeply([map { $_->[5] } @{ content('twice') }], ['The second text.'],
        'the last one counts');
    exact('exact');
};


subtest 'a document that PostgreSQL refuses' => sub {
    my $dir = $t->dir . '/refused';
    my $deep = join '/', map { join '', map { ('a' .. 'z', 0 .. 9)[rand 36] }
        1 .. 200 } 1 .. 16;
    make_path("$dir/z$deep");
    $t->write_file("$dir/$_.md", "# $_\n\nText of $_.\n") for 'a' .. 'c';
    $t->write_file("$dir/z$deep/long.md", "# Long\n\nIts name is too long.\n");

    my ($status, undef, $err) = ingest('--collection', 'refused', $dir);
    is($status, 1, 'the ingest fails');
    like($err, qr/\Q$deep\E\/long\.md: .*index row/, 'and names it');
    is_deeply([map { $_->[0] } @{ content('refused') }],
        ['a.md', 'b.md', 'c.md'], 'the others of its group are there');
    exact('exact');
    remove_tree($dir);
};


subtest 'several at once write, replace and remove' => sub {
    my @folders = map { $t->dir . "/chaos$_" } 1 .. 3;

    for my $round (1 .. 3) {
        for my $f (@folders) {
            unlink map { "$f/$_.md" } grep { rand() < 0.3 } 1 .. 60;
            write_documents($f, grep { rand() < ($round == 1 ? 0.8 : 0.3) }
                                1 .. 60);
        }

        my @procs = map { start_ingest('--quiet', '--collection', 'chaos',
            '--delete', $_) } @folders;
        is($_->wait(120 * $t->slow) ? $_->{status} : 'hangs', 0,
            "round $round: one is through") for @procs;
        exact("round $round: exact");
    }

    is((ingest('--collection', 'chaos', '--delete', $folders[0]))[0], 0,
        'once more, alone');
    is((ingest('--collection', 'calm', $folders[0]))[0], 0, 'and afresh');
    is_deeply(content('chaos'), content('calm'),
        'nothing of the others is left in it');
    exact('exact');
};


subtest 'killed in the middle' => sub {
    my $dir = $t->dir . '/killed';
    my $cut = 0;
    write_documents($dir, 1 .. 300);

    for my $round (1 .. 3) {
        write_documents($dir, grep { rand() < 0.2 } 1 .. 300) if $round > 1;
        my $before = $t->sql('admin', 'SELECT pg_current_wal_lsn()')->[0][0];
        my $proc = start_ingest('--quiet', '--collection', 'killed', $dir);

        # when it has written something, at no particular moment
        $t->wait_for(sub { !$proc->alive || $t->sql('admin',
            'SELECT pg_current_wal_lsn() - ?::pg_lsn > 300000',
            $before)->[0][0] }, 30);
        sleep rand 0.3 * $t->slow;
        $cut++ if $proc->alive;
        $proc->{killed} = 1;
        $proc->signal('KILL');
        $proc->wait(10);

        if ($round == 2) {
            $t->kill('pg');
            $t->start('pg');
        }

        # its transaction ends when the server notices
        $t->wait_for(sub { !$t->sql('admin', q{SELECT count(*) FROM
            pg_stat_activity WHERE usename = 'trifecta_rag'})->[0][0] }, 30);
        exact("round $round: exact, and no document in parts");
    }

    note "$cut of 3 were killed before they had ended";
    cmp_ok($cut, '>', 0, 'one was killed before its end');
    is((ingest('--collection', 'killed', $dir))[0], 0, 'it goes on');
    is((ingest('--collection', 'whole', $dir))[0], 0, 'and one afresh');
    is_deeply(content('killed'), content('whole'), 'has the same result');
    exact('exact');
};


subtest 'removed in groups' => sub {
    my $none = $t->dir . '/none';
    make_path($none);
    $t->write_file("$none/1.md", "# Last\n\nIt stays.\n");

    my ($status, $out) = ingest('--collection', 'killed', '--delete', $none);
    is($status, 0, 'removed');
    like($out, qr/, 299 removed;/, 'all of them are told');
    is(scalar @{ content('killed') }, 1, 'one is left');
    exact('exact');

    is($t->sql('admin', q{SELECT count(*) FROM trifecta.posting p JOIN
        trifecta.term t ON t.id = p.term JOIN trifecta.collection c ON
        c.id = t.collection WHERE c.name = 'killed'})->[0][0],
        $t->sql('admin', q{SELECT sum(cardinality(terms)) FROM trifecta.chunk k
        JOIN trifecta.collection c ON c.id = k.collection
        WHERE c.name = 'killed'})->[0][0], 'with their postings');
};


$t->finish;
done_testing;
