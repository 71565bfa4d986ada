# trifecta migrate: both stores from nothing, again, and on bad days.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use File::Copy qw(copy);
use POSIX ();
use Test::More;

use Trifecta::Test;

# every statement is logged: no password may be in one
my $t = Trifecta::Test->new(start => 0, sidecars => 0,
    pg_conf => "log_statement = 'all'");
my $P = '{trifecta:0}';
my (%secret, $said);

$secret{$_} = $t->secret("pg_$_.pass") for qw(admin queue rag edge);
$t->start('redis');
$t->start('pg');

sub migrate {
    my @out = $t->run(@_ && ref $_[0] ? shift : {}, 'migrate', @_);
    $said .= join "\n", @out;
    return @out;
}

# CRC-32 of the lines, bit by bit, as a signed number.

sub checksum {
    my ($text) = @_;
    my $crc = 0xffffffff;
    $text =~ s/^\xef\xbb\xbf//;
    $text =~ s/[\r\n]//g;
    for my $byte (unpack 'C*', $text) {
        $crc ^= $byte;
        $crc = $crc & 1 ? $crc >> 1 ^ 0xedb88320 : $crc >> 1 for 1 .. 8;
    }
    return unpack 'l', pack 'L', $crc ^ 0xffffffff;
}

# A copy of the migrations, to be spoiled.

sub folder {
    my ($name) = @_;
    my $dir = "$t->{dir}/$name";
    mkdir $_ or die "$_: $!" for $dir, "$dir/redis",
        "$dir/redis/trifecta_v1";
    copy($_, $dir) for glob $t->root . '/migrations/*.sql';
    copy($_, "$dir/redis/trifecta_v1")
        for glob $t->root . '/migrations/redis/trifecta_v1/*.lua';
    return $dir;
}

sub in_folder { return { env => { TRIFECTA_MIGRATIONS => $_[0] } } }

# Another database of the same server.

sub database {
    my ($name, $user, $pass) = @_;
    my $at = "127.0.0.1:$t->{pg_port}/$name";
    $user //= 'postgres';
    return (TRIFECTA_PG_URL => "postgresql://$at",
            TRIFECTA_PG_ADMIN_URL => "postgresql://$user\@$at",
            $pass ? (TRIFECTA_PG_ADMIN_PASSWORD_FILE => $pass) : ());
}

sub admin { $t->sql('admin', @_) }

sub count_in {
    my ($db, $query) = @_;
    return $t->pg_connect('admin', $db)->selectrow_array($query);
}

sub history {
    return admin('SELECT installed_rank, version, description, type, script, '
        . 'checksum, installed_by, success FROM '
        . 'trifecta.flyway_schema_history ORDER BY 1');
}

