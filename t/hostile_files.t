# Hostile files: each is stopped by a limit or a rule that is named, the files
# beside it are read, and nothing of it gets into the store.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Compress::Zlib ();
use File::Path qw(make_path);
use MIME::Base64 qw(encode_base64);
use Test::More;
use Time::HiRes qw(time);

use Trifecta::Test;
use Trifecta::Test::Documents qw(zip tar gz docx docx_xml odt pptx xlsx pdf
                                 eml);

my $t = Trifecta::Test->new(sidecars => 0, start => 0);
$t->start('redis');
$t->start('pg');
$t->migrate;

my $n = 0;
my $MB = 1024 * 1024;


# a folder with these files and a good one; what the command said

sub ingest {
    my ($files, @options) = @_;
    my $dir = $t->dir . '/hostile' . ++$n;

    make_path($dir);
    $t->write_file("$dir/good.md", "The good file number $n is read.\n");
    for (sort keys %$files) {
        if (ref $files->{$_}) {
            $files->{$_}->("$dir/$_");
        } else {
            $t->write_file("$dir/$_", $files->{$_});
        }
    }

    my ($status, $out, $err) = $t->run('ingest', @options, $dir);
    return { status => $status, out => $out, err => $err, dir => $dir };
}

# every hostile file: one is skipped, by this reason; the good one is read

sub stopped {
    my ($name, $file, $data, $why, @options) = @_;

    subtest $name => sub {
        my $begin = time;
        my $run = ingest({ $file => $data }, @options);

        is($run->{status}, 4, 'the exit status says that something is skipped');
        like($run->{err}, qr/^skipped \S*\Q$file\E\S*: .*$why/m,
            'by name, with the reason') or diag "$run->{out}$run->{err}";
        like($run->{err}, qr/^new good\.md: 1 chunks$/m, 'the rest goes on');
        like($run->{out}, qr/^1 files: 1 new, .*; [12] skipped/,
            'and nothing of it is stored') or diag $run->{out};
        cmp_ok(time - $begin, '<', 60 * $t->slow, 'in time');
        is($t->sql('admin', 'SELECT count(*) FROM trifecta.document d JOIN '
            . 'trifecta.collection c ON c.id = d.collection WHERE c.name = ?',
            "hostile$n")->[0][0], 1, 'one document');
    };
}

sub sparse {
    my ($size) = @_;
    return sub {
        open my $fh, '>', $_[0] or die "$_[0]: $!\n";
        truncate $fh, $size or die "$_[0]: $!\n";
    };
}

# gzip of a member of tar that is far too long, made piece by piece

sub streamed {
    my ($size) = @_;
    return sub {
        my $header = substr tar({ name => 'line.txt', size => $size }), 0, 512;
        my $gz = Compress::Zlib::gzopen($_[0], 'wb1') or die "$_[0]\n";
        $gz->gzwrite($header);
        my $piece = 'x' x $MB;
        $gz->gzwrite($piece) for 1 .. $size / $MB;
        $gz->gzwrite("\0" x 1024);
        $gz->gzclose;
    };
}


# Bombs

my $zeros = 'a' x (8 * $MB);

stopped('a_zip_bomb_is_stopped_by_the_ratio', 'bomb.zip',
    zip({ name => 'bomb.txt', data => $zeros }), qr/\(limit ratio=200\)/);
stopped('a_docx_bomb_is_stopped_by_the_ratio', 'bomb.docx',
    docx([p => $zeros]), qr/\(limit ratio=200\)/);
stopped('a_gzip_bomb_is_stopped_by_the_ratio', 'bomb.tgz',
    gz(tar({ name => 'bomb.txt', data => $zeros })),
    qr/\(limit ratio=200\)/);
subtest 'many_members_that_unpack_to_too_much_are_stopped' => sub {
    my $run = ingest({ 'flood.zip' => zip(map { { name => "$_.txt", data =>
        join '', map { rand . ' ' } 1 .. 1000 } } 1 .. 9) },
        '--limit', 'unpacked=64k');
    is($run->{status}, 4, 'the exit status says so');
    like($run->{err}, qr{^skipped \S*/flood\.zip: .*\(limit unpacked=64k\)}m,
        'by name') or diag $run->{err};
    like($run->{err}, qr{^new flood\.zip/1\.txt}m, 'the first ones are read');
    unlike($run->{err}, qr{^new flood\.zip/9\.txt}m, 'the last ones are not');
};

