# scripts/up with servers that exist already: it uses them, starts none of its
# own, and scripts/down leaves them alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0);
$t->start('redis');
$t->start('pg');

my $run = $t->dir . '/existing';

delete @ENV{grep { /^(TRIFECTA_|ASAN_|UBSAN_)/ } keys %ENV};
$ENV{TRIFECTA_RUN} = $run;


sub script {
    my ($name, %env) = @_;
    local @ENV{keys %env} = values %env;
    my $out = qx("@{[ $t->root ]}"/scripts/$name 2>&1);
    my $status = $? >> 8;
    return ($status, $out);
}


my $pg_pass = $t->secret('pg_admin.pass');
my ($status, $out) = script('up',
    TRIFECTA_REDIS_URL => "redis://127.0.0.1:$t->{redis_port}",
    TRIFECTA_REDIS_PASSWORD_FILE => $t->dir . '/secrets/redis.pass',
    TRIFECTA_PG_URL =>
        "postgresql://postgres:$pg_pass\@localhost:$t->{pg_port}/trifecta");

is $status, 0, 'up: exit 0' or diag $out;
like $out, qr/\.md/, 'its answer cites a file';
ok index($out, $pg_pass) < 0, 'the password in the address is not printed';
is_deeply [map { m{([^/]*)$} } sort glob "$run/pid/*"], [qw(nginx sidecar)],
    'neither Redis nor PostgreSQL is started';
cmp_ok $t->redis('ZCARD', '{trifecta:0}:wk'), '>=', 1, 'Redis is used';
is $t->sql('admin', 'SELECT count(*) FROM trifecta.job_result')->[0][0], 1,
    'PostgreSQL is used';

($status, $out) = script('up');
is $status, 0, 'up again, without being told: exit 0' or diag $out;
is $t->sql('admin', 'SELECT count(*) FROM trifecta.job_result')->[0][0], 2,
    'the same servers';

($status, $out) = script('down --wipe');
is $status, 0, 'down: exit 0' or diag $out;
ok $t->proc('redis')->alive && $t->proc('pg')->alive, 'both servers live';


# A user who may not make roles is told what an administrator has to run.  The
# database is another one, so the Redis must not hold the queue of the first.

$t->redis('FLUSHALL');
$t->sql('admin', q{CREATE ROLE weak LOGIN PASSWORD 'weak'});
$t->sql('admin', 'CREATE DATABASE weak OWNER weak');
my $script = "$run/migrate.sql";

my %weak = (TRIFECTA_REDIS_URL => "redis://127.0.0.1:$t->{redis_port}",
    TRIFECTA_REDIS_PASSWORD_FILE => $t->dir . '/secrets/redis.pass',
    TRIFECTA_PG_URL =>
        "postgresql://weak:weak\@localhost:$t->{pg_port}/weak");

($status, $out) = script('up', %weak);
is $status, 1, 'without the rights: exit 1';
like $out, qr/\Q$script\E/, 'it names the script for an administrator';

my $psql = qx(PGPASSWORD='$pg_pass' psql -X -q -h 127.0.0.1 \\
              -p $t->{pg_port} -U postgres -d weak -f '$script' 2>&1);
is $?, 0, 'which runs' or diag $psql;

($status, $out) = script('up');
is $status, 0, 'and then up does' or diag $out;

($status, $out) = script('down --wipe');
is $status, 0, 'down: exit 0' or diag $out;

$t->finish;
done_testing;
