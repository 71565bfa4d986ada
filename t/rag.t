# Documents and answers: what is ingested is found, quoted and cited to the
# byte, by those who may see it and by nobody else.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Encode qw(encode decode);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use List::Util qw(shuffle);
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecar => { threads => 4 });
my $own = "$FindBin::Bin/data/docs";
my $docs = $t->dir . '/docs';
my $seed = $ENV{TRIFECTA_TEST_SEED} // int rand 2**31;

srand $seed;
diag "TRIFECTA_TEST_SEED=$seed";


sub ingest {
    my @args = @_;
    my ($status, $out, $err) = $t->run('ingest', @args);
    return wantarray ? ($status, $out, $err) : $status;
}

sub answer {
    my ($question, %o) = @_;
    my $end = $t->ask_and_wait($question, timeout => 30 * $t->slow, %o);
    is($end->{status}, 'succeeded', "answered: $question")
        or diag explain $end;
    return $end;
}

sub abstains {
    my ($end) = @_;
    return $end->{response} =~ /did not find/ && !@{ $end->{citations} // [] };
}

sub file_bytes {
    my ($file, $from, $to) = @_;
    open my $fh, '<:raw', $file or die "$file: $!";
    local $/;
    my $all = <$fh>;
    return substr $all, $from, $to - $from;
}

# Each citation of a text file: its bytes stand in the answer before its mark.

sub citations_ok {
    my ($end, $folder, $name) = @_;
    my $body = encode('UTF-8', $end->{response});
    my $bad = 0;

    for my $c (@{ $end->{citations} }) {
        next unless $c->{source} =~ /\.(?:md|txt)\z/;
        my $bytes = file_bytes("$folder/$c->{source}", $c->{start}, $c->{end});
        $bad++ unless $body =~ /\Q$bytes\E\s\[$c->{n}\]/;
    }

    ok(!$bad && @{ $end->{citations} }, $name);
}

# The statistics that BM25 uses, and what they should be.

sub statistics_ok {
    my ($name) = @_;

    my $bad = $t->sql('admin', <<'END');
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
    is_deeply($bad, [], "$name: statistics are exact") or diag explain $bad;
}


subtest 'the small corpus' => sub {
    my ($status, $out) = ingest('--collection', 'station', $own);
    is($status, 0, 'ingested') or diag $out;
    like($out, qr/^3 files: 3 new, 0 changed, 0 unchanged; \d+ chunks/,
        'summary');
    statistics_ok('new');

    my $end = answer('What is the default value of lens_speed?');
    like($end->{response}, qr/\AQuoted from your documents \(no language /,
        'says how it was made');
    like($end->{response}, qr/Default: lens_speed 12\.5;/, 'the default');
    my $c = $end->{citations}[0];
    is($c->{source}, 'station/controls.xml', 'source');
    is($c->{title}, 'Controls of the station', 'title');
    is($c->{n}, 1, 'number');
    is($c->{end} - $c->{start}, length 'Default: lens_speed 12.5;', 'bytes');
    like($c->{document_id}, qr/\A[0-9a-f-]{36}\z/, 'document');
    is_deeply([sort keys %$c], [qw(chunk_id document_id end n score source
        start title)], 'members');

    my ($row) = @{ $t->sql('admin', 'SELECT substr(convert_to(body, '
        . q{'UTF8'), ?::int - start_byte + 1, ?::int) }
        . 'FROM trifecta.chunk WHERE id = ?',
        $c->{start}, $c->{end} - $c->{start}, $c->{chunk_id}) };
    is($row->[0], 'Default: lens_speed 12.5;', 'bytes of the extracted text');

    for (['Which weight turns the lens of the lamp?', qr/130 kg/],
         ['When was the red sector widened?', qr/in 1931 after/],
         ['How often does the horn sound?', qr/every 60 seconds/],
         ['When does the supply ship come?', qr/second Tuesday/],
         ['What is the pressure of the fog signal?', qr/7\.5 bar/],
         ['Which sector is green?', qr/225° to 260°/],
         ['Bleibt der Ölkeller geschlossen?', qr/Ölkeller bleibt über/])
    {
        my $end = answer($_->[0]);
        like($end->{response}, $_->[1], $_->[0]);
        citations_ok($end, $own, 'bytes');
    }

    for ('What is the default value of lens_spede?',
         'What is the default value of mirror_speed?',
         'Who painted the ceiling of the Sistine Chapel?',
         'the', '?!')
    {
        my $end = answer($_);
        ok(abstains($end), "abstains: $_") or diag $end->{response};
        is_deeply($end->{citations}, [], 'no citation');
    }

    like(answer('What is the default value of mirror_speed?')->{response},
        qr/none of them mentions "mirror_speed"/, 'the name that is unknown');
    like(answer('Is the crank of the horn made of platinum?')->{response},
        qr/nearest are: .*(?:handbook|Controls)/, 'the nearest titles');
};


