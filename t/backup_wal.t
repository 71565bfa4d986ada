# Back to a moment, as the manual says: a base backup, the archived log, and
# PostgreSQL's own recovery.  What had ended by then is there, what came later
# is 410.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep time);

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0);
my $wal = "$t->{dir}/wal";
my $base = "$t->{dir}/base";
my @postgres = $> == 0 ? (getpwnam 'postgres')[2, 3] : ($>, $) + 0);

mkdir $wal, 0700 or die "mkdir: $!\n";
chown @postgres, $wal;

$t->{opt}{pg_conf} = <<"END";
archive_mode    = on
archive_command = 'test ! -f $wal/%f && cp %p $wal/%f'
archive_timeout = 60
END
$t->write_conf;
$t->start_all;

sub ended { $t->ask_and_wait("say=$_[0]", model => 'test')->{query_id} }

my $before = ended('before');

{
    local $ENV{PGPASSWORD} = $t->secret('pg_admin.pass');
    is system("pg_basebackup -h 127.0.0.1 -p $t->{pg_port} -U postgres"
              . " -D '$base' -X none -c fast 2> '$t->{dir}/log/base.log'"), 0,
        'a base backup' or diag $t->log_of('base');
}

my $between = ended('between');
my $target = $t->sql('admin', 'SELECT clock_timestamp()')->[0][0];
sleep 1;
my $after = ended('after');

my $last = $t->sql('admin', 'SELECT pg_walfile_name(pg_switch_wal())')->[0][0];
ok $t->wait_for(sub { -e "$wal/$last" && $t->sql('admin', 'SELECT'
    . ' last_archived_wal >= ? FROM pg_stat_archiver', $last)->[0][0] }, 30),
    'the log is archived';


# The disaster, and the way back

$t->stop('sidecar', 0);
$t->stop('nginx');
$t->stop('pg');
$t->redis('FLUSHALL');
delete $t->{dbh};
rename "$t->{dir}/pg", "$t->{dir}/pg.lost" or die "rename: $!\n";
is system('cp', '-a', $base, "$t->{dir}/pg"), 0, 'the base backup is put back';

open my $conf, '>>', "$t->{dir}/pg/postgresql.auto.conf" or die "open: $!\n";
print $conf <<"END";
restore_command = 'cp $wal/%f %p'
recovery_target_time = '$target'
recovery_target_action = 'promote'
END
close $conf or die "close: $!\n";
$t->write_file("$t->{dir}/pg/recovery.signal", '', 0600);
is system('chown', '-R', join(':', @postgres), "$t->{dir}/pg"), 0,
    'PostgreSQL owns it';
chmod 0700, "$t->{dir}/pg";

$t->start('pg');
ok $t->wait_for(sub { !$t->sql('admin', 'SELECT pg_is_in_recovery()')
                      ->[0][0] }, 30), 'PostgreSQL is at that moment'
    or diag $t->log_of('pg');
like $t->log_of('pg'), qr/archive recovery complete/, 'and says so';


# On from there

my ($rc, $out, $err) = $t->run('migrate');
is $rc, 0, 'migrate' or diag $out, $err;

$t->start('nginx');
$t->start('sidecar', 0);
ok $t->wait_for(sub { $t->admin('/readyz')->{status} == 200 }, 30), 'ready';

like $t->result($before)->{json}{response}, qr/before$/,
    'what_was_in_the_base_backup_is_there';
like $t->result($between)->{json}{response}, qr/between$/,
    'what_was_in_the_log_is_there';
is $t->result($after)->{status}, 410, 'what_came_later_is_410';
like $t->result(ended('again'))->{json}{response}, qr/again$/,
    'and jobs go on';
$t->idle_holds('the queue comes to rest');

$t->finish;
done_testing;