subtest 'members_that_share_their_bytes_are_counted_each' => sub {
    my $data = join '', map { rand . ' ' } 1 .. 10000;
    my $zip = zip({ name => 'a.txt', data => $data });
    my ($entry) = $zip =~ /(PK\x01\x02.*?a\.txt)PK\x05\x06/s;
    my $at = index $zip, "PK\x01\x02";
    my $directory = join '', map { substr($entry, 0, -5) . sprintf '%04d.txt',
        $_ } 0 .. 99;
    $directory =~ s/(PK\x01\x02.{24})\x05\x00/$1\x08\x00/sg;
    $zip = substr($zip, 0, $at) . $directory . pack('VvvvvVVv', 0x06054b50, 0,
        0, 100, 100, length $directory, $at, 0);
    my $run = ingest({ 'shared.zip' => $zip }, '--limit', 'unpacked=1m');
    is($run->{status}, 4, 'skipped');
    like($run->{err}, qr/limit unpacked=1m|is damaged/, 'by name')
        or diag $run->{err};
};

stopped('a_member_that_declares_4_gb_is_stopped_before_it_is_unpacked',
    'huge.docx', do {
        my $docx = docx([p => 'small']);
        my $at = index $docx, "PK\x01\x02";
        $at = index $docx, 'word/document.xml', $at;
        substr $docx, $at - 46 + 24, 4, pack 'V', 0xfffffffe;
        $docx;
    }, qr/word\/document\.xml says that it unpacks to 4294967294 .*\(limit unpacked=1g\)/);
stopped('a_member_that_is_longer_than_it_declares_is_counted_as_it_is',
    'lies.docx', do {
        my $docx = docx([p => $zeros]);
        my $at = index $docx, 'word/document.xml', index $docx, "PK\x01\x02";
        substr $docx, $at - 46 + 24, 4, pack 'V', 10;
        $docx;
    }, qr/\(limit ratio=200\)|is damaged/);
stopped('more_members_than_the_limit_are_stopped_before_they_are_read',
    'members.zip', zip(map { { name => "$_.md", data => 'x' } } 1 .. 10001),
    qr/has 10001 members \(limit members=10000\)/);
stopped('a_tar_with_more_members_is_stopped_at_the_limit', 'members.tar',
    tar(map { { name => "$_.bin", data => '' } } 1 .. 101),
    qr/\(limit members=100\)/, '--limit', 'members=100');

stopped('archives_in_archives_are_stopped_by_the_nesting', 'nested.zip', do {
    my $inner = zip({ name => 'secret.md', data => 'Too deep.' });
    $inner = zip({ name => "level$_.zip", data => $inner }) for 1 .. 5;
    $inner;
}, qr/\(limit nesting=3\)/);

subtest 'archives_in_archives_up_to_the_limit_are_read' => sub {
    my $inner = zip({ name => 'found.md', data => 'Just deep enough.' });
    $inner = zip({ name => "level$_.zip", data => $inner }) for 1 .. 3;
    my $run = ingest({ 'nested.zip' => $inner });
    is($run->{status}, 0, 'read') or diag $run->{err};
    like($run->{err}, qr{^new nested\.zip/level3\.zip/level2\.zip/level1\.zip/found\.md}m,
        'three inner ones');
};

subtest 'mails_in_mails_are_stopped_by_the_nesting' => sub {
    my $mail = "Subject: inner\r\n\r\nInnermost text.";
    $mail = eml("Subject: level $_", ["Content-Type: message/rfc822", $mail],
        ['Content-Type: text/plain', "Text $_."]) for 1 .. 5;
    my $run = ingest({ 'nested.eml' => $mail });
    is($run->{status}, 4, 'the exit status says so');
    like($run->{err}, qr/^skipped in nested\.eml: .*\(limit nesting=3\)/m,
        'by name') or diag $run->{err};
    like($run->{out}, qr/^2 files: 2 new/, 'the outer ones are read');
};


# XML

my $laughs = '<!DOCTYPE x [<!ENTITY a "haha">' . join('', map {
    my $e = chr(ord('a') + $_); my $p = chr(ord('a') + $_ - 1);
    "<!ENTITY $e \"" . "&$p;" x 10 . '">' } 1 .. 9) . ']>';

stopped('billion_laughs_in_xml', 'laughs.xml', "$laughs<x>&j;</x>",
    qr/declares entities/);
