package Trifecta::Test::Batches;

# Batches whose rows are made by the test, as nginx makes them, and what
# became of them.  $t is a Trifecta::Test.
#
#   batch($t, \@lines, %columns)    a batch in progress: its id.  A line is the
#       script of a question to the model "test", or a reference to the error
#       of one that was refused
#   state($t, $id), row($t, $id)    its state; all of it as a hash
#   ended($t, $id, $seconds)        waits until it has: its state
#   whole($t, $id)                  what is wrong with an ended batch, a text;
#       "": each line is once in the output or in the errors, was a job once at
#       most, the counts are theirs, the order has no gap, the files are there

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();

our @EXPORT_OK = qw(batch state row ended whole new_id);

my $json = JSON::PP->new->canonical;


sub new_id {
    my ($t) = @_;
    return $t->sql('admin', 'SELECT gen_random_uuid()')->[0][0];
}


sub batch {
    my ($t, $lines, %column) = @_;
    my $id = new_id($t);
    my %row = (id => $id, tenant => 'default', owner => 'test:ann',
               endpoint => '/v1/responses', input => new_id($t),
               state => 'in_progress', total => scalar @$lines,
               request_id => 'req_' . $id =~ s/-//gr, %column);
    my @names = sort keys %row;
    my $n = 0;
    my @rows = map { { n => ++$n, custom_id => "line $n",
        request => ref $_ ? undef : { query => $_ },
        error => ref $_ ? $_ : undef,
        status => ref $_ ? 400 : undef } } @$lines;

    my $dbh = $t->dbh('admin');
    $dbh->begin_work;
    $dbh->do('INSERT INTO trifecta.batch (' . join(', ', @names)
             . ', begun, expires) VALUES (' . join(', ', ('?') x @names) . ', '
             . 'CASE WHEN ?::int = 1 THEN now() END, '
             . 'now() + interval $$1 day$$)',
             undef, @row{@names}, $row{state} eq 'in_progress' ? 1 : 0);
    $dbh->do('INSERT INTO trifecta.batch_line (batch, n, tenant, owner, '
             . 'custom_id, request, model, error, status) '
             . "SELECT ?, n, ?, ?, custom_id, request, 'test', error, status "
             . 'FROM jsonb_to_recordset(?) AS x(n int, custom_id text, '
             . 'request jsonb, error jsonb, status int)', undef, $id,
             @row{qw(tenant owner)}, $json->encode(\@rows));
    $dbh->commit;

    return $id;
}


sub row {
    my ($t, $id) = @_;
    return $t->dbh('admin')->selectrow_hashref(
        'SELECT * FROM trifecta.batch WHERE id = ?', undef, $id);
}

sub state { (row(@_) || {})->{state} // 'none' }


sub ended {
    my ($t, $id, $seconds) = @_;
    $t->wait_for(sub {
        state($t, $id) =~ /^(completed|failed|expired|cancelled)$/
    }, ($seconds || 30) * $t->slow);
    return state($t, $id);
}


sub whole {
    my ($t, $id) = @_;
    my $b = row($t, $id) or return 'no batch';
    my @wrong;

    my ($n, $done, $failed, $seqs, $most, $jobs, $rest) =
        @{ $t->sql('admin', 'SELECT count(*), count(*) FILTER (WHERE ok), '
        . 'count(*) FILTER (WHERE NOT ok), count(DISTINCT seq), max(seq), '
        . 'count(job) - count(DISTINCT job), count(*) FILTER (WHERE NOT ended '
        . 'OR request IS NOT NULL) '
        . 'FROM trifecta.batch_line WHERE batch = ?', $id)->[0] };

    push @wrong, "$n lines, total $b->{total}" if $n != $b->{total};
    push @wrong, "$done done, says $b->{done}" if $done != $b->{done};
    push @wrong, "$failed failed, says $b->{failed}"
        if $failed != $b->{failed};
    push @wrong, "$rest have not ended" if $rest;
    push @wrong, "order of $n: $seqs different, the last $most"
        if $n && ($seqs != $n || $most != $n);
    push @wrong, "$jobs jobs are of two lines" if $jobs;

    my $open = $t->sql('admin', 'SELECT count(*) FROM trifecta.job AS j '
        . 'JOIN trifecta.batch_line AS l ON l.job = j.id WHERE l.batch = ? '
        . "AND (j.state IN ('queued', 'running') "
        . "OR l.ok <> (j.state = 'succeeded'))", $id)->[0][0];
    push @wrong, "$open lines are not what their job is" if $open;

    my ($made, $of) = @{ $t->sql('admin', 'SELECT (SELECT count(*) FROM '
        . 'trifecta.job WHERE request_id = ?), (SELECT count(job) FROM '
        . 'trifecta.batch_line WHERE batch = ?)', $b->{request_id}, $id)->[0] };
    push @wrong, "$made jobs of $of lines" if $made != $of;

    my $files = $t->sql('admin', 'SELECT count(*) FILTER (WHERE id = ? AND '
        . "kind = 'output' AND whole), count(*) FILTER (WHERE id = ? AND "
        . "kind = 'error' AND whole), count(*) FROM trifecta.file "
        . 'WHERE batch = ?', $b->{output}, $b->{errors_file}, $id)->[0];
    push @wrong, "files @$files" if $files->[0] != ($done > 0)
        || $files->[1] != ($failed > 0)
        || $files->[2] != ($done > 0) + ($failed > 0);

    return join '; ', @wrong;
}

1;
