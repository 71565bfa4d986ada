package Trifecta::Bench::Machine;

# Which machine, when, and which versions: what a figure is worth nothing
# without.

use strict;
use warnings;

use File::Spec ();
use POSIX qw(strftime);

my %VERSION = (
    nginx => 'nginx -v 2>&1', Redis => 'redis-server --version',
    PostgreSQL => 'ls -d /usr/lib/postgresql/*/bin | tail -1',
    OpenSSL => 'openssl version', Python => 'python3 --version 2>&1',
    Node => 'node --version 2>&1',
);


sub facts {
    my ($root) = @_;
    my %facts;

    for my $name (keys %VERSION) {
        my $out = qx($VERSION{$name});
        $facts{$name} = $1 if ($out // '') =~ /(\d+(?:\.\d+)*)/;
    }

    for my $package (qw(python3-fastapi python3-uvicorn python3-uvloop
        python3-redis python3-jwt python3-asyncpg python3-celery python3-rq))
    {
        my $v = qx(dpkg-query -W -f='\${Version}' $package 2> /dev/null);
        $facts{$package} = $v if $v;
    }

    for my $package (qw(bullmq graphile-worker pg-boss @portkey-ai/gateway)) {
        my ($v) = slurp("$root/build/bench/node/node_modules/$package"
            . '/package.json') =~ /"version":\s*"([^"]+)"/;
        $facts{$package} = $v if $v;
    }

    my ($cpu) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)$/m;
    my $n = () = slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;
    my ($memory) = slurp('/proc/meminfo') =~ /^MemTotal:\s+(\d+)/;
    chomp(my $commit = qx(git -C '$root' describe --always --dirty 2> /dev/null)
                       // '');

    my $temp = File::Spec->tmpdir;
    chomp(my $disk = qx(stat -f -c %T '$temp') // 'unknown');

    return { %facts, stores => $disk, processor => $cpu // 'unknown',
        processors => $n, memory => sprintf('%.0f GB', $memory / 1048576), commit => $commit,
        date => strftime('%Y-%m-%d %H:%M UTC', gmtime),
        command => join ' ', 'bench/run', @main::COMMAND };
}


sub describe {
    my $f = facts(@_);
    my %rest = %$f;
    my @first = delete @rest{qw(command date commit processors processor
                                memory stores)};

    return sprintf("`%s`, %s, Trifecta %s, %d of \"%s\", %s, stores on %s.\n",
                   @first)
        . join(', ', map { "$_ $rest{$_}" } sort keys %rest) . ".\n\n";
}


sub slurp {
    open my $fh, '<', $_[0] or return '';
    local $/;
    return scalar(<$fh>) // '';
}

1;
