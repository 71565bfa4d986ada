package Trifecta::Fault::Report;

# What became of the rounds of each cell: a JSON file, and the table of the
# manual.
#
#   my $report = Trifecta::Fault::Report->new($commit);
#   $report->load($file);               # of an earlier sitting
#   $report->add(\%result);
#   $report->save($file);
#   print $report->markdown(\@cells);
#
# The file is { rows => [...] }; a row is of one cell and one commit: cell,
# commit, rounds, jobs (submits), accepted (jobs that were accepted), unknown
# (operations nobody can tell the end of), given_up (accepted jobs that poll
# as 410 because the mode may lose them), violations, failed (seeds of rounds
# with violations), seconds.

use strict;
use warnings;

use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical->pretty->indent_length(1);
my @SUMS = qw(jobs accepted unknown given_up);


sub new {
    my ($class, $commit) = @_;
    return bless { commit => $commit, rows => [] }, $class;
}


sub load {
    my ($self, $file) = @_;

    open my $fh, '<:raw', $file or die "$file: $!\n";
    local $/;
    my $data = eval { $json->decode(scalar <$fh>) };
    die "$file is no file of an earlier sitting\n"
        unless ref $data eq 'HASH' && ref $data->{rows} eq 'ARRAY';
    push @{ $self->{rows} }, @{ $data->{rows} };
}


# The rounds of each cell, of all commits.

sub rounds {
    my ($self) = @_;
    my %rounds;

    $rounds{$_->{cell}} += $_->{rounds} for @{ $self->{rows} };
    return %rounds;
}


sub add {
    my ($self, $r) = @_;
    my ($row) = grep { $_->{cell} eq $r->{cell}
                       && $_->{commit} eq $self->{commit} }
                @{ $self->{rows} };

    push @{ $self->{rows} }, $row = { cell => $r->{cell}, seconds => 0,
        commit => $self->{commit}, rounds => 0, violations => 0, failed => [],
        map { $_ => 0 } @SUMS } unless $row;

    $row->{rounds}++;
    $row->{$_} += $r->{$_} for @SUMS;
    $row->{violations} += @{ $r->{violations} };
    push @{ $row->{failed} }, $r->{seed} if @{ $r->{violations} };
    $row->{seconds} = 0 + sprintf '%.1f', $row->{seconds} + $r->{seconds};
}


sub _write {
    my ($file, $text) = @_;

    open my $fh, '>:raw', "$file.new" or die "$file.new: $!\n";
    print $fh $text;
    close $fh or die "$file.new: $!\n";
    rename "$file.new", $file or die "$file: $!\n";
}


sub save {
    my ($self, $file) = @_;
    _write($file, $json->encode({ rows => [
        sort { $a->{cell} cmp $b->{cell} || $a->{commit} cmp $b->{commit} }
        @{ $self->{rows} }] }));
}


# One row a cell, in the order of the cells, with the rounds of each commit; a
# cell that is no more keeps its row.

sub markdown {
    my ($self, $cells) = @_;
    my @columns = ('rounds', @SUMS, 'violations');
    my %place = map { $cells->[$_]{name} => $_ } 0 .. $#$cells;
    my %what = map { $_->{name} => $_->{what} } @$cells;
    my (%of, %all);

    push @{ $of{$_->{cell}} }, $_ for @{ $self->{rows} };

    my $text = "| cell | what is done | commits | rounds | jobs | accepted "
        . "| unknown | given up | violations |\n"
        . "|---|---|---|---:|---:|---:|---:|---:|---:|\n";

    for my $cell (sort { ($place{$a} // 1e9) <=> ($place{$b} // 1e9)
                         || $a cmp $b } keys %of)
    {
        my @rows = @{ $of{$cell} };
        my %sum;

        for my $row (@rows) {
            $sum{$_} += $row->{$_} for @columns;
            $all{$_} += $row->{$_} for @columns;
        }

        $text .= "| `$cell` | " . ($what{$cell} // 'no more') . ' | '
            . join(', ', map { '`' . substr($_->{commit}, 0, 7)
                               . "` $_->{rounds}" } @rows)
            . ' | ' . join(' | ', @sum{@columns}) . " |\n";
    }

    return $text . '| all | | | '
        . join(' | ', map { $_ // 0 } @all{@columns}) . " |\n";
}


sub save_markdown {
    my ($self, $file, $cells) = @_;
    _write($file, $self->markdown($cells));
}

1;