subtest 'a random sentence, to the byte' => sub {
    make_path("$docs/deep/er");

    for my $around ('', "Żółw – 日本語のテキスト “x” 𝄞.\n\n") {
        my $w = join '', map { chr(97 + int rand 26) } 1 .. 9;
        my $n = 1000 + int rand 9000;
        my $sentence = "The $w gauge of Nærøy shows $n marks at high tide.";
        my $file = 'deep/er/' . ($around ? 'wide' : 'plain') . '.md';

        $t->write_file("$docs/$file", encode('UTF-8',
            "# Gauges\n\n$around" . "Something else is here. $sentence "
            . "Nothing more.\n\n$around"));
        is(scalar ingest($docs), 0, 'ingested');

        my $end = answer("How many marks does the $w gauge show?");
        my $c = $end->{citations}[0];
        like($end->{response}, qr/^\Q$sentence\E \[1\]$/m, 'quoted');
        is($c->{source}, $file, 'file');
        is(decode('UTF-8', file_bytes("$docs/$file", $c->{start}, $c->{end})),
            $sentence, 'exactly its bytes');
    }
};


subtest 'incremental, replaced, pruned' => sub {
    my (undef, $out) = ingest($docs);
    like($out, qr/^2 files: 0 new, 0 changed, 2 unchanged; 0 chunks/, 'same');

    $t->write_file("$docs/change.md",
        "# Change\n\nThe password of the boathouse is marzipan.\n");
    ingest($docs);
    like(answer('What is the password of the boathouse?')->{response},
        qr/is marzipan\./, 'before');

    $t->write_file("$docs/change.md",
        "# Change\n\nThe password of the boathouse is nougat.\n");
    (undef, $out) = ingest($docs);
    like($out, qr/^3 files: 0 new, 1 changed, 2 unchanged;/, 'changed');

    my $end = answer('What is the password of the boathouse?');
    like($end->{response}, qr/is nougat\./, 'after');
    unlike($end->{response}, qr/marzipan/, 'the old text is gone');
    statistics_ok('replaced');

    unlink "$docs/change.md";
    (undef, $out) = ingest($docs);
    like(answer('What is the password of the boathouse?')->{response},
        qr/nougat/, 'gone files stay');
    (undef, $out) = ingest('--prune', '--collection', 'docs', $docs);
    like($out, qr/, 1 removed;/, 'until they are pruned');
    ok(abstains(answer('What is the password of the boathouse?')),
        'and then they are not found');
    like(answer('What is the default value of lens_speed?')->{response},
        qr/12\.5/, 'other collections stay');
    statistics_ok('pruned');

    is((ingest('--prune', $docs))[0], 2, '--prune wants a --collection');
    is((ingest('--prune', '--collection', 'docs', $docs, $own))[0], 2,
        'and one folder');
    make_path($t->dir . '/none/docs');
    (undef, $out) = ingest('--prune', '--collection', 'docs',
        $t->dir . '/none/docs');
    like(($t->sql('admin', q{SELECT count(*) FROM trifecta.document d
        JOIN trifecta.collection c ON c.id = d.collection
        WHERE c.name = 'docs'}))->[0][0], qr/\A[1-9]/,
        'an empty folder prunes nothing');
};


