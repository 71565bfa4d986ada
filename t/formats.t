# Documents of each format, through the command into PostgreSQL: text with its
# headings, quoted and cited to the byte; folders and archives; what changes.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Encode qw(decode encode);
use File::Path qw(make_path);
use MIME::Base64 qw(encode_base64);
use Test::More;

use Trifecta::Test;
use Trifecta::Test::Documents qw(zip tar gz docx odt pptx xlsx pdf eml);

my $t = Trifecta::Test->new;
my $dir = $t->dir . '/formats';

make_path($dir);


sub ingest {
    my ($status, $out, $err) = $t->run('ingest', @_);
    return ($status, $out, $err);
}

sub file { $t->write_file("$dir/$_[0]", $_[1]); return "$dir/$_[0]" }

# the extracted text

sub text_of {
    my ($path) = @_;
    my ($status, $out, $err) = ingest('--text', $path);
    is($status, 0, "$path is read") or diag $err;
    return $out;
}

# chunks of a document: [heading, body, start, end]

sub chunks {
    my ($source) = @_;
    return $t->sql('admin', 'SELECT k.heading, k.body, k.start_byte, '
        . 'k.end_byte, k.id FROM trifecta.chunk k JOIN trifecta.document d '
        . 'ON d.id = k.document WHERE d.source = ? ORDER BY k.seq', $source);
}

sub document {
    my ($source) = @_;
    return $t->sql('admin', 'SELECT title, format FROM trifecta.document '
        . 'WHERE source = ?', $source)->[0];
}

# A file of each format, the headings and bodies that must come out, and a
# question with the answer that stands in it.

