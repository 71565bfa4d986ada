# What documents are said to be, and where a question looks: metadata from
# documents and from the command, filters and collections of a question, and
# that nobody learns of what he may not see.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecar => { threads => 4 });
my $dir = $t->dir . '/docs';

mkdir $dir;

sub put { my ($name, $text) = @_; $t->write_file("$dir/$name", $text) }

sub ingest {
    my ($status, $out, $err) = $t->run('ingest', @_);
    diag "$out$err" if $status;
    return wantarray ? ($status, $out, $err) : $status;
}

# Which sources an answer cites, or its error.

sub cited {
    my ($body, %o) = @_;
    my $end = $t->ask_and_wait(delete $body->{query} // 'Who feeds the walrus?',
                               body => $body, timeout => 30 * $t->slow, %o);
    return "$end->{error}{code}" if $end->{error};
    my %of = map { $_->{source} => 1 } @{ $end->{citations} // [] };
    return join ' ', sort keys %of;
}


# Where metadata comes from

my $fact = 'The keeper feeds the walrus with fresh clams, and has the number';

put('a.md', "---\ntitle: First\nauthor: Ada Lovelace\nyear: 2019\n"
    . "date: 2026-01-15\ntags: [zoo, food]\n---\n\n$fact one.\n");
put('b.md', "---\nauthor: Grace Hopper\nyear: 2021\ndate: 2026-03-01\n"
    . "tags:\n  - zoo\n---\n\n$fact two.\n");
put('c.html', '<html><head><title>C</title><meta name="author" content='
    . '"Ada Lovelace"><meta property="article:published_time" content='
    . "\"2026-03-01T10:30:00+02:00\"></head><body><p>$fact three.</p>"
    . '</body></html>');
put('d.eml', "From: \"Alan Turing\" <alan\@example.org>\nTo: z\@example.org\n"
    . "Subject: Feeding\nDate: Tue, 3 Mar 2026 23:30:00 -0200\n\n$fact four.\n");
put('plain.txt', "$fact five.\n");

is(ingest('--collection', 'zoo', $dir), 0, 'ingested');

my $rows = $t->sql('admin', 'SELECT d.source, m.name, m.value, m.number,'
    . " to_char(m.moment AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
    . ' FROM trifecta.document_meta m JOIN trifecta.document d'
    . ' ON d.id = m.document ORDER BY d.source, m.name, m.seq');

is_deeply [map { join '|', map { $_ // '-' } @$_ } @$rows], [
    'a.md|author|Ada Lovelace|-|-',
    'a.md|date|2026-01-15|-|2026-01-15 00:00',
    'a.md|tags|zoo|-|-', 'a.md|tags|food|-|-',
    'a.md|year|2019|2019|-',
    'b.md|author|Grace Hopper|-|-',
    'b.md|date|2026-03-01|-|2026-03-01 00:00',
    'b.md|tags|zoo|-|-',
    'b.md|year|2021|2021|-',
    'c.html|author|Ada Lovelace|-|-',
    'c.html|date|2026-03-01T10:30:00+02:00|-|2026-03-01 08:30',
    'd.eml|author|Alan Turing|-|-',
    'd.eml|date|2026-03-03T23:30:00-02:00|-|2026-03-04 01:30',
], 'documents_give_their_author_and_date_themselves';


# Filters

my @filters = (
    [{ author => 'Ada Lovelace' }, 'a.md c.html'],
    [{ Author => { eq => 'Ada Lovelace' } }, 'a.md c.html'],
    [{ author => 'Ada' }, ''],
    [{ author => { in => ['Alan Turing', 'Grace Hopper'] } }, 'b.md d.eml'],
    [{ year => 2019 }, 'a.md'],
    [{ year => '2019' }, 'a.md'],
    [{ year => { gte => 2019, lt => 2021 } }, 'a.md'],
    [{ year => { gt => 2019 } }, 'b.md'],
    [{ year => { in => [2019, 2021, 7] } }, 'a.md b.md'],
    [{ date => { lt => '2026-03-01' } }, 'a.md'],
    [{ date => '2026-03-01' }, 'b.md c.html'],
    [{ date => { lte => '2026-03-01' } }, 'a.md b.md c.html'],
    [{ date => { gt => '2026-03-01' } }, 'd.eml'],
    [{ date => { gt => '2026-03-01T00:00:00Z' } }, 'c.html d.eml'],
    [{ date => { gte => '2026-03-04' } }, 'd.eml'],
    [{ tags => 'zoo', year => { gte => 2020 } }, 'b.md'],
    [{ tags => 'food', author => 'Grace Hopper' }, ''],
    [{ nothing => 'x' }, ''],
);

for my $row (@filters) {
    my ($filters, $sources) = @$row;
    is(cited({ filters => $filters }), $sources,
       'filters: ' . JSON::PP->new->canonical->encode($filters));
}

like(cited({ filters => {} }), qr/\.(?:md|html|eml|txt)/, 'no filter at all');


# What the command says replaces what the document says, and is a reason to
# look at the same bytes again.

my (undef, $out) = ingest('--collection', 'zoo', $dir);
like $out, qr/5 unchanged/, 'nothing has changed';

(undef, $out) = ingest('--collection', 'zoo', '--meta', 'Author=Nobody',
                       '--meta', 'team=night', "$dir/b.md");
like $out, qr/1 changed.*0 chunks written/,
    'other_metadata_alone_writes_no_passage';
is(cited({ filters => { author => 'Nobody', team => 'night' } }), 'b.md',
   'what the command says counts');
is(cited({ filters => { author => 'Grace Hopper' } }), '',
   'and the author of the document does not any more');
is(cited({ filters => { year => 2021 } }), 'b.md', 'its year still does');

for my $bad ('x', '=x', 'a b=c', 'name=', "name=a\nb", 'n=' . 'x' x 256,
             'x' x 65 . '=1', "n=\xff")
{
    my ($status, undef, $err) = $t->run('ingest', '--meta', $bad, $dir);
    is $status, 2, 'no metadata: ' . substr $bad, 0, 20;
}


# Collections

put('other.md', "$fact six.\n");
is(ingest('--collection', 'farm', "$dir/other.md"), 0, 'another collection');
unlink "$dir/other.md";

is(cited({ collections => ['farm'] }), 'other.md', 'one collection');
like(cited({ collections => ['zoo'] }), qr/^(?!.*other)/, 'the other one');
is(cited({ collections => ['farm', 'zoo'], filters => { year => 2019 } }),
   'a.md', 'collections_and_filters_together');
is(cited({ collections => ['farm'], filters => { year => 2019 } }), '',
   'and none has both');
is(cited({ collections => ['nowhere'] }), 'collection_not_found',
   'a_collection_that_is_not_there_is_an_error');
is(cited({ collections => ['farm', 'nowhere'] }), 'collection_not_found',
   'also beside one that is');


# Two users of one tenant with different groups

put('secret.md', "---\nauthor: Ada Lovelace\nproject: Manhattan\n"
    . "year: 1942\n---\n\n$fact seven: who feeds the walrus? He does.\n");
is(ingest('--collection', 'vault', '--visibility', 'groups', '--groups',
          'board', "$dir/secret.md"), 0, 'for the board');
unlink "$dir/secret.md";

my %board = (token => $t->token(sub => 'carol', groups => ['board']));
my %staff = (token => $t->token(sub => 'bob', groups => ['staff']));

is(cited({ filters => { project => 'Manhattan' } }, %board), 'secret.md',
   'the board finds it by its metadata');
is(cited({ collections => ['vault'] }, %board), 'secret.md',
   'and by its collection');

is(cited({ filters => { project => 'Manhattan' } }, %staff), '',
   'others_find_nothing_by_it');
is(cited({ filters => { author => 'Ada Lovelace' } }, %staff), 'a.md c.html',
   'others_get_their_own_of_the_same_author');

my %said = map {
    my $end = $t->ask_and_wait('Who feeds the walrus?', %staff,
                               body => { collections => [$_] },
                               timeout => 30 * $t->slow);
    my $text = join '|', $end->{status}, $end->{error}{code},
               $end->{error}{message};
    $text =~ s/\Q$_\E/NAME/g;
    ($_ => $text);
} qw(vault absent);

is $said{vault}, $said{absent},
    'a_collection_of_others_and_none_at_all_are_answered_alike';
like $said{vault}, qr/^failed\|collection_not_found\|.*NAME/, 'by name';

my $rag = $t->dbh('rag');
my $seen = sub {
    my ($owner, $groups) = @_;
    $rag->begin_work;
    $rag->do("SELECT set_config('trifecta.tenant', 'default', true),"
        . " set_config('trifecta.owner', ?, true),"
        . " set_config('trifecta.groups', ?, true)", undef, $owner, $groups);
    my ($n) = $rag->selectrow_array('SELECT count(*) FROM'
        . " trifecta.document_meta WHERE value = 'Manhattan'");
    $rag->rollback;
    return $n;
};

is $seen->('test:carol', '["board"]'), 1, 'row-level security: the board';
is $seen->('test:bob', '["staff"]'), 0,
    'row_level_security_hides_the_metadata_of_others';
is $seen->('test:bob', '[]'), 0, 'and from those without a group';


# The command

my $ask = sub {
    my ($status, $o, $e) = $t->run({ env => { TRIFECTA_TOKEN => $t->token } },
        'ask', '--timeout', 30 * $t->slow . 's', @_, 'Who feeds the walrus?');
    return ($status, $o, $e);
};

my ($status, $text) = $ask->('--json', '--filter', 'year>=2019', '--filter',
    'year<2021', '--filter', 'author=Ada Lovelace', '--collection', 'zoo');
is $status, 0, 'ask takes filters and collections';
is join(' ', sort map { $_->{source} }
        @{ JSON::PP::decode_json($text)->{citations} }), 'a.md',
   'and sends them';
is(($ask->('--filter', $_))[0], 2, "ask --filter $_")
    for 'x', '=1', 'a b=1', "n=\xff";


# What is no filter is refused at the edge, by name

my $before = $t->snapshot_of_queue;
my $good = { query => 'Q' };

for my $row (
    [collections => 'zoo'], [collections => []], [collections => ['']],
    [collections => [1]], [collections => [('x') x 17]],
    [collections => ['x' x 256]], [collections => { a => 1 }],
    [filters => 'x'], [filters => []], [filters => { 'a b' => 1 }],
    [filters => { '' => 1 }], [filters => { 'x' x 65 => 1 }],
    [filters => { '1a' => 1 }], [filters => { a => undef }],
    [filters => { a => JSON::PP::true() }], [filters => { a => [1] }],
    [filters => { a => '' }], [filters => { a => 'x' x 256 }],
    [filters => { a => {} }], [filters => { a => { like => 'x' } }],
    [filters => { a => { lt => 'soon' } }],
    [filters => { a => { lt => '2026-02-30' } }],
    [filters => { a => { gte => undef } }],
    [filters => { a => { lt => 1, gt => 2, eq => 3 } }],
    [filters => { a => { in => 'x' } }], [filters => { a => { in => [] } }],
    [filters => { a => { in => [1, 'x'] } }],
    [filters => { a => { in => [['x']] } }],
    [filters => { a => { in => [1 .. 65] } }],
    [filters => { map { ("m$_" => 1) } 1 .. 17 }],
) {
    my ($name, $value) = @$row;
    my $res = $t->post('/api/v1/query', { %$good, $name => $value });
    my $shown = substr JSON::PP->new->allow_nonref->encode($value), 0, 40;

    is "$res->{status} $res->{code} $res->{json}{error}{param}",
        "400 invalid_value $name", "$name: $shown";
}

$t->nothing_enqueued($before, 'what_is_refused_touches_no_store');

is $t->post('/api/v1/query', { %$good, filters =>
    { (map { ("m$_" => { gte => 1, lt => 2 }) } 1 .. 15),
      m16 => { in => [map { "v$_" } 1 .. 64] } } })->{status}, 202,
    'as many filters as there may be';
is(cited({ filters => { map { ("m$_" => '2026-01-01') } 1 .. 16 } }), '',
   'and the store can ask that');
is(cited({ collections => [('zoo') x 16], filters => { year => 2019 } }),
   'a.md', 'as many collections as there may be');
is(cited({ filters => { author => q{x' OR '1'='1} } }), '',
   'a quotation mark is a quotation mark');


# An index serves each test, under row-level security

$t->sql('admin', 'INSERT INTO trifecta.document (id, tenant, owner, acl,'
    . ' collection, source, title, format, hash, bytes) SELECT'
    . " ('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,"
    . ' d.tenant, d.owner, d.acl, d.collection, \'bulk\' || i, \'\', \'txt\','
    . " '', 0 FROM generate_series(1, 20000) AS i, trifecta.document AS d"
    . " WHERE d.source = 'a.md'");
$t->sql('admin', 'INSERT INTO trifecta.document_meta (document, name, seq,'
    . ' collection, acl, value, number, moment) SELECT d.id, n.name, 0,'
    . " d.collection, d.acl, n.name || substr(d.source, 5),"
    . ' substr(d.source, 5)::int, timestamptz \'2000-01-01Z\''
    . " + substr(d.source, 5)::int * interval '1 hour'"
    . " FROM trifecta.document AS d, unnest(ARRAY['author', 'year', 'date'])"
    . " AS n(name) WHERE d.source LIKE 'bulk%'");
$t->sql('admin', 'ANALYZE trifecta.document_meta');

for my $row (
    ['value', "name = 'author' AND value = 'author77'"],
    ['value', "name = 'author' AND value = ANY ('{author7,author8}')"],
    ['number', "name = 'year' AND number >= 100 AND number < 120"],
    ['number', "name = 'year' AND number = ANY ('{7,8}'::float8[])"],
    ['moment', "name = 'date' AND moment >= to_timestamp(946684800)"
             . ' AND moment < to_timestamp(946784800)'],
) {
    my ($index, $where) = @$row;
    $rag->begin_work;
    $rag->do("SELECT set_config('trifecta.tenant', 'default', true),"
        . " set_config('trifecta.owner', 'test:bob', true),"
        . " set_config('trifecta.groups', '[]', true)");
    my $plan = join "\n", map { $_->[0] } @{ $rag->selectall_arrayref(
        'EXPLAIN SELECT DISTINCT document FROM trifecta.document_meta'
        . " WHERE $where") };
    $rag->rollback;
    like $plan, qr/document_meta_$index.*Index Cond: \(\(name = [^\n]*$index/s,
        "an_index_serves_it_under_row_level_security: $where";
}

$t->finish;
done_testing;