stopped('billion_laughs_in_docx', 'laughs.docx', zip(
    { name => 'word/document.xml', data => "$laughs<w>&j;</w>" }),
    qr/document type/);
stopped('billion_laughs_in_odt', 'laughs.odt', zip(
    { name => 'content.xml', data => "$laughs<w>&j;</w>" }),
    qr/document type/);
stopped('billion_laughs_in_xlsx', 'laughs.xlsx', zip(
    { name => 'xl/workbook.xml', data => "$laughs<w>&j;</w>" }),
    qr/document type/);
stopped('billion_laughs_in_pptx', 'laughs.pptx', zip(
    { name => 'ppt/presentation.xml', data => "$laughs<w>&j;</w>" }),
    qr/document type/);

subtest 'an_external_entity_is_not_loaded' => sub {
    my $secret = $t->dir . '/secret.txt';
    $t->write_file($secret, 'xyzzyplugh');
    my $run = ingest({
        'a.xml' => "<!DOCTYPE x [<!ENTITY e SYSTEM \"file://$secret\">]>"
            . '<x>&e;</x>',
        'b.xml' => "<!DOCTYPE x SYSTEM \"file://$secret\"><x>text b</x>",
        'c.docx' => zip({ name => 'word/document.xml', data =>
            "<!DOCTYPE x [<!ENTITY e SYSTEM \"file://$secret\">]><w>&e;</w>" }),
        'd.html' => "<!DOCTYPE html [<!ENTITY e SYSTEM \"file://$secret\">]>"
            . '<p>text d &e;',
        'e.docx' => docx([raw => '<w:p xmlns:xi="http://www.w3.org/2001/'
            . "XInclude\"><xi:include href=\"file://$secret\" parse=\"text\"/>"
            . '<w:r><w:t>text e</w:t></w:r></w:p>']) });
    is($run->{status}, 4, 'some are skipped');
    like($run->{err}, qr/a\.xml: it declares entities/, 'XML');
    like($run->{err}, qr/c\.docx: .*document type/, 'docx');
    is($t->sql('admin', q{SELECT count(*) FROM trifecta.chunk
        WHERE body LIKE '%xyzzy%'})->[0][0], 0, 'its text is nowhere');
};

stopped('deep_xml_is_stopped_by_the_depth', 'deep.xml',
    '<a>' x 5000 . '</a>' x 5000, qr/\(limit depth=200\)/);
stopped('deep_html_is_stopped_by_the_depth', 'deep.html',
    '<div>' x 100_000 . 'x', qr/\(limit depth=200\)/);
stopped('deep_json_is_stopped_by_the_depth', 'deep.json',
    '[' x 100_000, qr/\(limit depth=200\)/);
stopped('a_deep_docx_is_stopped_by_the_depth', 'deep.docx',
    docx_xml('<w:p>' x 5000 . '</w:p>' x 5000), qr/\(limit depth=200\)/);


# PDF

stopped('a_pdf_of_10000_pages_is_stopped_by_pages', 'pages.pdf',
    pdf([map { ["Page $_"] } 1 .. 10_000]),
    qr/has 10000 pages \(limit pages=2000\); split the file/);
stopped('a_pdf_with_too_much_text_is_stopped_by_the_text', 'text.pdf',
    pdf([([map { 'word ' x 15 } 1 .. 50]) x 100]), qr/\(limit text=256k\)/,
    '--limit', 'text=256k');
stopped('a_pdf_that_takes_too_long_is_killed_at_its_time', 'slow.pdf', do {
    my $pdf = pdf([['x']]);
    my $work = "0 0 m 9 9 l S\n" x 200;
    my $form = '<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources '
        . '<< /XObject << /F %d 0 R >> >> /Length %d >>';
    # forms that call forms, ten times each
    my @objects;
    for my $i (1 .. 9) {
        my $body = "/F Do\n" x 10;
        push @objects, sprintf("%d 0 obj\n$form\nstream\n%sendstream\nendobj\n",
            100 + $i, 101 + $i, length $body, $body);
    }
    push @objects, sprintf "110 0 obj\n<< /Type /XObject /Subtype /Form /BBox "
        . "[0 0 9 9] /Length %d >>\nstream\n%sendstream\nendobj\n",
        length $work, $work;
    my $page = "/F Do\n" x 10;
    $pdf =~ s{/Font << /F1 3 0 R >>}{/XObject << /F 101 0 R >>};
    $pdf =~ s{<< /Length \d+ >>\nstream\n.*?endstream}
        {sprintf "<< /Length %d >>\nstream\n%sendstream", length $page, $page}se;
    $pdf =~ s/(?=xref\n0)/join '', @objects/e;
    $pdf;
}, qr/\(limit seconds=2\)/, '--limit', 'seconds=2');
stopped('a_pdf_that_needs_more_memory_is_stopped_by_the_memory', 'memory.pdf',
    pdf([['x']]), qr/limit memory/, '--limit', 'memory=16m');
