# Statements of a search are prepared once a connection.  What their tables
# have become since, or who has taken their names, does not fail a question.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecar => { threads => 1 });

mkdir "$t->{dir}/doc";
$t->write_file("$t->{dir}/doc/kettle.md",
    "# Kettle\n\nThe kettle boils in ninety seconds.\n");
my ($status, $out, $err) = $t->run('ingest', '--visibility', 'tenant',
    "$t->{dir}/doc");
is($status, 0, 'ingested') or diag $out . $err;

sub asked {
    my ($name, $question) = @_;
    my $end = $t->ask_and_wait($question,
        model => 'extractive');
    is($end->{status}, 'succeeded', $name);
    like($end->{response}, qr/ninety seconds/, '... with its answer');
    return $end;
}

# a new connection takes it up

$t->sql('admin', "ALTER SYSTEM SET log_statement = 'all'");
$t->sql('admin', 'SELECT pg_reload_conf()');
$t->restart('sidecar');

asked("question: $_", $_) for 'When does the kettle boil?', 'kettle boils',
    'In how many seconds does the kettle boil?';

$t->dbh('admin')->do('ALTER TABLE trifecta.document ALTER COLUMN title '
    . 'TYPE varchar(2000)');
my $end = asked('a_table_that_has_changed_fails_no_question',
    'seconds of the kettle');
cmp_ok($end->{attempt} // $end->{attempts} // 1, '<=', 2,
    'one more attempt at most');
asked('and those after it', 'ninety seconds?');

my (%text, %names);

my $log = $t->log_of('pg');
while ($log =~ /execute (tf_[^:\s]*): (.*(?:\n\t.*)*)/g) {
    $text{$1}{$2} = 1;
    $names{$2}{$1} = 1;
}
cmp_ok(scalar keys %text, '>', 1, 'statements were prepared');
is_deeply([grep { !/^tf_[0-9a-f]{16}$/ } keys %text], [],
    'their names say which text they stand for');
is_deeply([grep { keys %{ $text{$_} } > 1 } keys %text], [],
    'no name has stood for two');
is_deeply([grep { keys %{ $names{$_} } > 1 } keys %names], [],
    'and no text had two');

$t->finish;
done_testing;