subtest 'bad files' => sub {
    my $bad = $t->dir . '/bad';
    make_path("$bad/sub");
    $t->write_file("$bad/binary.txt", "MZ\0\1\2binary");
    $t->write_file("$bad/latin1.md", "caf\xe9 au lait\n");
    $t->write_file("$bad/empty.md", '');
    $t->write_file("$bad/broken.xml", '<a><b></a>');
    $t->write_file("$bad/laughs.xml", '<!DOCTYPE l [<!ENTITY a "ha">'
        . '<!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>');
    $t->write_file("$bad/passwd.xml",
        '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>');
    $t->write_file("$bad/deep.xml", '<a>' x 5000 . '</a>' x 5000);
    $t->write_file("$bad/line.txt", 'x' x (16 * 1024 * 1024 + 1));
    $t->write_file("$bad/long.txt", 'word ' x 200_000);
    $t->write_file("$bad/words.txt", 'x' x 3500 . " and the odd gadget.\n");
    $t->write_file("$bad/picture.png", 'not read');
    $t->write_file("$bad/red\e[31m\xc2\x9b2J\nskipped all: fine.md", '');
    $t->write_file("$bad/.hidden.md", 'The hidden word is abracadabra.');
    $t->write_file("$bad/sub/good.md", 'The good word is hocuspocus.');
    symlink '/etc/hostname', "$bad/outside.txt";
    symlink "$bad/sub/good.md", "$bad/inside.md";
    symlink $bad, "$bad/sub/loop";
    symlink '/nowhere', "$bad/dangling.md";
    POSIX::mkfifo("$bad/fifo.md", 0600);

    my ($status, $out, $err) = ingest($bad);
    is($status, 4, 'the rest is ingested; the exit status says that it is '
        . 'not all');
    like($out, qr/^4 files: 4 new/, 'what is good') or diag "$out$err";
    unlike($err, qr/NOTICE/, 'a word of 3500 letters is no news');

    for (['binary.txt', 'NUL'], ['latin1.md', 'not valid UTF-8 at byte 3'],
         ['empty.md', 'no text'], ['broken.xml', 'not well-formed'],
         ['laughs.xml', 'declares entities'],
         ['passwd.xml', 'declares entities'], ['deep.xml', 'too deeply'],
         ['line.txt', 'larger than 16 MB'], ['outside.txt', 'outside'],
         ['sub/loop', 'link to a folder'], ['dangling.md', 'link to nothing'])
    {
        like($err, qr/^skipped \S*\/\Q$_->[0]\E: .*\Q$_->[1]\E/m, $_->[0]);
    }
    unlike($err, qr/\e|\x{9b}|^skipped all/m,
        'a_name_of_a_file_neither_steers_the_terminal_nor_makes_a_line');
    like($err, qr/red\?\[31m\?\?2J\?skipped all: fine.md: has no text/,
        'it is shown without its control characters');
    unlike($err . $out, qr/hidden/, 'hidden files are passed over');
    ok(abstains(answer('What is the hidden word abracadabra?')), 'unread');
    like(answer('What is the good word?')->{response}, qr/hocuspocus/, 'read');
    statistics_ok('bad files');

    is((ingest("$bad/binary.txt"))[0], 1, 'a bad file alone is a failure');
    is((ingest($t->dir . '/not-there'))[0], 1, 'so is one that is not there');
    is((ingest())[0], 2, 'no path');
    is((ingest('--visibility', 'world', $bad))[0], 2, 'bad visibility');
    is((ingest('--visibility', 'groups', $bad))[0], 2, 'groups without any');
};


subtest 'two ingests at once' => sub {
    my @folders = map { $t->dir . "/many$_" } 1, 2;
    my @words = map { join '', map { chr(97 + int rand 26) } 1 .. 5 } 1 .. 300;

    for my $round (1 .. 2) {
        for my $f (@folders) {
            make_path($f);
            for my $i (1 .. 40) {
                $t->write_file("$f/$i.md", join "\n\n", map {
                    join(' ', map { $words[rand @words] } 1 .. 60) . '.'
                } 1 .. 8);
            }
        }

        # the same names from two folders: each document is the one's or the
        # other's, never a mixture
        my @pids = map {
            my $f = $_;
            my $pid = fork // die "fork: $!\n";
            if ($pid == 0) {
                my ($status) = ingest('--collection', 'many', $f);
                POSIX::_exit($status);
            }
            $pid;
        } @folders, $folders[0];

        my $failed = 0;
        for (@pids) {
            waitpid $_, 0;
            $failed ||= $?;
        }

        is($failed, 0, "round $round: all went through");
        is($t->sql('admin', q{SELECT count(*) FROM trifecta.document d JOIN
            trifecta.collection c ON c.id = d.collection
            WHERE c.name = 'many'})->[0][0], 40, 'each document once');
        statistics_ok("round $round");
    }
};


subtest 'who may see what' => sub {
    my $dir = $t->dir . '/secret';
    make_path($dir);
    my %word = map { $_ => "zq${_}x" . int rand 1e6 }
        qw(tenant alice staff acme);

    for my $who (sort keys %word) {
        $t->write_file("$dir/$who.md",
            "# Vault of $who\n\nThe combination is $word{$who} today.\n");
    }

    is(ingest("$dir/tenant.md"), 0, 'for the tenant');
    is(ingest('--owner', 'test:alice', '--visibility', 'private',
        "$dir/alice.md"), 0, 'private');
    is(ingest('--visibility', 'groups', '--groups', 'staff,board',
        "$dir/staff.md"), 0, 'for groups');
    is(ingest('--tenant', 'acme', "$dir/acme.md"), 0, 'of another tenant');

    my %sees = (
        alice => [$t->token(sub => 'alice'), qw(tenant alice)],
        bob   => [$t->token(sub => 'bob'), qw(tenant)],
        carol => [$t->token(sub => 'carol', groups => ['staff']),
                  qw(tenant staff)],
        dave  => [$t->token(sub => 'alice', tenant => 'acme'), qw(acme)],
    );

    for my $who (sort keys %sees) {
        my ($token, @may) = @{ $sees{$who} };
        my %may = map { $_ => 1 } @may;

        for my $doc (sort keys %word) {
            my $text = answer("What is the combination $word{$doc} of the "
                . "vault of $doc?", token => $token);
            my $all = join "\n", $text->{response},
                map { "$_->{source} $_->{title}" } @{ $text->{citations} };
            my $found = $text->{response} =~ /combination is $word{$doc}/;

            is(!!$found, !!$may{$doc}, "$who, document of $doc");

            for my $other (grep { !$may{$_} } keys %word) {
                unlike($all, qr/is $word{$other}|Vault of $other|$other\.md/,
                    "$who learns nothing of $other");
            }
        }
    }

    # the second lock: whatever a statement of the role says

    my $dbh = $t->dbh('rag');
    is($t->sql('rag', 'SELECT count(*) FROM trifecta.chunk')->[0][0], 0,
        'nobody sees no chunk');

    $dbh->begin_work;
    $dbh->do(q{SELECT set_config('trifecta.tenant', 'default', true),
        set_config('trifecta.owner', 'test:bob', true),
        set_config('trifecta.groups', '[]', true)});
    my ($n) = $dbh->selectrow_array('SELECT count(*) FROM trifecta.chunk '
        . "WHERE body LIKE '%combination%'");
    is($n, 1, 'bob sees one');
    is($dbh->do('DELETE FROM trifecta.chunk') + 0, 0, 'and deletes none');
    is($dbh->do('DELETE FROM trifecta.posting') + 0, 0, 'nor postings');
    is($dbh->do('DELETE FROM trifecta.document') + 0, 0, 'nor documents');
    is($dbh->do('UPDATE trifecta.document SET title = title') + 0, 0,
        'nor changes one');

    my ($acl) = $dbh->selectrow_array('SELECT acl FROM trifecta.document '
        . 'LIMIT 1');
    ok(!eval {
        local $dbh->{PrintError} = 0;
        $dbh->do('INSERT INTO trifecta.posting VALUES (1, 1, ?, 1, 1)', {},
            $acl);
    }, 'nor adds postings under the rule of another owner');
    $dbh->rollback;
};


SKIP: {
    my $data = $t->data . '/docs-nginx/nginx.org-xml';

    if (!-d $data) {
        diag "skipped: no $data (TRIFECTA_TEST_DATA)";
        skip 'no docs-nginx', 1;
    }

    subtest 'documentation of nginx' => sub {
        my ($status, $out) = ingest($data);
        is($status, $out =~ /; 1 skipped/ ? 4 : 0, 'ingested, but for one at most');
        diag $out =~ s/\n//r;

        my $end = answer('What is the default value of proxy_read_timeout?');
        is($end->{citations}[0]{source}, 'http/ngx_http_proxy_module.xml',
            'cites ngx_http_proxy_module first');
        like($end->{response}, qr/proxy_read_timeout 60s/, 'quotes 60s');

        my (%count, %default);
        open my $find, '-|', 'find', $data, '-name', '*.xml' or die;
        for my $file (map { chomp; $_ } <$find>) {
            my $text = decode('UTF-8', file_bytes($file, 0, -s $file));
            $text =~ s/<!--.*?-->//gs;
            while ($text =~ m{<directive name="([^"]+)">(.*?)</directive>}gs) {
                $count{$1}++;
                my ($name, $inner) = ($1, $2);
                $inner =~ m{<default>\s*(.*?)\s*</default>}s or next;
                my $value = $1 =~ s/<[^>]*>//gr =~ s/\s+/ /gr;
                $value =~ s/&lt;/</g;
                $value =~ s/&gt;/>/g;
                $value =~ s/&amp;/&/g;
                $default{$name} = $value if length $value;
            }
        }

        my @names = (shuffle(sort grep { $count{$_} == 1 } keys %default))
            [0 .. 19];
        my @words = map { split /_/ } sort keys %count;
        my ($right, $honest) = (0, 0);

        for my $name (@names) {
            my $end = answer("What is the default value of $name?");
            my $ok = @{ $end->{citations} }
                && index($end->{response} =~ s/\s+/ /gr, $default{$name}) >= 0;
            $right += $ok;
            diag "$name ($default{$name}): $end->{response}" unless $ok;
        }
        cmp_ok($right, '>=', 18, "defaults: $right of 20");

        for (1 .. 20) {
            my $name;
            do {
                $name = join '_', map { $words[rand @words] }
                    1 .. 2 + int rand 2;
            } while $count{$name};
            my $end = answer("What is the default value of $name?");
            $honest += abstains($end);
            diag "$name: $end->{response}" unless abstains($end);
        }
        cmp_ok($honest, '>=', 18, "invented directives: $honest of 20");
        diag "defaults $right of 20, invented $honest of 20";
    };
}

$t->finish;
done_testing;