stopped('a_broken_pdf_is_skipped', 'broken.pdf', "%PDF-1.7\n" . 'junk ' x 1000,
    qr/is damaged/);
stopped('a_pdf_without_text_says_what_to_do', 'scan.pdf', pdf([[]]),
    qr/text recognition/);


# Lines, bytes, names

stopped('a_sparse_file_of_1_gb_is_stopped_by_its_size', 'line.txt',
    sparse(1024 * $MB), qr/larger than 64 MB \(limit file=64m\)/);
stopped('a_line_of_1_gb_in_an_archive_is_stopped_on_the_way', 'line.tar.gz',
    streamed(1024 * $MB), qr/has 1073741824 bytes \(limit file=64m\)/);
stopped('a_long_line_is_stopped_by_the_line', 'long.md',
    'x' x (2 * $MB), qr/line 1 has 2097152 bytes \(limit line=1m\)/);
stopped('a_long_row_of_csv_is_stopped_by_the_line', 'row.csv',
    "a,b\n\"" . "x\n" x $MB, qr/line 2 .*\(limit line=1m\)/);
stopped('a_binary_that_is_called_txt_is_told', 'program.txt',
    "\x7fELF\2\1\1" . "\0" x 100, qr/NUL bytes.*looks like a program/);
stopped('a_picture_that_is_called_md_is_told', 'picture.md',
    "\x89PNG\r\n\x1a\n" . join('', map { chr(128 + $_ % 100) } 1 .. 99),
    qr/not valid UTF-8 at byte 0 \(it looks like a picture/);
stopped('invalid_utf_8_is_told_with_what_to_do', 'latin1.txt', "caf\xe9\n",
    qr/not valid UTF-8 at byte 3; convert it, for example with iconv/);
stopped('NUL_in_text_is_told', 'nul.csv', "a,b\n1,\0002\n", qr/NUL bytes/);
stopped('a_pdf_that_is_called_docx_is_told', 'not.docx', pdf([['x']]),
    qr/is no ZIP file/);
stopped('a_zip_that_is_called_pdf_is_told', 'not.pdf',
    zip({ name => 'a', data => 'x' }), qr/is no PDF/);
stopped('an_encrypted_member_is_told', 'locked.docx', zip(
    { name => 'word/document.xml', data => '<w/>', flags => 1 }),
    qr/is encrypted/);
stopped('a_strange_method_of_packing_is_told', 'method.docx', zip(
    { name => 'word/document.xml', data => '<w/>', method => 14 }),
    qr/packed with method 14/);
stopped('an_archive_that_is_cut_is_told', 'cut.zip',
    substr(zip({ name => 'a.md', data => 'x' }), 0, 60), qr/is damaged/);
stopped('a_tar_that_is_cut_is_told', 'cut.tgz',
    substr(gz(tar({ name => 'a.bin', data => rand() x 1000 })), 0, -100),
    qr/is damaged/);

subtest 'paths_that_lead_out_of_an_archive_are_refused_by_name' => sub {
    my @bad = ('../up.md', 'a/../../up.md', '/etc/absolute.md',
        '..\\windows.md', 'C:\\windows.md');
    my $run = ingest({
        'paths.zip' => zip((map { { name => $_, data => 'x' } } @bad),
            { name => 'link.md', data => '/etc/passwd', mode => 0120777 },
            { name => 'fifo.md', data => '', mode => 010644 },
            { name => 'fine.md', data => 'Fine.' }),
        'paths.tar' => tar((map { { name => $_, data => 'x' } } @bad,
            "bad\xff.md"),
            { name => 'soft.md', type => '2', link => '/etc/passwd' },
            { name => 'hard.md', type => '1', link => '/etc/passwd' },
            { name => 'device.md', type => '3' },
            { name => 'pipe.md', type => '6' },
            { name => 'fine.md', data => 'Fine.' }) });
    is($run->{status}, 4, 'skipped');

    for my $archive ('paths.zip', 'paths.tar') {
        like($run->{err}, qr{^skipped \S*/$archive/\.\./up\.md: a path that leads out}m,
            "$archive: ..");
        like($run->{err}, qr{^skipped \S*/$archive/a/\.\./\.\./up\.md: a path that leads}m,
            "$archive: .. within");
        like($run->{err}, qr{^skipped \S*/$archive//etc/absolute\.md: an absolute path}m,
            "$archive: absolute");
        like($run->{err}, qr{^skipped \S*/$archive/\.\.\\windows\.md: a path}m,
            "$archive: backslashes");
        like($run->{err}, qr{^skipped \S*/$archive/C:\\windows\.md: an absolute path}m,
            "$archive: a drive");
        like($run->{err}, qr{^new $archive/fine\.md: 1 chunks}m,
            "$archive: the rest is read");
    }

    like($run->{err}, qr{paths\.zip/link\.md: a link$}m, 'a link in zip');
    like($run->{err}, qr{paths\.zip/fifo\.md: a device, a FIFO}m, 'a FIFO');
    like($run->{err}, qr{paths\.tar/soft\.md: a link$}m, 'a link in tar');
    like($run->{err}, qr{paths\.tar/hard\.md: a link$}m, 'a hard link');
    like($run->{err}, qr{paths\.tar/device\.md: a device}m, 'a device');
    like($run->{err}, qr{paths\.tar/pipe\.md: a device or a FIFO}m, 'a pipe');
    like($run->{out}, qr/^3 files: 3 new/, 'no more than the good ones')
        or diag "$run->{out}$run->{err}";
    like($run->{err}, qr{^skipped .*: its name is not valid UTF-8}m, 'a name');
    ok(!-e "$run->{dir}/../up.md", 'nothing was written');
};

subtest 'a_bad_archive_lets_nobody_conclude_that_files_are_gone' => sub {
    my $dir = $t->dir . '/trust';
    make_path($dir);
    $t->write_file("$dir/a.tar", tar(map { { name => "$_.md",
        data => "The word is $_.\n" } } qw(one two)));
    $t->run('ingest', $dir);
    $t->write_file("$dir/a.tar", substr(tar(map { { name => "$_.md",
        data => "The word is $_.\n" } } qw(one two)), 0, 1200));
    my ($status, $out, $err) = $t->run('ingest', '--delete', '--collection',
        'trust', $dir);
    like($err, qr/nothing is removed, because not everything in it can be/,
        'said');
    is($t->sql('admin', q{SELECT count(*) FROM trifecta.document WHERE source
        LIKE 'a.tar/%'})->[0][0], 2, 'both are there');
};

subtest 'a_mail_keeps_its_text_when_an_attachment_is_bad' => sub {
    my $run = ingest({ 'mail.eml' => eml('Subject: Bad things',
        ['Content-Type: text/plain', 'The text of the mail is read.'],
        ["Content-Type: application/x; name=\"bomb.docx\"\r\n"
        . 'Content-Transfer-Encoding: base64',
        encode_base64(docx([p => $zeros]))],
        ["Content-Type: application/x; name=\"virus.exe\"", 'MZ']) });
    is($run->{status}, 4, 'the exit status says so');
    like($run->{err}, qr/^skipped in mail\.eml: Attachment bomb\.docx is left out: .*\(limit ratio=200\)/m,
        'by name') or diag $run->{err};
    is($t->sql('admin', q{SELECT count(*) FROM trifecta.chunk
        WHERE body LIKE '%text of the mail is read%'})->[0][0], 1, 'the text');
};

subtest 'a_poppler_that_is_missing_is_named' => sub {
    plan skip_all => 'unshare(1) cannot make a mount namespace'
        if system('unshare -m true 2>/dev/null') != 0;
    my $dir = $t->dir . '/missing';
    make_path($dir);
    $t->write_file("$dir/a.pdf", pdf([['x']]));
    my $out = `unshare -m sh -c 'for f in \$(command -v pdfinfo pdftotext); do mount --bind /dev/null \$f; done; exec "$t->{bin}" ingest --text "$dir/a.pdf"' 2>&1`;
    like($out, qr/pdfinfo.*install the package poppler-utils/, 'by name');
};

$t->finish;
done_testing;
