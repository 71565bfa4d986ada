# The tables of files and batches: whose rows one sees and writes, and when.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 0);

my %id = map { $_ => sprintf '0190000%x-0000-7000-8000-000000000000', $_ }
         1 .. 9;
my $lines = 'INSERT INTO trifecta.batch_line (batch, n, tenant, owner, '
            . "custom_id, request) SELECT ?::uuid, g, ?, ?, 'c' || g, '{}' "
            . 'FROM generate_series(?::int, ?::int) AS g';


# What nginx does for somebody: its statements in a transaction that writes.

sub as {
    my ($who, $do) = @_;
    my $dbh = $t->dbh('edge');

    $dbh->do('BEGIN READ WRITE');
    $dbh->do("SELECT set_config('trifecta.tenant', ?, true), "
             . "set_config('trifecta.owner', ?, true)", undef, @$who);
    my $got = eval { $do->($dbh) };
    my $error = $@;
    $dbh->do($error ? 'ROLLBACK' : 'COMMIT');
    return $error || $got;
}

sub rows { $_[0]->selectall_arrayref($_[1], undef, @_[2 .. $#_]) }
sub admin { $t->sql('admin', @_)->[0][0] }

my @ann = ('default', 'test:ann');
my %other = (
    'another owner' => ['default', 'test:ben'],
    'another tenant' => ['acme', 'test:ann'],
    'nobody' => ['', ''],
);


is as(\@ann, sub {
    my ($db) = @_;
    $db->do('INSERT INTO trifecta.file (id, tenant, owner, name, purpose, '
            . 'whole) VALUES (?, ?, ?, ?, ?, true)', undef, $id{1}, @ann,
            'q.jsonl', 'batch');
    $db->do('INSERT INTO trifecta.file_part (file, part, tenant, owner, body) '
            . "VALUES (?, 0, ?, ?, 'x')", undef, $id{1}, @ann);
    $db->do('INSERT INTO trifecta.batch (id, tenant, owner, endpoint, input, '
            . "expires) VALUES (?, ?, ?, '/v1/responses', ?, now())", undef,
            $id{2}, @ann, $id{1});
    $db->do($lines, undef, $id{2}, @ann, 1, 3);
    return 'made';
}), 'made', 'a user makes a file, a batch and its lines';

for my $who (sort keys %other) {
    my @them = @{ $other{$who} };

    for my $table (qw(file file_part batch batch_line)) {
        is_deeply as(\@them, sub { rows($_[0],
                      "SELECT * FROM trifecta.$table") }), [],
            "$who sees nothing of $table";
    }

    for my $sql ('DELETE FROM trifecta.file', 'DELETE FROM trifecta.file_part',
                 'UPDATE trifecta.file SET whole = false',
                 "UPDATE trifecta.batch SET state = 'failed'")
    {
        is as(\@them, sub { $_[0]->do($sql) + 0 }), 0, "$who: $sql";
    }

    like as(\@them, sub { $_[0]->do($lines, undef, $id{2}, @ann, 9, 9) }),
        qr/row-level security/, "$who adds no line to it";
    like as(\@them, sub { $_[0]->do($lines, undef, $id{2}, @them, 9, 9) }),
        qr/row-level security/, "$who: nor one of their own";
}

like as(\@ann, sub { $_[0]->do('UPDATE trifecta.batch SET done = 1') }),
    qr/permission denied/, 'nginx cannot say how many are done';
like as(\@ann, sub { $_[0]->do('SELECT * FROM trifecta.file_gone') }),
    qr/permission denied/, 'nor look at what is to be removed';
like as(\@ann, sub { $_[0]->do('INSERT INTO trifecta.file (id, tenant, '
        . "owner, name, purpose, kind, batch) VALUES (?, ?, ?, 'n', 'p', 'output', "
        . '?)', undef, $id{3}, @ann, $id{2}) }),
    qr/permission denied/, 'nor make an output';

is as(\@ann, sub { $_[0]->do("UPDATE trifecta.batch SET state = "
                             . "'in_progress', begun = now(), total = 3") + 0 }),
    1, 'it begins';
like as(\@ann, sub { $_[0]->do($lines, undef, $id{2}, @ann, 4, 4) }),
    qr/row-level security/, 'no line comes late';

is admin('SELECT count(*) FROM trifecta.file_gone'), 0, 'nothing is gone';
is as(\@ann, sub { $_[0]->do('DELETE FROM trifecta.file WHERE id = ?', undef,
                             $id{1}) + 0 }), 1, 'the file is deleted';
is_deeply $t->sql('queue', 'SELECT file, tenant, owner, batch, kind FROM '
                  . 'trifecta.file_gone'),
    [[$id{1}, @ann, undef, 'upload']], 'its parts are left to a sidecar';

$t->finish;
done_testing;
