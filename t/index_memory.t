# Indexes in the sidecar's memory: what they find is what PostgreSQL finds, to
# the score, whatever comes and goes; who may not see a passage does not, and
# without an index everything is found just the same.
#
# index_check = 1: every search that an index has ranked is ranked by
# PostgreSQL, too, and the sidecar counts where the two differ.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use File::Path qw(make_path);
use Test::More;

use Trifecta::Test;

# without feedback, which asks the index once more for some questions
my $t = Trifecta::Test->new(sidecar => { threads => 4, index_from => 30,
    index_check => 1, index_memory => 50_000_000, feedback => 0 });
my $seed = $ENV{TRIFECTA_TEST_SEED} // int rand 2**31;
my $many = "$t->{dir}/many";
my $slow = $t->slow;

srand $seed;
diag "TRIFECTA_TEST_SEED=$seed";


# Words of which few are frequent and most are rare, and some nobody has.

my @words = map {
    join '', map { (qw(b d f g k l m n p r s t))[rand 12]
                   . (qw(a e i o u))[rand 5] } 1 .. 3
} 1 .. 400;

sub word { $words[int(@words ** rand) - 1] }

sub words { join ' ', map { word() } 1 .. shift }

sub document {
    my $text = '# ' . ucfirst(words(2)) . "\n\n";

    for (1 .. 1 + int rand 4) {
        $text .= '## ' . ucfirst(words(2)) . "\n\n";
        $text .= ucfirst(words(5 + int rand 12)) . '. ' for 1 .. 3 + rand 12;
        $text .= "\n\n";
    }

    return $text;
}

sub ingest {
    my ($status, $out, $err) = $t->run('ingest', @_);
    is($status, 0, "ingest @_") or diag $out, $err;
}

