package Trifecta::Test::Documents;

=head1 NAME

Trifecta::Test::Documents - small real files of each format, and bad ones

=head1 SYNOPSIS

    use Trifecta::Test::Documents qw(zip tar gz docx odt pptx xlsx pdf eml);

    my $bytes = zip({ name => 'a.md', data => "# A\n" },
                    { name => 'link', data => '/etc/passwd',
                      mode => 0120777 });
    my $docx = docx([h1 => 'Heading'], [p => 'Text.'], [li => 'Item'],
                    [table => ['a', 'b'], [1, 2]]);

All return bytes.  A member of zip() may lie: size (declared), packed
(declared), method, flags, raw (bytes as they are).

=cut

use strict;
use warnings;

use Compress::Zlib ();
use Encode qw(encode);
use Exporter qw(import);
use MIME::Base64 qw(encode_base64);

our @EXPORT_OK = qw(zip tar gz docx docx_xml odt pptx xlsx pdf eml);


sub escaped { $_[0] =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr }

sub xml { qq{<?xml version="1.0" encoding="UTF-8"?>\n} . encode('UTF-8', $_[0]) }


sub deflated {
    my ($data) = @_;
    my $z = Compress::Zlib::deflateInit(-Level => 9, -WindowBits => -15);
    my ($out) = $z->deflate($data);
    return $out . $z->flush;
}


