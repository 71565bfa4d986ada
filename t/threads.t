# A sidecar with a thousand threads: as many jobs as there are run at once,
# whatever limit of open files it was started with; and the bound of "threads".

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $many = 300;

# as a shell has it; only the soft limit
system("prlimit --pid $$ --nofile=1024:") == 0
    or plan skip_all => 'there is no prlimit here';

my $t = Trifecta::Test->new(start => 0, sidecar => {
    threads => 1024, drain_timeout => '100ms' });
my $trace = $t->dir . '/run/trace';
$ENV{TF_TEST_TRACE} = $trace;
$t->start_all;

sub began {
    open my $fh, '<', $trace or return 0;
    my @lines = <$fh>;
    return scalar @lines;
}


# Each of them sleeps for longer than the test lasts: none makes room for
# another one

$t->ask("sleep=600000 say=$_", model => 'test') for 1 .. $many;
$t->wait_for(sub { began() == $many }, 20 * $t->slow);
is(began(), $many, 'each_job_has_a_thread_at_once_however_long_they_last');

open my $limits, '<', '/proc/' . $t->proc('sidecar', 0)->pid . '/limits';
my ($soft, $hard) = map { /^Max open files\s+(\d+)\s+(\d+)/ } <$limits>;
cmp_ok($soft, '>=', 5 * 1024 < $hard ? 5 * 1024 : $hard,
    'there_are_files_for_all_of_them_as_far_as_the_system_allows');
is($t->log_of('sidecar', 0) =~ /raise the limit/ ? 1 : 0,
    $soft < 5 * 1024 ? 1 : 0,
    'and_its_log_says_so_when_that_is_not_enough');

$t->stop('sidecar', 0);
unlike($t->log_of('sidecar', 0), qr/could not be given back/,
    'all_of_them_go_back_to_the_queue');


# The bound

$t->{opt}{sidecar}{threads} = 1025;
$t->write_conf;
$t->launch('sidecar', 0)->wait(10 * $t->slow);
like($t->log_of('sidecar', 0), qr/threads must be between 1 and 1024/,
    'more_threads_than_that_are_refused');

$t->{opt}{sidecar}{threads} = 1;
$t->write_conf;
$t->start('sidecar', 0);

$t->finish;
done_testing;