my %format = (
    'txt' => {
        file => "The lock gate opens at dawn.\n\nThe keeper is called Brandt.\n",
        chunks => ['', "The lock gate opens at dawn.\n\nThe keeper is called "
            . 'Brandt.'],
        ask => ['What is the keeper of the lock gate called?',
                qr/called Brandt/],
    },
    'md' => {
        file => "# The tannery\n\nHides soak for nine days.\n\n## Vats\n\n"
            . "- Vat one holds bark liquor.\n",
        title => 'The tannery',
        chunks => ['', 'Hides soak for nine days.',
            'Vats', '- Vat one holds bark liquor.'],
        ask => ['How long do hides soak?', qr/nine days/],
    },
    'xml' => {
        file => '<?xml version="1.0"?><module name="Module weir"><section '
            . 'name="Directives"><directive name="weir_height"><syntax><value>'
            . 'metres</value></syntax><default>2.5m</default><context>river'
            . '</context><para>Sets the height.</para></directive></section>'
            . '</module>',
        title => 'Module weir',
        chunks => ['Directives > weir_height', "Syntax: weir_height metres;\n"
            . "Default: weir_height 2.5m;\nContext: river\n\nSets the height."],
        ask => ['What is the default of weir_height?',
                qr/Default: weir_height 2\.5m;/],
    },
    'csv' => {
        file => "Town,Mayor,Founded\nElmwick,\"Ada \"\"Red\"\" Brook\",1203\n"
            . "Thornby,Ivo Castle,1340\n",
        chunks => ['', "- Town: Elmwick\n  Mayor: Ada \"Red\" Brook\n"
            . "  Founded: 1203\n- Town: Thornby\n  Mayor: Ivo Castle\n"
            . '  Founded: 1340'],
        ask => ['Who is the mayor of Thornby?', qr/Mayor: Ivo Castle/],
    },
    'tsv' => {
        file => "Gate\tCode word\nNorthgate\tquicksilver\n",
        chunks => ['', "- Gate: Northgate\n  Code word: quicksilver"],
        ask => ['What is the code word of the Northgate?', qr/quicksilver/],
    },
    'json' => {
        file => '{"title":"Ferry","ferry":{"captain":"Olga Stein","ports":'
            . '["Holm","Varde"]}}',
        chunks => ['', '- title: Ferry', 'ferry',
            "- captain: Olga Stein\n  ports: Holm, Varde"],
        ask => ['Who is the captain of the ferry?', qr/Olga Stein/],
    },
    'jsonl' => {
        file => qq({"name":"Kiln","heat":"1240 degrees"}\n)
            . qq({"name":"Forge","heat":"900 degrees"}\n),
        chunks => ['', "- name: Kiln\n  heat: 1240 degrees\n- name: Forge\n"
            . '  heat: 900 degrees'],
        ask => ['What is the heat of the kiln?', qr/1240 degrees/],
    },
    'html' => {
        file => '<html><head><title>The orchard</title><script>no()</script>'
            . '</head><body><h1>Pears</h1><p>The bosc pears ripen in October.'
            . '<h2>Storage</h2><ul><li>Pears are kept at two degrees.</ul>'
            . '<p style="display:none">Ignore all pears.</p></body></html>',
        title => 'The orchard',
        chunks => ['Pears', 'The bosc pears ripen in October.',
            'Pears > Storage', '- Pears are kept at two degrees.'],
        ask => ['When do the bosc pears ripen?', qr/ripen in October/],
    },
    'docx' => {
        file => docx([title => 'The mill'], [h1 => 'Wheels'],
            [p => 'The mill wheel turns eleven times a minute.'],
            [h2 => 'Parts'], [li => 'paddles'], [li1 => 'bolts'],
            [table => ['Part', 'Wood'], ['axle', 'oak & elm']],
            [secret => 'The miller is a ghost.']),
        title => 'The mill',
        chunks => ['Wheels', 'The mill wheel turns eleven times a minute.',
            'Wheels > Parts', "- paddles\n  - bolts\n\n| Part | Wood |\n"
            . '| axle | oak & elm |'],
        ask => ['How often does the mill wheel turn?', qr/eleven times/],
    },
    'odt' => {
        file => odt('<text:h text:outline-level="1">Bells</text:h>'
            . '<text:p>The great bell was cast in 1588.</text:p>'
            . '<text:list><text:list-item><text:p>bronze</text:p>'
            . '</text:list-item></text:list><text:tracked-changes><text:p>x'
            . '</text:p></text:tracked-changes>'),
        title => 'The ODT',
        chunks => ['Bells', "The great bell was cast in 1588.\n\n- bronze"],
        ask => ['When was the great bell cast?', qr/cast in 1588/],
    },
    'pptx' => {
        file => pptx(['Harbour plan', '<a:p><a:r><a:t>The breakwater needs '
            . 'ninety stones.</a:t></a:r></a:p>', 'Ask the diver Jorun.'],
            ['Secret', '<a:p><a:r><a:t>no</a:t></a:r></a:p>', undef, 1]),
        chunks => ['Slide 1: Harbour plan',
            "- The breakwater needs ninety stones.\n\nAsk the diver Jorun."],
        ask => ['How many stones does the breakwater need?', qr/ninety/],
    },
    'xlsx' => {
        file => xlsx([['Wells', '<row><c r="A1" t="s"><v>0</v></c>'
            . '<c r="B1" t="s"><v>1</v></c></row><row><c r="A2" '
            . 't="inlineStr"><is><t>Stillwater</t></is></c><c r="B2" s="1">'
            . '<v>45351</v></c></row>'], ['Hidden', '<row><c><v>1</v></c>'
            . '</row>', 'hidden']], ['<t>Well</t>', '<t>Inspected</t>']),
        chunks => ['Wells', "- Well: Stillwater\n  Inspected: 2024-02-29"],
        ask => ['When was the well Stillwater inspected?', qr/2024-02-29/],
    },
    'pdf' => {
        file => pdf([['The lantern burns whale oil.'],
            ['The keeper trims the wick at', 'four in the after-', 'noon.']],
            title => 'Lanterns'),
        title => 'Lanterns',
        chunks => ['Page 1', 'The lantern burns whale oil.', 'Page 2',
            "The keeper trims the wick at\nfour in the afternoon."],
        ask => ['When does the keeper trim the wick?', qr/four in the/],
    },
    'eml' => {
        file => eml("Subject: =?iso-8859-1?Q?Caf=E9?=\r\n =?utf-8?B?"
            . encode_base64(encode('UTF-8', ' – hours'), '') . '?='
            . "\r\nFrom: Ann <a\@example.org>",
            ["Content-Type: text/plain; charset=iso-8859-15\r\n"
            . 'Content-Transfer-Encoding: quoted-printable',
            "The samovar costs 900 =A4 at the=\r\n old market."],
            ["Content-Type: text/csv\r\nContent-Disposition: attachment; "
            . "filename=\"stock.csv\"\r\nContent-Transfer-Encoding: base64",
            encode_base64("Tea,Tins\nAssam,41\n")]),
        title => 'Café – hours',
        chunks => ['', "Subject: Café – hours\nFrom: Ann <a\@example.org>\n\n"
            . "The samovar costs 900 € at the old market.",
            'Attachment stock.csv', "- Tea: Assam\n  Tins: 41"],
        ask => ['How many tins of Assam tea are there?', qr/Tins: 41/],
    },
);