sub counts {
    my $m = $t->metrics(0);
    return { map { $_ => $m->{"trifecta_index_$_"} // 0 }
        qw(hits_total fallbacks_total builds_total news_total refused_total
           checks_total mismatches_total collections bytes) };
}

# Questions that are answered at the same time.  Each is another one, or its
# answer would be at hand already.

my $asked = 0;

sub question { words(shift) . ' n' . ++$asked }

sub ask_many {
    my ($n, %o) = @_;
    my @ids = map { $t->ask(question(2 + int rand 5), %o) } 1 .. $n;
    my @bad = grep { $_->{status} ne 'succeeded' }
        map { $t->wait_for_answer($_, timeout => 60 * $slow) } @ids;
    is(@bad, 0, "$n questions are answered") or diag explain $bad[0];
}

sub has_index {
    my ($name, $builds) = @_;
    $t->ask_and_wait(question(3));
    ok($t->wait_for(sub { my $c = counts();
        $c->{collections} && $c->{builds_total} >= $builds }, 30 * $slow),
        $name) or diag explain counts(), $t->log_of('sidecar', 0);
}

sub same_as_store {
    my ($name, $before, $n) = @_;
    my $now = counts();
    is($now->{mismatches_total}, 0, "$name: the index and PostgreSQL agree");
    cmp_ok($now->{checks_total} - $before->{checks_total}, '>=', $n,
        "$name: compared at least $n times") or diag explain $before, $now;
    return $now;
}


make_path($many, "$t->{dir}/few");
$t->write_file(sprintf('%s/%03d.md', $many, $_), document()) for 1 .. 60;
$t->write_file("$t->{dir}/few/$_.md", document()) for 1 .. 3;


subtest 'built when it is missed, and used from then on' => sub {
    ingest($many);
    ingest("$t->{dir}/few");

    my $chunks = $t->sql('admin', q{SELECT chunks FROM trifecta.collection
        WHERE name = 'many'})->[0][0];
    cmp_ok($chunks, '>', 60, "$chunks passages");

    has_index('the first question has it built', 1);
    is(counts()->{fallbacks_total}, 1, 'PostgreSQL has answered that one');

    my $before = counts();
    ask_many(20);
    my $now = same_as_store('unchanged', $before, 20);
    is($now->{hits_total} - $before->{hits_total}, 20, 'the index all others');
    is($now->{fallbacks_total}, 1, 'PostgreSQL none');
    is($now->{collections}, 1, 'a small collection gets none');
    cmp_ok($now->{bytes}, '>', 32 * $chunks, 'its bytes are counted');
    like($t->log_of('sidecar', 0), qr/has an index in memory: version \d+, $chunks passages, \d+ bytes/,
        'the log says so');
};


subtest 'kept current while documents come, change and go' => sub {
    my $builds = counts()->{builds_total};

    for my $round (1 .. 4) {
        my $before = counts();
        my @files = glob "$many/*.md";

        unlink splice @files, rand @files, 1 for 1 .. 1 + rand 6;
        $t->write_file($_, document())
            for map { $files[rand @files] } 1 .. 1 + rand 5;
        $t->write_file(sprintf('%s/r%d-%d.md', $many, $round, $_), document())
            for 1 .. 1 + rand 6;

        # one paragraph of a document
        my $text = $t->read_file($files[0]);
        $text =~ s/\n\n\z/ \u@{[words(4)]}.\n\n/;
        $t->write_file($files[0], $text);

        ingest('--collection', 'many', '--delete', $many);
        ask_many(10);

        my $now = same_as_store("round $round", $before, 10);
        cmp_ok($now->{news_total}, '>', $before->{news_total},
            'the index was brought forward');
        is($now->{fallbacks_total}, $before->{fallbacks_total},
            'PostgreSQL was not needed');
    }

    is(counts()->{builds_total}, $builds, 'and the index was never rebuilt');
};


subtest 'questions while an ingest runs' => sub {
    my $before = counts();

    make_path("$t->{dir}/more");

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        my $failed = 0;

        # many versions: new documents, and others in place of the last ones
        for (1 .. 12) {
            $t->write_file("$t->{dir}/more/" . int(rand 20) . '.md',
                document()) for 1 .. 4;
            my ($status) = $t->run('ingest', '--collection', 'many',
                "$t->{dir}/more");
            $failed ||= $status;
        }

        POSIX::_exit($failed);
    }

    my $first = $asked;
    do { ask_many(8) } until waitpid $pid, 1;    # WNOHANG
    is($?, 0, 'ingested');

    ask_many(10);

    # what was committed during a comparison makes it say nothing
    my $now = same_as_store('during the ingest', $before, 10);
    diag $asked - $first, " questions, ", $now->{checks_total} - $before->{checks_total},
        " compared, ", $now->{news_total} - $before->{news_total},
        " times brought forward";
};