sub zip {
    my @members = @_;
    my ($out, $directory) = ('', '');

    for my $m (@members) {
        my $data = $m->{data} // '';
        my $method = $m->{method} // 8;
        my $raw = $m->{raw} // ($method == 8 ? deflated($data) : $data);
        my $crc = $m->{crc} // Compress::Zlib::crc32($data);
        my $size = $m->{size} // length $data;
        my $packed = $m->{packed} // length $raw;
        my $flags = $m->{flags} // 0x800;
        my $at = length $out;

        $out .= pack('VvvvvvVVVvv', 0x04034b50, 20, $flags, $method, 0, 0x21,
            $crc, $packed, $size, length $m->{name}, 0) . $m->{name} . $raw;
        $directory .= pack('VvvvvvvVVVvvvvvVV', 0x02014b50, 0x031e, 20,
            $flags, $method, 0, 0x21, $crc, $packed, $size, length $m->{name},
            0, 0, 0, 0, ($m->{mode} // 0100644) << 16, $at) . $m->{name};
    }

    my $n = @members > 65535 ? 65535 : @members;

    return $out . $directory . pack('VvvvvVVv', 0x06054b50, 0, 0, $n, $n,
        length $directory, length $out, 0);
}


sub gz { Compress::Zlib::memGzip($_[0]) }


sub tar {
    my $out = '';

    for my $m (@_) {
        my $data = $m->{data} // '';
        my $size = $m->{size} // length $data;
        my $header = pack('a100 a8 a8 a8 a12 a12 a8 a1 a100 a6 a2 a32 a32 a8 '
            . 'a8 a155 x12', $m->{name}, '0000644', '0000000', '0000000',
            sprintf('%011o', $size), sprintf('%011o', 0), ' ' x 8,
            $m->{type} // '0', $m->{link} // '', "ustar\0", '00', '', '', '',
            '', $m->{prefix} // '');

        substr $header, 148, 8, sprintf "%06o\0 ", unpack '%32C*', $header;
        $out .= $header . $data . "\0" x (-length($data) % 512);
    }

    return $out . "\0" x 1024;
}


my $W = 'http://schemas.openxmlformats.org/wordprocessingml/2006/main';
my $R = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships';
my $A = 'http://schemas.openxmlformats.org/drawingml/2006/main';
my $P = 'http://schemas.openxmlformats.org/presentationml/2006/main';
my $S = 'http://schemas.openxmlformats.org/spreadsheetml/2006/main';


sub core {
    my ($title) = @_;
    return { name => 'docProps/core.xml', data => xml('<cp:coreProperties '
        . 'xmlns:cp="x" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        . '<dc:title>' . escaped($title) . '</dc:title></cp:coreProperties>') };
}


sub relations {
    my ($name, @targets) = @_;
    my $n = 0;
    return { name => $name, data => xml('<Relationships xmlns="http://schemas.'
        . 'openxmlformats.org/package/2006/relationships">' . join('', map {
            $n++;
            qq{<Relationship Id="rId$n" Type="$R/$_->[0]" Target="$_->[1]"/>}
        } @targets) . '</Relationships>') };
}


# a document of one XML body; the styles are those that Word has

sub docx_xml {
    my ($body, @more) = @_;
    return zip({ name => '[Content_Types].xml', data => xml('<Types/>') },
        { name => 'word/styles.xml', data => xml(qq{<w:styles xmlns:w="$W">}
            . join('', map { qq{<w:style w:type="paragraph" w:styleId="Kopf$_">}
                . qq{<w:name w:val="heading $_"/></w:style>} } 1 .. 3)
            . '<w:style w:styleId="Titel"><w:name w:val="Title"/></w:style>'
            . '<w:style w:styleId="Sub"><w:name w:val="Mine"/>'
            . '<w:basedOn w:val="Kopf2"/></w:style>'
            . '<w:style w:styleId="Code"><w:name w:val="Source Code"/>'
            . '</w:style><w:style w:styleId="Geheim"><w:name w:val="Secret"/>'
            . '<w:rPr><w:vanish/></w:rPr></w:style></w:styles>') },
        { name => 'word/document.xml', data => xml(qq{<w:document xmlns:w="$W">}
            . "<w:body>$body</w:body></w:document>") }, @more);
}


sub w_run {
    my ($text, $more) = @_;
    return '<w:r>' . ($more // '') . '<w:t xml:space="preserve">'
        . escaped($text) . '</w:t></w:r>';
}


sub docx {
    my @parts = @_;
    my %style = (h1 => 'Kopf1', h2 => 'Kopf2', sub => 'Sub',
                 title => 'Titel', code => 'Code', secret => 'Geheim');
    my ($body, @more) = ('');

    for (@parts) {
        my ($kind, @text) = @$_;

        if ($kind eq 'table') {
            $body .= '<w:tbl>' . join('', map { '<w:tr>' . join('', map {
                '<w:tc><w:p>' . w_run($_) . '</w:p></w:tc>' } @$_)
                . '</w:tr>' } @text) . '</w:tbl>';
        } elsif ($kind eq 'core') {
            push @more, core($text[0]);
        } elsif ($kind eq 'raw') {
            $body .= $text[0];
        } else {
            my $level = $kind =~ /\Ali(\d)?\z/ ? $1 // 0 : undef;
            my $properties = $style{$kind}
                ? qq{<w:pPr><w:pStyle w:val="$style{$kind}"/></w:pPr>}
                : defined $level ? '<w:pPr><w:numPr><w:ilvl w:val="' . $level
                    . '"/><w:numId w:val="1"/></w:numPr></w:pPr>' : '';
            $body .= "<w:p>$properties" . w_run($text[0]) . '</w:p>';
        }
    }

    return docx_xml($body, @more);
}


sub odt {
    my ($body, $styles) = @_;
    return zip(
        { name => 'mimetype', method => 0,
          data => 'application/vnd.oasis.opendocument.text' },
        { name => 'content.xml', data => xml('<office:document-content '
            . join(' ', map { qq{xmlns:$_="urn:$_"} } qw(office text table
                style)) . '><office:automatic-styles>' . ($styles // '')
            . "</office:automatic-styles><office:body><office:text>$body"
            . '</office:text></office:body></office:document-content>') },
        { name => 'meta.xml', data => xml('<office:document-meta '
            . 'xmlns:office="o" xmlns:dc="dc"><dc:title>The ODT</dc:title>'
            . '</office:document-meta>') });
}


# slides: [title, body xml, notes, hidden]

sub pptx {
    my @slides = @_;
    my $n = 0;
    my @members = (relations('ppt/_rels/presentation.xml.rels', map {
        ['slide', "slides/slide$_.xml"] } reverse 1 .. @slides));

    my $sp = sub {
        my ($type, $text) = @_;
        return '<p:sp><p:nvSpPr><p:cNvPr id="1" name="x"/><p:nvPr>'
            . (defined $type ? "<p:ph$type/>" : '') . '</p:nvPr></p:nvSpPr>'
            . "<p:txBody>$text</p:txBody></p:sp>";
    };

    for (@slides) {
        my ($title, $body, $notes, $hidden) = @$_;
        $n++;
        push @members, { name => "ppt/slides/slide$n.xml", data => xml(
            qq{<p:sld xmlns:p="$P" xmlns:a="$A"} . ($hidden ? ' show="0"' : '')
            . '><p:cSld><p:spTree>' . $sp->('', $body)
            . $sp->(' type="title"', '<a:p><a:r><a:t>' . escaped($title)
                . '</a:t></a:r></a:p>')
            . $sp->(' type="sldNum"', '<a:p><a:fld><a:t>99</a:t></a:fld></a:p>')
            . '</p:spTree></p:cSld></p:sld>') };
        next unless defined $notes;
        push @members, relations("ppt/slides/_rels/slide$n.xml.rels",
            ['notesSlide', "../notesSlides/notesSlide$n.xml"]),
            { name => "ppt/notesSlides/notesSlide$n.xml", data => xml(
            qq{<p:notes xmlns:p="$P" xmlns:a="$A">} . $sp->(' type="body"',
                '<a:p><a:r><a:t>' . escaped($notes) . '</a:t></a:r></a:p>')
            . '</p:notes>') };
    }

    # the order is that of the list, not of the names
    my $last = @slides;
    return zip(@members, { name => 'ppt/presentation.xml', data => xml(
        qq{<p:presentation xmlns:p="$P" xmlns:r="$R"><p:sldIdLst>} . join('',
            map { my $id = $last - $_ + 1; qq{<p:sldId id="$_" r:id="rId$id"/>} }
            1 .. $last) . '</p:sldIdLst></p:presentation>') });
}


# sheets: [name, xml of rows, state]; shared strings

sub xlsx {
    my ($sheets, $strings, @more) = @_;
    my $n = 0;
    my @list = map { $n++; qq{<sheet name="$_->[0]" sheetId="$n" r:id="rId$n"}
        . ($_->[2] ? qq{ state="$_->[2]"} : '') . '/>' } @$sheets;
    $n = 0;

    return zip(
        relations('xl/_rels/workbook.xml.rels', map {
            ['worksheet', "worksheets/sheet$_.xml"] } 1 .. @$sheets),
        { name => 'xl/workbook.xml', data => xml(
            qq{<workbook xmlns="$S" xmlns:r="$R"><sheets>@list</sheets>}
            . '</workbook>') },
        { name => 'xl/styles.xml', data => xml(qq{<styleSheet xmlns="$S">}
            . '<numFmts><numFmt numFmtId="165" formatCode="yyyy\-mm\-dd '
            . 'hh:mm"/><numFmt numFmtId="166" formatCode="0.00 &quot;days'
            . '&quot;"/></numFmts><cellStyleXfs><xf numFmtId="14"/>'
            . '</cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/>'
            . '<xf numFmtId="165"/><xf numFmtId="166"/><xf numFmtId="20"/>'
            . '</cellXfs></styleSheet>') },
        { name => 'xl/sharedStrings.xml', data => xml(qq{<sst xmlns="$S">}
            . join('', map { "<si>$_</si>" } @$strings) . '</sst>') },
        (map { $n++; { name => "xl/worksheets/sheet$n.xml", data => xml(
            qq{<worksheet xmlns="$S"><sheetData>$_->[1]</sheetData>}
            . '</worksheet>') } } @$sheets), @more);
}


# pages: lines of text each; options: title, count (what it claims)

sub pdf {
    my ($pages, %o) = @_;
    my @objects = ('', '');     # catalog and pages come last
    my @kids;

    push @objects, '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>';

    for my $lines (@$pages) {
        my $y = 760;
        my $text = "BT /F1 12 Tf\n";
        for (@$lines) {
            my $line = s/([\\()])/\\$1/gr;
            $text .= "1 0 0 1 50 $y Tm ($line) Tj\n";
            $y -= 14;
        }
        $text .= 'ET';
        push @objects, '<< /Length ' . length($text) . " >>\nstream\n$text\n"
            . 'endstream';
        push @objects, '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] '
            . '/Resources << /Font << /F1 3 0 R >> >> /Contents '
            . scalar(@objects) . ' 0 R >>';
        push @kids, scalar(@objects) . ' 0 R';
    }

    $objects[0] = '<< /Type /Catalog /Pages 2 0 R >>';
    $objects[1] = "<< /Type /Pages /Kids [@kids] /Count "
        . ($o{count} // scalar @kids) . ' >>';
    push @objects, '<< /Title (' . $o{title} . ') >>' if defined $o{title};

    my ($out, @at) = ("%PDF-1.4\n");
    for my $n (1 .. @objects) {
        push @at, length $out;
        $out .= "$n 0 obj\n$objects[$n - 1]\nendobj\n";
    }

    my $xref = length $out;
    $out .= 'xref' . "\n0 " . (@objects + 1) . "\n0000000000 65535 f \n"
        . join('', map { sprintf "%010d 00000 n \n", $_ } @at)
        . 'trailer << /Size ' . (@objects + 1) . ' /Root 1 0 R '
        . (defined $o{title} ? '/Info ' . @objects . ' 0 R ' : '')
        . ">>\nstartxref\n$xref\n%%EOF\n";

    return $out;
}


# headers, then parts: [headers, body]; one part is the body itself

my $boundaries = 0;

sub eml {
    my ($headers, @parts) = @_;
    my $b = '=_b' . ++$boundaries . '_';

    if (@parts == 1) {
        return "$headers\r\n$parts[0][0]\r\n\r\n$parts[0][1]";
    }

    return "$headers\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
        . "boundary=\"$b\"\r\n\r\nnot shown\r\n"
        . join('', map { "--$b\r\n$_->[0]\r\n\r\n$_->[1]\r\n" } @parts)
        . "--$b--\r\n";
}


1;