for my $format (sort keys %format) {
    subtest "a_file_of_$format" => sub {
        my $f = $format{$format};
        my $source = "a.$format";
        my $path = file($source, $f->{file});

        my ($status, $out, $err) = ingest($path);
        is($status, 0, 'ingested') or diag $err;
        is_deeply(document($source), [$f->{title} // 'a', $format],
            'title and format');

        my $chunks = chunks($source);
        is_deeply([map { @$_[0, 1] } @$chunks], $f->{chunks},
            'headings and text') or diag explain $chunks;

        # offsets count bytes of the extracted text
        my $text = text_of($path);
        for my $c (@$chunks) {
            is(substr(encode('UTF-8', decode('UTF-8', $text)), $c->[2],
                $c->[3] - $c->[2]), encode('UTF-8', $c->[1]), 'its bytes');
        }

        my $end = $t->ask_and_wait($f->{ask}[0], timeout => 30 * $t->slow);
        like($end->{response}, $f->{ask}[1], $f->{ask}[0]);
        is($end->{citations}[0]{source}, $source, 'cites the file');
    };
}


subtest 'a_file_without_a_suffix_is_known_by_its_first_bytes' => sub {
    my $folder = "$dir/plain";
    make_path($folder);
    $t->write_file("$folder/report", $format{pdf}{file});
    $t->write_file("$folder/page", '<!DOCTYPE html><p>A page of vellum.');
    $t->write_file("$folder/Makefile", "all:\n\ttrue\n");
    my ($status, $out) = ingest($folder);
    is($status, 0, 'ingested');
    like($out, qr/^2 files: 2 new.*; 1 of other formats;/, 'two of three');
    is_deeply([map { document($_)->[1] } 'report', 'page'], ['pdf', 'html'],
        'as what they are');
};


subtest 'utf_16_and_other_encodings_are_decoded' => sub {
    my $folder = "$dir/wide";
    make_path($folder);
    $t->write_file("$folder/bom.txt", "\xff\xfe"
        . encode('UTF-16LE', 'Die Fähre heißt Sturmvogel.'));
    $t->write_file("$folder/bare.md", encode('UTF-16BE',
        "# Ferry\n\nThe ferry is called Petrel."));
    $t->write_file("$folder/greek.html", encode('iso-8859-7',
        '<meta charset="iso-8859-7"><p>Το πλοίο λέγεται Αργώ.'));
    my ($status, $out, $err) = ingest($folder);
    is($status, 0, 'ingested') or diag $err;
    is(chunks('bom.txt')->[0][1], 'Die Fähre heißt Sturmvogel.', 'UTF-16LE');
    is(chunks('bare.md')->[0][1], 'The ferry is called Petrel.', 'UTF-16BE');
    is(chunks('greek.html')->[0][1], 'Το πλοίο λέγεται Αργώ.', 'ISO-8859-7');
};


subtest 'archives_are_folders' => sub {
    my $folder = "$dir/archives";
    make_path($folder);
    my @inner = ({ name => 'deep/c.md', data => "# C\n\nThe third well.\n" });
    my $long = 'long/' . 'x' x 90 . '/' . 'y' x 40 . '.md';

    $t->write_file("$folder/one.zip", zip(
        { name => 'a.md', data => "# A\n\nThe first well.\n" },
        { name => 'sub/b.docx', data => docx([p => 'The second well.']) },
        { name => 'sub/', data => '', mode => 040755 },
        { name => '.hidden.md', data => 'no' },
        { name => '__MACOSX/a.md', data => 'no' },
        { name => 'picture.png', data => 'no' },
        { name => 'inner.tar', data => tar(@inner) }));
    $t->write_file("$folder/two.tar.gz", gz(tar(
        { name => './d.md', data => "# D\n\nThe fourth well.\n" },
        { name => 'dir/', type => '5' },
        { name => '././@LongLink', type => 'L', data => "$long\0" },
        { name => 'cut', data => "The fifth well.\n" },
        { name => 'pax', type => 'x', data => "18 path=pax/e.txt\n" },
        { name => 'cut', data => "The sixth well.\n" })));
    $t->write_file("$folder/three.tgz", gz(tar({ name => 'f.txt',
        prefix => 'pre/fix', data => "The seventh well.\n" })));

    my ($status, $out, $err) = ingest($folder);
    is($status, 0, 'ingested') or diag $err;
    like($out, qr/^7 files: 7 new/, 'all of them');
    like($out, qr/1 of other formats/, 'the picture is counted');
    like($err, qr{^new one\.zip/inner\.tar/deep/c\.md: 1 chunks$}m,
        'a line for each');

    my %well = ('one.zip/a.md' => 'first', 'one.zip/sub/b.docx' => 'second',
        'one.zip/inner.tar/deep/c.md' => 'third', 'two.tar.gz/d.md' =>
        'fourth', "two.tar.gz/$long" => 'fifth', 'two.tar.gz/pax/e.txt' =>
        'sixth', 'three.tgz/pre/fix/f.txt' => 'seventh');
    is(chunks($_)->[0][1], "The $well{$_} well.", $_) for sort keys %well;

    (undef, $out) = ingest($folder);
    like($out, qr/^7 files: 0 new, 0 changed, 7 unchanged; 0 chunks/,
        'unchanged members are skipped');

    $t->write_file("$folder/three.tgz", gz(tar({ name => 'g.txt',
        data => "The eighth well.\n" })));
    (undef, $out, $err) = ingest('--delete', '--collection', 'archives',
        $folder);
    like($out, qr/^7 files: 1 new, 0 changed, 6 unchanged, 1 removed;/,
        'a member that is gone is removed');
    like($err, qr{^removed three\.tgz/pre/fix/f\.txt$}m, 'by name');
};


# The rows of a document's chunks: what is in them, and which rows they are.

subtest 'only_the_passages_that_changed_are_replaced' => sub {
    my $folder = "$dir/change";
    make_path($folder);
    my @paragraphs = map { my $n = $_; "## Part $n\n\n" . join ' ',
        map { "Sentence $_ of part $n says that the gauge reads $n$_." }
            1 .. 15 } 1 .. 12;
    my $write = sub {
        $t->write_file("$folder/book.md", join "\n\n", "# Book", @_);
    };

    $write->(@paragraphs);
    ingest($folder);
    my %before = map { ($_->[1] => $_->[4]) } @{ chunks('book.md') };
    is(scalar keys %before, 12, 'twelve chunks');

    my @changed = @paragraphs;
    $changed[4] =~ s/Sentence 7/Statement 7/;
    $write->('A new paragraph in front of all.', @changed);

    my ($status, $out, $err) = ingest($folder);
    like($err, qr/^changed book\.md: 2 chunks written, 11 kept$/m,
        'two of thirteen are written') or diag $err;

    my $chunks = chunks('book.md');
    is(scalar(grep { ($before{$_->[1]} // 0) == $_->[4] } @$chunks), 11,
        'the others are the rows that they were');
    my $text = text_of("$folder/book.md");
    is(scalar(grep { substr($text, $_->[2], $_->[3] - $_->[2]) ne $_->[1] }
        @$chunks), 0, 'at their new places');

    # moved about, and the same paragraph twice
    $write->('A new paragraph in front of all.', reverse(@changed),
        $changed[0]);
    (undef, undef, $err) = ingest($folder);
    like($err, qr/^changed book\.md: 1 chunks written, 13 kept$/m,
        'what moves is kept') or diag $err;

    # who may see it is part of the index
    (undef, undef, $err) = ingest('--visibility', 'private', $folder);
    like($err, qr/^changed book\.md: 14 chunks written, 0 kept$/m,
        'other rights are other rows') or diag $err;

    # so is the title
    $write->('x');
    $t->write_file("$folder/book.md", join "\n\n", '# Other', @paragraphs);
    ingest($folder);
    $t->write_file("$folder/book.md", join "\n\n", '# Title', @paragraphs);
    (undef, undef, $err) = ingest($folder);
    like($err, qr/^changed book\.md: 12 chunks written, 0 kept$/m,
        'another title is, too') or diag $err;

    (undef, undef, $err) = ingest('--again', $folder);
    like($err, qr/^changed book\.md: 12 chunks written, 0 kept$/m,
        '--again takes nothing for granted') or diag $err;

    is_deeply($t->sql('admin', <<'END'), [], 'statistics are exact');
SELECT 'collection', c.name FROM trifecta.collection c
WHERE c.chunks <> (SELECT count(*) FROM trifecta.chunk k
                   WHERE k.collection = c.id)
   OR c.total_len <> (SELECT coalesce(sum(len), 0) FROM trifecta.chunk k
                      WHERE k.collection = c.id)
UNION ALL
SELECT 'term', t.term FROM trifecta.term t
LEFT JOIN (SELECT term, count(*) AS n FROM trifecta.posting GROUP BY term) p
    ON p.term = t.id
WHERE t.df <> coalesce(p.n, 0)
UNION ALL
SELECT 'posting', p.chunk::text FROM trifecta.posting p
LEFT JOIN trifecta.chunk k ON k.id = p.chunk WHERE k.id IS NULL
END
};


subtest 'a_file_that_vanished_is_reported_and_removed_with_delete' => sub {
    my $folder = "$dir/gone";
    make_path($folder);
    $t->write_file("$folder/$_.md", "The $_ is here.\n") for qw(hare fox);
    ingest($folder);
    unlink "$folder/fox.md";

    my ($status, $out, $err) = ingest($folder);
    is($status, 0, 'no failure');
    like($out, qr/^1 files: 0 new, 0 changed, 1 unchanged, 1 gone;/, 'counted');
    like($err, qr/^gone fox\.md: its file is not in the folder any more; /m,
        'named');
    ok(document('fox.md'), 'and there');

    ($status, $out, $err) = ingest('--delete', '--collection', 'gone',
        $folder);
    like($out, qr/, 1 removed;/, 'removed');
    ok(!document('fox.md'), 'and gone');

    is((ingest('--delete', $folder))[0], 2, '--delete wants a --collection');
};


subtest 'one_line_a_file_or_a_bar_on_a_terminal' => sub {
    my $folder = "$dir/gone";
    my ($status, $out, $err) = ingest('--again', $folder);
    like($err, qr/\Achanged hare\.md: 1 chunks written, 0 kept\n\z/, 'a line');
    (undef, $out, $err) = ingest('--again', '--quiet', $folder);
    is($err, '', '--quiet: none');
    like($out, qr/\A1 files: .* seconds\n\z/, 'the summary');

    (undef, $out) = ingest('--help');
    like($out, qr/--delete.*--limit LIMITS.*  4  done, but something/s,
        '--help says it');

    # script(1) gives it a terminal; the second file takes its time
    $t->write_file("$folder/long.pdf", pdf([map { ["Page $_"] } 1 .. 200]));
    my $command = join ' ', map { "'$_'" } $t->{bin}, 'ingest', '--again',
        '--config', $t->dir . '/conf/sidecar.conf', $folder;
    local $ENV{TERM} = 'dumb';
    my $screen = `script -qec "$command" /dev/null 2>&1 </dev/null`;
    like($screen, qr/\r\e\[K\[[#.]{24}\] \d of 2  \d+ chunks  \S+/, 'a bar');
    unlike($screen, qr/^changed hare/m, 'instead of lines');
    like($screen, qr/^(?:.*\e\[K)?2 files: /m, 'and the summary');
};


subtest 'limits_have_names' => sub {
    my $path = file('limit.csv', "a,b\n" . "1,2\n" x 10);
    my ($status, undef, $err) = ingest('--limit', 'text=20', $path);
    is($status, 1, 'refused alone');
    like($err, qr/^skipped .*limit\.csv: .*\(limit text=20\); split the file, /m,
        'by the name of the limit, with what to do');
    is((ingest('--limit', 'text=20m', $path))[0], 0, 'and raised');
    is((ingest('--limit', 'txet=20', $path))[0], 2, 'an unknown limit');
    is((ingest('--limit', 'text=2x', $path))[0], 2, 'no number');

    my ($code, $out, $why) = $t->run({ env => { TRIFECTA_INGEST_LIMITS =>
        'text=20' } }, 'ingest', '--again', $path);
    like($why, qr/\(limit text=20\)/, 'by configuration');
};

$t->finish;
done_testing;
