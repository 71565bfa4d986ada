# A backup that is made while jobs flow, restored into a new server: what had
# ended is read by its old id, what was open ends, what came later is 410.  A
# backup that is not whole is none, and a restore that cannot be whole changes
# nothing.

use strict;
use warnings;

use File::Path qw(remove_tree);
use FindBin;
use lib "$FindBin::Bin/lib";
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(sidecars => 1);
my $slow = $t->slow;
my $dir = "$t->{dir}/backups";
my $key = "$t->{dir}/secrets/id.key";

# (exit status, stdout, stderr) of scripts/NAME

sub script {
    my ($name, @args) = @_;
    my %env = ref $args[0] ? %{ shift @args } : ();
    my @out = map { File::Temp->new(DIR => "$t->{dir}/run") } 0, 1;

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $out[0]->filename;
        open STDERR, '>', $out[1]->filename;
        delete @ENV{grep { /^(TRIFECTA_|PG)/ } keys %ENV};
        %ENV = (%ENV, TRIFECTA_BIN => $t->{bin},
                TRIFECTA_CONF => "$t->{dir}/conf/sidecar.conf", %env);
        exec $t->root . "/scripts/$name", @args or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    return ($? >> 8, map { $t->read_file($_->filename) } @out);
}

sub refused {
    my ($name, $like, @args) = @_;
    my ($rc, $out, $err) = script(@args);
    is $rc, 1, $name or diag $out, $err;
    like $err, $like, 'with the reason';
}

sub mode { sprintf '%04o', (stat $_[0])[2] & 07777 }
sub backups { grep { !/\.partial$/ } glob "$dir/* $dir/.trifecta*" }

# A copy of the backup in which something is another, its sums right

sub copy {
    my ($from, $change) = @_;
    my $to = "$t->{dir}/run/copy";
    remove_tree($to);
    system('cp', '-r', $from, $to) == 0 or die "cp\n";
    $change->($to);
    return $to;
}

sub sums {
    my ($in) = @_;
    system("cd '$in' && sha256sum trifecta.dump id.key manifest > SHA256SUMS")
        == 0 or die "sha256sum\n";
}


# Jobs that have ended, documents, one of another tenant

my @ended = map { $t->ask_and_wait("say=answer$_", model => 'test')
                  ->{query_id} } 1 .. 3;
my $acme = $t->ask_and_wait('say=secret', model => 'test',
                            token => $t->token(tenant => 'acme'))->{query_id};
my $failed = $t->ask_and_wait('fail=1', model => 'test')->{query_id};
$t->write_file("$t->{dir}/run/doc.md", "# Tides\n\nThe tide table hangs in"
               . " the harbour office of Westport.\n", 0644);
is +($t->run('ingest', "$t->{dir}/run/doc.md"))[0], 0, 'a document';

# four that run for long, and more behind them
my @open = map { $t->ask('sleep=60000', model => 'test') } 1 .. 4;
push @open, map { $t->ask("say=waited$_", model => 'test') } 1 .. 3;
ok $t->wait_for(sub { 4 == $t->sql('admin', 'SELECT count(*) FROM'
    . " trifecta.job WHERE state = 'running'")->[0][0] }, 20), 'some run';
ok $t->wait_for(sub { $t->redis('XLEN', '{trifecta:0}:acc') == 0 }, 20),
    'all have their rows';


# The backup, with jobs coming in all the time

my ($stop, $flows) = map { "$t->{dir}/run/$_" } qw(stop flows);
my $flow = fork // die "fork: $!\n";
if ($flow == 0) {
    my $n = 0;
    until (-e $stop) {
        my $res = $t->post('/api/v1/query',
                           { query => 'say=flow', model => 'test' });
        $n++ if $res->{status} == 202;
        $t->write_file($flows, '') if $n == 1;
        sleep 0.02;
    }
    POSIX::_exit($n > 1 ? 0 : 1);
}

ok $t->wait_for(sub { -e $flows }, 20), 'jobs come in';

my ($rc, $out, $err) = script('backup', $dir);
$t->write_file($stop, '');
waitpid $flow, 0;
is $?, 0, 'jobs came in meanwhile';