subtest 'who may not see a passage does not, and gets as many of his own' =>
    sub {
    my $dir = "$t->{dir}/vault";
    my %group = (alice => 'staff', bob => 'board');
    make_path($dir);

    # the other's document is the nearest to the question by far
    for my $who (sort keys %group) {
        $t->write_file("$dir/$who.md", "# Vault of $who\n\n"
            . 'The combination of the vault is ' . "number$who. "
            . ('Vault combination number' . "$who. ") x 3 . "\n");
        ingest('--collection', 'many', '--visibility', 'groups', '--groups',
            $group{$who}, "$dir/$who.md");
    }

    $t->write_file("$dir/all.md", "# Rules\n\nThe combination of a vault is "
        . "changed every Monday by its keeper.\n");
    ingest('--collection', 'many', "$dir/all.md");

    my $before = counts();

    for my $who (sort keys %group) {
        my ($other) = grep { $_ ne $who } keys %group;
        my $token = $t->token(sub => $who, groups => [$group{$who}]);

        for my $of ($who, $other) {
            my $end = $t->ask_and_wait("What is the combination of the vault "
                . "of $of, number$of?", token => $token);
            my $all = $end->{response} . join ' ',
                map { $_->{source} } @{ $end->{citations} };

            unlike($all, qr/number$other\b.*\[\d|$other\.md|Vault of $other/s,
                "$who learns nothing of $other");
        }

        my $end = $t->ask_and_wait("What is the combination of the vault of "
            . "$who?", token => $token);
        like($end->{response}, qr/is number$who/, "$who finds his own");

        $end = $t->ask_and_wait('When is the combination of a vault changed '
            . 'by its keeper?', token => $token);
        like($end->{response}, qr/every Monday/, "and everybody's");
    }

    my $now = same_as_store('rights', $before, 8);
    is($now->{hits_total} - $before->{hits_total}, 8, 'all by the index');

    # the functions that the index is built with

    my $numbers = 'SELECT count(*) FROM trifecta.chunk_numbers((SELECT '
        . 'array_agg(id) FROM generate_series(1, 10000) AS id))';
    my $seen = sub {
        my ($tenant, $sql) = @_;
        my $dbh = $t->dbh('rag');
        $dbh->begin_work;
        $dbh->do(q{SELECT set_config('trifecta.tenant', ?, true)}, undef,
            $tenant) if defined $tenant;
        my ($n) = $dbh->selectrow_array($sql);
        $dbh->rollback;
        return $n;
    };

    my $id = $t->sql('admin', q{SELECT id FROM trifecta.collection
        WHERE name = 'many'})->[0][0];
    my $chunks = "SELECT count(*) FROM trifecta.collection_chunks($id)";

    cmp_ok($seen->('default', $numbers), '>', 100, 'numbers of the tenant');
    cmp_ok($seen->('default', $chunks), '>', 100, 'passages of the tenant');

    for ($numbers, $chunks) {
        is($seen->('acme', $_), 0, 'none of another tenant');
        is($seen->(undef, $_), 0, 'none without a tenant');
    }

    for my $role (qw(queue edge)) {
        my $dbh = $t->dbh($role);
        local $dbh->{PrintError} = 0;
        ok(!eval { $dbh->selectrow_array($numbers); 1 }, "not for $role");
        $dbh->rollback unless $dbh->{AutoCommit};
    }
};


subtest 'changes that are not known any more' => sub {
    my $before = counts();

    $t->sql('admin', 'DELETE FROM trifecta.collection_change');
    $t->write_file("$many/late.md", document());
    ingest($many);
    has_index('rebuilt when the changes are not kept',
        $before->{builds_total} + 1);
    cmp_ok(counts()->{fallbacks_total}, '>', $before->{fallbacks_total},
        'meanwhile PostgreSQL answers');
    ask_many(5);
    $before = same_as_store('rebuilt', $before, 5);

    # as after a restore: the number came before, with other passages

    $t->sql('admin', "UPDATE trifecta.$_ SET stamp = "
        . "md5('other' || version)::uuid")
        for qw(collection collection_change);
    has_index('rebuilt when the store is another',
        $before->{builds_total} + 1);
    ask_many(5);
    same_as_store('rebuilt', $before, 5);
};


subtest 'a killed sidecar' => sub {
    $t->kill('sidecar', 0);
    unlink((glob "$many/*.md")[0]);
    ingest('--collection', 'many', '--delete', $many);
    $t->start('sidecar', 0);

    has_index('has its index again', 1);
    ask_many(10);
    same_as_store('after it', { checks_total => 0 }, 10);
};


subtest 'memory that is too small' => sub {
    $t->stop('sidecar', 0);
    $t->{opt}{sidecar}{index_memory} = 20_000;
    $t->write_conf;
    $t->start('sidecar', 0);

    $t->ask_and_wait(question(3));
    ok($t->wait_for(sub { counts()->{refused_total} }, 30 * $slow),
        'there is no index');
    ask_many(6);

    my $now = counts();
    is($now->{fallbacks_total}, 7, 'PostgreSQL answers all');
    is($now->{collections}, 0, 'no index');
    cmp_ok($now->{bytes}, '<=', 20_000, 'no memory');
    is($now->{refused_total}, 1, 'it is not tried at every question');

    my @said = $t->log_of('sidecar', 0) =~ /has no index in memory, the store ranks it: it does not fit/g;
    is(@said, 1, 'said once');
};


subtest 'no index at all' => sub {
    $t->stop('sidecar', 0);
    $t->{opt}{sidecar}{index_memory} = 0;
    $t->write_conf;
    $t->start('sidecar', 0);

    ask_many(4);
    unlike($t->sidecar_get(0, '/metrics')->{content}, qr/trifecta_index/,
        'no metrics');
};


$t->finish;
done_testing;