sub denied {
    my ($role, $query, $re, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return like(eval { $t->sql($role, $query); 'allowed' } // $@, $re, $name);
}


# from nothing

my ($rc, $out, $err) = migrate('--dry-run');
is($rc, 0, 'a dry run of a first run');
like($out, qr/would run CREATE ROLE trifecta_owner NOLOGIN\n/, 'names roles');
like($out, qr/would apply V1__\w+\.sql\n/, 'and files');
like($out, qr/would start epoch 1/, 'and the epoch');
is(admin("SELECT count(*) FROM pg_roles WHERE rolname ~ '^trifecta'")->[0][0],
    0, 'and_a_dry_run_changes_nothing');
is($t->redis('EXISTS', "$P:meta"), 0, 'in Redis neither');

($rc, $out, $err) = migrate();
is($rc, 0, 'the first run') or diag $err;
like($out, qr/^applied V1__jobs\.sql\n/, 'applies the files');
like($out, qr/started epoch 1 /, 'and starts the queue');
is($t->redis('HGET', "$P:meta", 'epoch'), 1, 'Redis has the epoch');
is_deeply(admin('SELECT shard, epoch FROM trifecta.epoch'), [[0, 1]],
    'PostgreSQL too');

my @files = sort { ($a =~ /V(\d+)__/)[0] <=> ($b =~ /V(\d+)__/)[0] }
    glob $t->root . '/migrations/V*.sql';
my $first = history();
is(@$first, @files, 'a row of the history for each file');
for my $n (1 .. @files) {
    my ($name) = $files[$n - 1] =~ m{([^/]+)$};
    (my $what = $name) =~ s/^V\d+__(.*)\.sql$/$1/;
    is_deeply($first->[$n - 1],
        [$n, $n, $what =~ tr/_/ /r, 'SQL', $name,
         checksum($t->read_file($files[$n - 1])), 'postgres', 1],
        "the row of $name is as Flyway writes it, checksum included");
}
is_deeply(admin("SELECT column_name, data_type, is_nullable FROM
    information_schema.columns WHERE table_name = 'flyway_schema_history'
    ORDER BY ordinal_position"),
    [['installed_rank', 'integer', 'NO'], ['version', 'character varying',
     'YES'], ['description', 'character varying', 'NO'], ['type',
     'character varying', 'NO'], ['script', 'character varying', 'NO'],
     ['checksum', 'integer', 'YES'], ['installed_by', 'character varying',
     'NO'], ['installed_on', 'timestamp without time zone', 'NO'],
     ['execution_time', 'integer', 'NO'], ['success', 'boolean', 'NO']],
    'the columns of the history are Flyway\'s');

($rc, $out) = migrate();
is($rc, 0, 'a second run');
like($out, qr/^nothing to do:/, 'says that there is nothing to do');
is_deeply(history(), $first, 'and_a_second_run_changes_nothing');

my $log = $t->log_of('pg');
like($log, qr/ALTER ROLE trifecta_edge PASSWORD 'SCRAM-SHA-256\$/,
    'PostgreSQL got verifiers');
is(scalar(grep { index($log, $_) >= 0 } values %secret), 0,
    'the_log_of_postgresql_has_no_password_even_with_log_statement_all');


# who may do what

is_deeply(admin("SELECT rolname, rolcanlogin FROM pg_roles
    WHERE rolname ~ '^trifecta_' AND NOT (rolsuper OR rolbypassrls OR
    rolcreaterole OR rolcreatedb OR rolreplication) ORDER BY 1"),
    [['trifecta_edge', 1], ['trifecta_owner', 0], ['trifecta_queue', 1],
     ['trifecta_rag', 1]], 'no_role_has_superuser_or_bypassrls');
is_deeply(admin("SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
    WHERE relnamespace = 'trifecta'::regnamespace UNION SELECT
    pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'trifecta'"),
    [['trifecta_owner']], 'the owner owns all of the schema');
is_deeply(admin("SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner)
    IN ('trifecta_queue', 'trifecta_rag', 'trifecta_edge')"), [],
    'no_role_but_the_owners_owns_a_table');
is_deeply(admin("SELECT relname FROM pg_class c WHERE relkind IN ('r', 'p')
    AND relnamespace = 'trifecta'::regnamespace AND NOT relispartition
    AND NOT (relrowsecurity AND relforcerowsecurity)
    AND relname NOT IN ('epoch', 'install', 'shard',
    'flyway_schema_history')"), [],
    'row-level security is forced on every table with somebody\'s data');

denied('edge', 'SELECT * FROM trifecta.chunk', qr/permission denied/,
    'as_the_modules_role_a_select_on_chunk_is_denied');
denied('edge', 'SELECT * FROM trifecta.document', qr/permission denied/,
    'and on document');
my $job = "INSERT INTO trifecta.job (id, tenant, owner, kind, prio, state,
    accepted, deadline) VALUES ('%s', '%s', '%s', 'query', 1, 'queued',
    now(), now() + interval '10 min')";
my $id = '01930000-0000-7000-8000-000000000001';
denied('edge', sprintf($job, $id, 'default', 'test:u1'),
    qr/permission denied|read-only/,
    'as_the_modules_role_an_insert_on_job_is_denied');
$t->sql('edge', 'SET default_transaction_read_only = off');
denied('edge', sprintf($job, $id, 'default', 'test:u1'),
    qr/permission denied/, 'also when it makes itself writable');
denied('edge', 'CREATE TABLE trifecta.mine (a int)', qr/denied|read-only/,
    'it makes no table');
denied('edge', 'SET ROLE trifecta_owner', qr/permission denied/,
    'and cannot take the role of the owner');
denied($_, 'SET ROLE trifecta_owner', qr/permission denied/, "nor can $_")
    for qw(queue rag);
denied('queue', 'SELECT * FROM trifecta.chunk', qr/permission denied/,
    'the queue\'s role sees no documents');
denied('rag', 'SELECT * FROM trifecta.job', qr/permission denied/,
    'the documents\' role reads no jobs');
is($t->sql('edge', 'SHOW statement_timeout')->[0][0], '2s',
    'what nginx asks may take 2 s');

$t->sql('queue', sprintf $job, $id, 'default', 'test:u1');
$t->sql('queue', "INSERT INTO trifecta.job_result (job, tenant, owner,
    attempt, body) VALUES (?, 'default', 'test:u1', 1, 'secret')", $id);

sub rows_for {
    my ($tenant, $owner) = @_;
    my $dbh = $t->dbh('edge');
    my @n;

    $dbh->begin_work;
    $dbh->do("SELECT set_config('trifecta.tenant', ?, true),
        set_config('trifecta.owner', ?, true)", undef, $tenant, $owner)
        if defined $tenant;
    push @n, $dbh->selectrow_array("SELECT count(*) FROM trifecta.$_")
        for qw(job job_result);
    $dbh->rollback;
    return "@n";
}

is(rows_for('default', 'test:u1'), '1 1', 'the owner\'s row is seen');
is(rows_for('default', 'test:u2'), '0 0',
    'a_foreign_id_gives_no_row_with_the_predicate_removed');
is(rows_for('acme', 'test:u1'), '0 0', 'nor from another tenant');
is(rows_for(), '0 0', 'nor without settings');
is(rows_for('', ''), '0 0', 'nor with empty ones');


# rights that were taken or given since

admin('ALTER ROLE trifecta_edge BYPASSRLS');
admin('ALTER ROLE trifecta_rag CREATEROLE');
admin('GRANT trifecta_owner TO trifecta_queue');
admin('REVOKE USAGE ON SCHEMA trifecta FROM trifecta_rag');
admin("ALTER ROLE trifecta_queue PASSWORD 'another'");
admin('ALTER ROLE trifecta_edge RESET statement_timeout');
($rc, $out, $err) = migrate('--dry-run');
like($out, qr/would run ALTER ROLE trifecta_edge NOSUPERUSER NOBYPASSRLS/,
    'a dry run sees rights beyond a role\'s own');
like($out, qr/REVOKE trifecta_owner FROM trifecta_queue/, 'a membership');
like($out, qr/PASSWORD :'queue_password'/, 'a password that differs');
($rc, $out, $err) = migrate();
is($rc, 0, 'and a run mends them') or diag $err;
is_deeply(admin("SELECT rolname FROM pg_roles WHERE rolname ~ '^trifecta'
    AND (rolbypassrls OR rolcreaterole)"), [], 'rights');
delete $t->{dbh}{queue};
denied('queue', 'SET ROLE trifecta_owner', qr/permission denied/,
    'memberships, and the password is the file\'s again');
($rc, $out) = migrate();
like($out, qr/^nothing to do:/, 'and then there is nothing to do');


# files that do not fit the history

my $dir = folder('changed');
my $sql = $t->read_file("$dir/V1__jobs.sql");
$t->write_file("$dir/V1__jobs.sql", $sql =~ s/\n/\r\n/gr);
($rc) = migrate(in_folder($dir));
is($rc, 0, 'other line ends are no change');
$t->write_file("$dir/V1__jobs.sql", "$sql-- one more\n");
($rc, $out, $err) = migrate(in_folder($dir));
is($rc, 1, 'a_changed_file_is_refused');
my ($old, $new) = (checksum($sql), checksum("$sql-- one more\n"));
like($err, qr/V1__jobs\.sql was changed .* checksum $old, .* has $new\. Put/s,
    'with its name, both checksums and what to do');
is_deeply(history(), $first, 'and nothing is changed');
rename "$dir/V1__jobs.sql", "$dir/V3__jobs.sql";
($rc, $out, $err) = migrate(in_folder($dir));
is($rc, 1, 'a missing file is refused');
like($err, qr/version 1 is missing/, 'by its number');

my $next = @files + 1;
admin("INSERT INTO trifecta.flyway_schema_history (installed_rank, version,
    description, type, script, installed_by, execution_time, success)
    VALUES ($next, '$next', 'x', 'SQL', 'V${next}__x.sql', 'x', 1, true)");
($rc, $out, $err) = migrate();
is($rc, 1, 'a_newer_database_is_refused');
like($err, qr/newer than this program.*V${next}__x\.sql/, 'and says so');
admin("DELETE FROM trifecta.flyway_schema_history WHERE installed_rank =
    $next");


# a file that fails

admin('CREATE DATABASE other');
$dir = folder('broken');
my $v2 = $t->read_file("$dir/V2__documents.sql");
$t->write_file("$dir/V2__documents.sql", "$v2\nCREATE TABEL oops;\n");
my %other = (%{ in_folder($dir)->{env} }, database('other'));
($rc, $out, $err) = migrate({ env => \%other });
is($rc, 1, 'a file that fails');
like($err, qr/V2__documents\.sql failed and nothing of it stays.*TABEL.*LINE/s,
    'is named, with the server\'s words and the line');
is(count_in('other', 'SELECT max(version) FROM '
    . 'trifecta.flyway_schema_history'), 1, 'the one before it stays');
is(count_in('other', "SELECT to_regclass('trifecta.acl') IS NULL"), 1,
    'of_a_failed_file_nothing_stays');
$t->write_file("$dir/V2__documents.sql", "$v2\nCOMMIT;\n");
($rc, $out, $err) = migrate({ env => \%other });
is($rc, 1, 'a file that commits');
like($err, qr/must not have COMMIT/, 'is refused');
admin('DROP DATABASE other');


# Redis was emptied

my $open = $t->sql('queue', "SELECT count(*) FROM trifecta.job
    WHERE state = 'queued'")->[0][0];
is($open, 1, 'a job is open');
$t->sql('queue', "UPDATE trifecta.job SET request = '{\"query\": \"x\"}'");
$t->redis('FLUSHALL');
($rc, $out, $err) = $t->run('doctor');
like($out, qr/^FAIL  queue .*NOTREADY.*epoch 1.*emptied.*trifecta migrate/m,
    'doctor_says_of_an_emptied_redis_what_mends_it');
($rc, $out) = migrate('--dry-run');
like($out, qr/would start epoch 2 of the queue: .*emptied/,
    'a dry run says that a new epoch is needed, and why');
is($t->redis('EXISTS', "$P:meta"), 0, 'and does nothing');
($rc, $out, $err) = migrate();
is($rc, 0, 'an_emptied_redis_gets_a_new_epoch') or diag $err;
like($out, qr/rebuilding.*emptied.*started epoch 2 .*restored 1/s,
    'and_says_what_came_back');
is_deeply($t->sql('queue', 'SELECT state FROM trifecta.job'), [['queued']],
    'the job is open as before');
is($t->redis('HGET', "$P:j:$id", 'state'), 'queued', 'and waits in Redis');
is($t->redis('HGET', "$P:meta", 'epoch'), 2, 'which has epoch 2');
is_deeply(admin('SELECT epoch FROM trifecta.epoch ORDER BY 1'), [[1], [2]],
    'PostgreSQL too');
($rc, $out) = migrate();
like($out, qr/^nothing to do:/, 'asked again there is nothing to do');

# Redis of another installation

admin('CREATE DATABASE other');
my $before = join ' ', sort @{ $t->redis('KEYS', '*') };
($rc, $out, $err) = migrate({ env => { database('other') } });
is($rc, 1, 'a_redis_of_another_installation_is_refused');
my ($ours, $theirs) = (count_in('other', 'SELECT id FROM trifecta.install'),
                       admin('SELECT id FROM trifecta.install')->[0][0]);
like($err, qr/another installation \($theirs; ours is $ours\).*left alone.*redis_url/s,
    'with both names and what to do');
is(join(' ', sort @{ $t->redis('KEYS', '*') }), $before, 'and left alone');
is($t->redis('HGET', "$P:meta", 'epoch'), 2, 'with its epoch');
$t->redis('FLUSHALL');
admin('DROP DATABASE other');


# several at once

admin('CREATE DATABASE other');
my @pids = map {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        my ($status, undef, $e) = $t->run({ env => { database('other') } },
                                          'migrate');
        print STDERR $e if $status;
        POSIX::_exit($status);
    }
    $pid;
} 1 .. 4;
my @status = map { waitpid $_, 0; $? } @pids;
is_deeply(\@status, [0, 0, 0, 0], 'four_migrates_at_once_all_succeed');
is(count_in('other', 'SELECT string_agg(version, \',\' ORDER BY '
    . 'installed_rank) FROM trifecta.flyway_schema_history'),
    join(',', 1 .. @files), 'and apply each file once');
is(count_in('other', 'SELECT count(*) FROM trifecta.epoch'), 1,
    'and start one epoch');

my $dbh = $t->pg_connect('admin', 'other');
$dbh->do('SELECT pg_advisory_lock(7310293845102)');
my ($pid) = $dbh->selectrow_array('SELECT pg_backend_pid()');
($rc, $out, $err) = migrate({ env => { database('other') } },
                            '--wait', '300ms');
is($rc, 1, 'the_lock_is_waited_for_but_not_for_ever');
like($err, qr/another "trifecta migrate" is at work.*server process $pid\b/,
    'and the message says who has it');
$dbh->disconnect;
admin('DROP DATABASE other');


# without the rights

delete $t->{dbh};
my $root = $t->pg_connect('admin', 'postgres');
$root->do('DROP DATABASE trifecta WITH (FORCE)');
$root->do("DROP ROLE trifecta_$_") for qw(owner queue rag edge);
$root->do("CREATE ROLE dba LOGIN PASSWORD 'dba-secret'");
$root->do(q{CREATE DATABASE "it's" OWNER dba});
$t->redis('FLUSHALL');
my $pass = $t->write_file("$t->{dir}/run/dba.pass", "dba-secret\n", 0600);
my %dba = database('it%27s', 'dba', $pass);

($rc, $out, $err) = migrate({ env => \%dba });
is($rc, 1, 'without the rights');
like($err, qr/"dba" may not do everything/, 'it says so');
like($out, qr/^CREATE ROLE trifecta_queue LOGIN;$/m, 'and prints SQL');
my @times = $out =~ /^CREATE SCHEMA trifecta AUTHORIZATION /mg;
is(scalar @times, 1, 'each statement once');
my $script = $t->write_file("$t->{dir}/run/admin.sql", $out);
my @psql = ('psql', '-X', '-q', '-h', '127.0.0.1', '-p', $t->{pg_port},
            '-U', 'postgres', '-f', $script);
{
    local $ENV{PGPASSWORD} = $secret{admin};
    my $quiet = "> $t->{dir}/log/psql.log 2>&1";
    isnt(system("@psql -d postgres $quiet"), 0,
        'the script refuses another database');
    is(system("@psql -d \"it's\" $quiet"), 0,
        'the_printed_sql_works_in_psql_as_it_is')
        or diag $t->read_file("$t->{dir}/log/psql.log");
}
($rc, $out, $err) = migrate({ env => \%dba });
is($rc, 0, 'and then migrate has what it needs') or diag $err;
like($out, qr/applied V1__.*started epoch 1/s, 'and does the rest');
($rc, $out) = migrate({ env => \%dba });
like($out, qr/^nothing to do:/, 'also the second time');


# a server that is busy: each statement takes longer than one of a job may,
# and a file so long that it is told

$t->redis('FLUSHALL');
$t->pg_connect('admin', 'postgres')->do('CREATE DATABASE busy');
{
    my $dbh = $t->pg_connect('admin', 'busy');
    $dbh->do($_) for <<'END', 'CREATE EVENT TRIGGER slow ON ddl_command_start'
CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_query() ~ 'flyway_schema_history' THEN
        PERFORM pg_sleep(6);
    ELSIF current_query() ~ 'me_tenant.. RETURNS' THEN
        PERFORM pg_sleep(11);
    END IF;
END $$
END
        . q{ WHEN TAG IN ('CREATE INDEX')}
        . ' EXECUTE FUNCTION slow()';
}
($rc, $out, $err) = migrate({ env => { database('busy') }, timeout => 120 });
is($rc, 0, 'a busy server is waited for') or diag $err;
like($out, qr/applied V1__/, 'until it is done');
like($err, qr/^V1__jobs\.sql is being applied, for 1\d seconds so far$/m,
    'and what takes long is told');


# what cannot be reached

($rc, $out, $err) = migrate({ env => { database('nowhere') } });
is($rc, 1, 'no such database');
like($err, qr/CREATE DATABASE/, 'says what to do');
($rc, $out, $err) = migrate({ env => { %dba,
    TRIFECTA_PG_ADMIN_PASSWORD_FILE => "$t->{dir}/none" } });
is($rc, 1, 'no password file');
like($err, qr/\Q$t->{dir}\E\/none/, 'names it');
($rc, $out, $err) = migrate({ env => { %dba,
    TRIFECTA_PG_QUEUE_USER => 'me' } });
is($rc, 1, 'another name of a role');
like($err, qr/pg_queue_user must be trifecta_queue/, 'is refused');
$t->stop('redis');
($rc, $out, $err) = migrate({ env => \%dba });
is($rc, 1, 'no Redis');
like($err, qr/run migrate again when Redis answers/, 'says what to do');

is(scalar(grep { index($said, $_) >= 0 } values %secret, 'dba-secret'), 0,
    'no_password_was_ever_printed');

$t->finish;
done_testing;