is $rc, 0, 'a_backup_is_made_while_jobs_flow' or diag $err;
my ($backup) = $out =~ m{^(\S+/trifecta-\d{8}T\d{6}Z)$}m;
ok $backup && -d $backup, 'it says where';
like $err, qr/keep it secret/, 'and what it holds';
is mode($backup), '0700', 'only its owner may enter';
is mode("$backup/$_"), '0600', "$_ is its owner's"
    for qw(trifecta.dump id.key manifest SHA256SUMS);
is $t->read_file("$backup/id.key"), $t->read_file($key), 'the id key is there';
is_deeply [backups()], [$backup], 'nothing else is left';

unlike "$out$err", qr/\Q${\$t->secret($_)}\E/, "no secret of $_ in the output"
    for qw(pg_admin.pass id.key);


# What is no backup

my $hidden = "$t->{dir}/run/bin";
mkdir $hidden;
my $real = (grep { -x } map { "$_/pg_dump" } split /:/, $ENV{PATH})[0];

sub pg_dump_is {
    $t->write_file("$hidden/pg_dump", "#!/bin/sh\n$_[0]\n", 0755);
}

my %path = (PATH => "$hidden:$ENV{PATH}");

pg_dump_is(qq(exec $real "\$@" '--exclude-table-data=trifecta.job_2*'));
refused('a_dump_without_some_rows_is_no_backup', qr/not complete/,
        'backup', \%path, $dir);
pg_dump_is(<<"END");
$real "\$@" || exit 1
for f; do case \$f in *.dump) truncate -s -200 "\$f";; esac; done
END
refused('a_dump_that_is_cut_is_no_backup', qr/read back|not complete/,
        'backup', \%path, $dir);
pg_dump_is('echo broken >&2; exit 1');
refused('a dump that failed is no backup', qr/broken\n.*no backup/s,
        'backup', \%path, $dir);
unlink "$hidden/pg_dump";

$t->sql('admin', 'CREATE ROLE half LOGIN PASSWORD \'half\' IN ROLE'
                 . ' trifecta_owner');
$t->write_file("$t->{dir}/secrets/half.pass", "half\n", 0600);
my %half = (TRIFECTA_PG_ADMIN_PASSWORD_FILE => "$t->{dir}/secrets/half.pass",
            TRIFECTA_PG_ADMIN_URL =>
                "postgresql://half\@127.0.0.1:$t->{pg_port}/trifecta");
refused('who_sees_only_some_rows_makes_no_backup', qr/row-level security/,
        'backup', \%half, $dir);
refused('no backup without the id key', qr/id_key_file/,
        'backup', { TRIFECTA_ID_KEY_FILE => '/nowhere' }, $dir);
is_deeply [backups()], [$backup], 'none of these left a folder';
is +(script('backup'))[0], 2, 'wrong use';
is +(script('backup', '--help'))[0], 0, 'and help';

# as a package has them

{
    my $usr = "$t->{dir}/run/usr";
    my $lib = "$usr/share/trifecta/lib";
    File::Path::make_path("$usr/bin", $lib);
    my $from = $t->root . '/scripts';
    system("cp $from/backup $usr/bin/trifecta-backup"
           . " && cp $from/lib/backup.sh $lib/") == 0 or die "cp\n";
    is system("$usr/bin/trifecta-backup --help > /dev/null"), 0,
        'installed_they_find_what_they_share';
}


# Restored where something is: refused, and nothing changes

my $before = $t->sql('admin', 'SELECT count(*) FROM trifecta.job')->[0][0];
refused('a_database_that_is_not_empty_is_refused', qr/not empty/,
        'restore', $backup);
cmp_ok $t->sql('admin', 'SELECT count(*) FROM trifecta.job')->[0][0], '>=',
    $before, 'and stays as it is';


# Lost after the backup

my @late = map { $t->ask("say=late$_", model => 'test') } 1 .. 2;

# The disaster: another server, an empty Redis, no id key

$t->kill('sidecar', 0);
$t->stop('nginx');
$t->stop('redis');
$t->stop('pg');
delete $t->{dbh};
remove_tree("$t->{dir}/pg");
remove_tree("$t->{dir}/redis", { keep_root => 1 });
rename $key, "$key.old" or die "rename: $!\n";
$t->start('pg');
$t->start('redis');


# What cannot be restored changes nothing

