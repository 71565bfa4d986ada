# A language a collection, and questions over several of them at once.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new;

sub ingest {
    return $t->run('ingest', '--quiet', @_);
}

for my $name (qw(en de)) {
    mkdir $t->dir . "/$name";
}

$t->write_file($t->dir . '/en/pumps.md', "# Pumps\n\n"
    . "The pumps of the cellar are checked every Thursday.\n");
$t->write_file($t->dir . '/de/miete.md', "# Mietvertrag\n\n"
    . "Die Fristen der Vermieterin betragen sechzehn Wochen.\n");

my ($rc, $out, $err) = ingest($t->dir . '/en');
is($rc, 0, 'English by default') or diag $err;
($rc, $out, $err) = ingest('--language', 'german', $t->dir . '/de');
is($rc, 0, 'German by --language') or diag $err;
is_deeply($t->sql('admin', 'SELECT name, language FROM trifecta.collection '
    . 'ORDER BY name'), [['de', 'german'], ['en', 'english']],
    'each_collection_has_its_language');

($rc, $out, $err) = ingest('--language', 'english', $t->dir . '/de');
is($rc, 1, 'it stays');
like($err, qr/"de" is german and stays so/, 'and says so');
($rc, $out, $err) = ingest('--language', 'klingon', '--collection', 'k',
    $t->dir . '/de');
is($rc, 1, 'a language that PostgreSQL does not have');
like($err, qr/klingon/, 'is named');

sub says {
    my ($question, $what, $name) = @_;
    my $end = $t->ask_and_wait($question, timeout => 30 * $t->slow);
    like($end->{response}, $what, $name);
}

says('Wie lang ist die Frist der Vermieterin?', qr/sechzehn Wochen.*\[1\]/s,
    'a_german_question_finds_german_words_by_their_stems');
says('How often is the pump of the cellar checked?',
    qr/every Thursday.*\[1\]/s, 'an_english_one_english_words');
says('Wie schwer ist der Elefant der Königin?', qr/did not find/,
    'what_is_not_there_is_not_answered');

$t->finish;
done_testing;
