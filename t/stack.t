# How the scripts start processes and find them again.

use strict;
use warnings;

use FindBin;
use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep time);

my $root = "$FindBin::Bin/..";
my $run = File::Temp->newdir;

mkdir "$run/$_" or die "mkdir: $!" for qw(pid log);


sub stack {
    my ($script) = @_;
    my $text = "set -euo pipefail; ROOT='$root'; . '$root/scripts/lib/common.sh';"
        . " . '$root/scripts/lib/stack.sh'; RUN='$run'; exec 9> '$run/lock';"
        . " $script";
    my $pid = open my $out, '-|', 'bash', '-c', "{ $text; } 2>&1"
        or die "bash: $!";
    my $all = do { local $/; <$out> };

    close $out;
    return ($? >> 8, $all);
}

sub slurp {
    my ($name) = @_;
    open my $fh, '<', "$run/$name" or return '';
    return do { local $/; <$fh> };
}

# A field of /proc/PID/stat, counted from the state on; '' when it is gone.

sub stat_of {
    my ($pid, $field) = @_;
    open my $fh, '<', "/proc/$pid/stat" or return '';
    return (split ' ', (split /\) /, scalar <$fh>)[-1])[$field];
}

sub until_true {
    my ($what) = @_;
    my $end = time + 10;

    sleep 0.05 until $what->() || time > $end;
    return $what->();
}


my ($status, $out) = stack('proc_start one sum sleep 600; proc_read one;'
                           . ' echo "$PID $SUM"');
my ($pid) = $out =~ /^(\d+) sum$/;

is $status, 0, 'started' or diag $out;
ok $pid && kill(0, $pid), 'it outlives the shell';
ok until_true(sub {
       (readlink("/proc/$pid/exe") // '') =~ /sleep/
   }), 'it is the program itself';
ok !-e "/proc/$pid/fd/9", 'it has not inherited the lock';
is stat_of($pid, 3), $pid, 'and leads a session of its own';

($status, $out) = stack('proc_stop one TERM 5');
is $status, 0, 'it is stopped';
like stat_of($pid, 0), qr/^Z?$/, 'and gone';
ok !-e "$run/pid/one", 'so is its file';


# What is not in a file would never be found again, and a second one would be
# started on the same data

stack("proc_start two sum bash -c 'cat $run/pid/two; echo \$\$; sleep 1'");
ok until_true(sub { slurp('log/two.log') =~ /^(\d+) \d+ sum\n\1\n/ }),
    'what_runs_is_in_a_file_before_it_runs' or diag slurp('log/two.log');

mkdir "$run/pid/three";
($status, $out) = stack("proc_start three sum bash -c 'echo runs; sleep 1'");
isnt $status, 0, 'a full disk is an error';
sleep 0.3;
is slurp('log/three.log'), '', 'what_cannot_be_noted_is_not_started';

done_testing;
