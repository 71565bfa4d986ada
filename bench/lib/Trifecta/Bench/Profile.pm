package Trifecta::Bench::Profile;

# The part of bench/profile within bench/run: only what is measured is to be
# in the profile, and of whom a sample is has to be known.  The environment's
# TRIFECTA_BENCH_PROFILE names a folder with
#
#   ctl, ack     FIFOs by which perf is switched on and off, or
#   callgrind    a file that says that the programs run under valgrind
#   groups       written here: "name pid" of each process of a group
#
# samples_of_perf() and samples_of_callgrind() read the profile: [group, how
# much, function, object], and table() is the top of each group.

use strict;
use warnings;

use IO::Handle;

use Trifecta::Bench::Cost;


sub begin {
    my ($cost) = @_;
    my $dir = $ENV{TRIFECTA_BENCH_PROFILE} or return;

    _groups($dir, $cost);
    _perf($dir, 'enable');
}


sub end {
    my ($cost) = @_;
    my $dir = $ENV{TRIFECTA_BENCH_PROFILE} or return;

    _perf($dir, 'disable');
    # those that came meanwhile, too
    _groups($dir, $cost);
    _callgrind($dir, $cost);
}


sub _groups {
    my ($dir, $cost) = @_;

    open my $fh, '>>', "$dir/groups" or die "$dir/groups: $!\n";
    for my $name (sort keys %{ $cost->{group} }) {
        print $fh "$name $_\n"
            for Trifecta::Bench::Cost::tree(@{ $cost->{group}{$name} });
    }
    close $fh or die "$dir/groups: $!\n";
}


sub _perf {
    my ($dir, $what) = @_;

    return unless -p "$dir/ctl";
    open my $ctl, '>', "$dir/ctl" or die "$dir/ctl: $!\n";
    print $ctl "$what\n";
    close $ctl;
    open my $ack, '<', "$dir/ack" or die "$dir/ack: $!\n";
    sysread $ack, my $said, 16;
}


# Valgrind writes down what it has counted when a program ends, so that they
# end here: of a case only one row can be measured so, from its start on.

sub _callgrind {
    my ($dir, $cost) = @_;

    return unless -e "$dir/callgrind";
    my @pids = reverse grep { (readlink("/proc/$_/exe") // '') =~ /callgrind/ }
        map { Trifecta::Bench::Cost::tree(@$_) } values %{ $cost->{group} };

    for my $pid (@pids) {
        kill 'TERM', $pid;
        for (1 .. 100) {
            last if -s "$dir/callgrind.out.$pid";
            select undef, undef, undef, 0.1;
        }
    }
}


sub _group_of {
    my ($dir) = @_;

    open my $fh, '<', "$dir/groups"
        or die "nothing was measured that a profile can be made of\n";
    return map { reverse split ' ' } <$fh>;
}


sub samples_of_perf {
    my ($dir) = @_;
    my %group = _group_of($dir);
    my @samples;

    open my $fh, '-|', "perf script -i '$dir/perf.data' -F pid,ip,sym,dso"
        . " 2> '$dir/script.log'" or die "perf script: $!\n";
    while (my $line = <$fh>) {
        my ($pid, $symbol, $dso)
            = $line =~ /^\s*(\d+)\s+[0-9a-f]+\s+(.*?)\s+\((.*)\)\s*$/ or next;
        push @samples, [$group{$pid}, 1, $symbol, $dso] if $group{$pid};
    }
    close $fh or die 'perf script failed: ' . qx(tail -3 '$dir/script.log');

    return @samples;
}


sub samples_of_callgrind {
    my ($dir) = @_;
    my %group = _group_of($dir);
    my @samples;

    for my $file (glob "$dir/callgrind.out.*") {
        my ($pid) = $file =~ /out\.(\d+)/;
        next unless -s $file && $group{$pid};
        my $lines = qx(callgrind_annotate --threshold=100 '$file' 2> /dev/null);
        while ($lines =~ /^\s*([\d,]+) \([^)]*\)\s+\S*?:(\S+)(?: \[(.*)\])?$/mg)
        {
            push @samples, [$group{$pid}, $1 =~ tr/,//dr, $2, $3 // ''];
        }
    }

    return @samples;
}


# Of each group the $top most expensive functions, and what objects they lie
# in; "unit" is what was counted.

sub table {
    my ($unit, $top, @samples) = @_;
    my (%sum, %function, %object);
    my $text = '';

    for (@samples) {
        my ($group, $n, $function, $object) = @$_;
        $function = 'a function without a name' if $function eq '[unknown]';
        $object =~ s/.*\///;
        $object = 'the kernel' if $object =~ /kernel|kallsyms/;
        $object =~ s/ \(deleted\)$//;
        # one file by many names
        $object =~ s/^redis-.*/redis-server/;
        $sum{$group} += $n;
        $function{$group}{"`$function` | $object"} += $n;
        $object{$group}{$object} += $n;
    }

    for my $group (sort { $sum{$b} <=> $sum{$a} || $a cmp $b } keys %sum) {
        my $share = sub { sprintf '%.1f %%', 100 * $_[0] / $sum{$group} };
        my $most = sub { my ($of, $n) = @_;
            my @k = sort { $of->{$b} <=> $of->{$a} || $a cmp $b } keys %$of;
            return splice @k, 0, $n };
        $text .= "### Costs of $group: $sum{$group} $unit\n\nBy object: "
            . join(', ', map { "$_ " . $share->($object{$group}{$_}) }
                         $most->($object{$group}, 6))
            . ".\n\n| share | function | in |\n|---:|---|---|\n"
            . join('', map { '| ' . $share->($function{$group}{$_})
                             . " | $_ |\n" } $most->($function{$group}, $top))
            . "\n";
    }

    return $text;
}

1;