sub untouched {
    my ($name) = @_;
    my ($schema, $roles) = map { $t->sql('admin', $_)->[0][0] }
        "SELECT to_regnamespace('trifecta')",
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'trifecta%'";
    is_deeply [$schema, $roles, -e $key ? 1 : 0, glob "$key.res*"],
        [undef, 0, 0], "nothing changed: $name";
}

my %broken = (
    'a cut dump' => [qr/damaged/, sub {
        truncate "$_[0]/trifecta.dump", 2000 or die }],
    'a changed dump' => [qr/damaged/, sub {
        open my $fh, '+<', "$_[0]/trifecta.dump" or die;
        seek $fh, -100, 2;
        print $fh 'x' x 10 }],
    'a newer schema' => [qr/schema 999/, sub {
        my $text = $t->read_file("$_[0]/manifest")
            =~ s/^schema=\d+/schema=999/mr;
        $t->write_file("$_[0]/manifest", $text);
        sums($_[0]) }],
    'no id key' => [qr/no id\.key/, sub { unlink "$_[0]/id.key" }],
    'no sums' => [qr/SHA256SUMS is missing/, sub {
        unlink "$_[0]/SHA256SUMS" }],
    'a cut dump whose sum is right' => [qr/nothing was restored/, sub {
        my $size = -s "$_[0]/trifecta.dump";
        truncate "$_[0]/trifecta.dump", $size - 3000 or die;
        sums($_[0]) }],
    'fewer rows than there were' => [qr/nothing was restored/, sub {
        my $text = $t->read_file("$_[0]/manifest")
            =~ s/^(rows:trifecta\.document)=1/$1=2/mr;
        $t->write_file("$_[0]/manifest", $text);
        sums($_[0]) }],
);

for my $name (sort keys %broken) {
    my ($like, $change) = @{ $broken{$name} };
    refused("refused: $name", $like, 'restore', copy($backup, $change));
    untouched($name);
}

$t->write_file($key, 'f' x 48 . "\n", 0600);
refused('another_id_key_is_refused', qr/another key/, 'restore', $backup);
is $t->read_file($key), 'f' x 48 . "\n", 'and stays';
unlink $key;
refused('no folder', qr/no folder/, 'restore', "$dir/nothing");
untouched('at all');


# Restored

($rc, $out, $err) = script('restore', $backup);
is $rc, 0, 'a_backup_is_restored_into_an_empty_database' or diag $err;
like $out, qr/now run "trifecta migrate"/, 'it says what comes next';
is $t->read_file($key), $t->read_file("$key.old"), 'the id key is back';
is mode($key), '0600', 'for its owner only';
refused('a second time it is refused', qr/not empty/, 'restore', $backup);

my $rows = $t->sql('admin', 'SELECT count(*) FROM trifecta.job')->[0][0];
($rc, $out, $err) = $t->run('migrate');
is $rc, 0, 'migrate goes on from there' or diag $out, $err;

$t->start('nginx');
$t->start('sidecar', 0);
$t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 30);

for my $n (0 .. 2) {
    my $res = $t->result($ended[$n]);
    is $res->{status}, 200, 'a_job_that_had_ended_is_read_by_its_old_id';
    like $res->{json}{response}, qr/ answer@{[$n + 1]}$/, 'with its result';
}

is $t->result($failed)->{json}{status}, 'failed', 'a failed one is failed';
like $t->result($acme, token => $t->token(tenant => 'acme'))->{json}{response},
    qr/secret/, 'one of another tenant is there for it';
is $t->result($acme)->{status}, 404, 'and for nobody else';
is $t->result($_)->{status}, 410, 'what_came_after_the_backup_is_410'
    for @late;

like $t->request('POST', "/api/v1/query/$_/cancel")->{status}, qr/^20[02]$/,
    'an_open_job_is_there' for @open[0 .. 3];

for my $id (@open[4 .. 6]) {
    is $t->wait_for_answer($id, timeout => 60 * $slow)->{status}, 'succeeded',
        'an_open_job_goes_on_and_ends';
}

like $t->ask_and_wait('Where does the tide table hang?')->{response},
    qr/harbour office/, 'documents are there, and can be asked';
$t->idle_holds('and_the_queue_comes_to_rest', seconds => 30);
cmp_ok $t->sql('admin', 'SELECT count(*) FROM trifecta.job')->[0][0], '>=',
    $rows, 'no row is gone';

$t->finish;
done_testing;
