package Trifecta::Test::Prepared;

# What each stack would make anew, and what takes longer than many a test: an
# empty server of PostgreSQL with the database, and a pair of RSA keys.  Both
# are made once, in build/prepared/, and copied.  Who changes how they are made,
# or installs another PostgreSQL, has others: the folder's name is the sum of
# both.

use strict;
use warnings;

use Digest::MD5 ();
use File::Path ();
use File::Temp ();

my $THIS = '/t/lib/Trifecta/Test/Prepared.pm';
my $INITDB = '-U postgres -N -E UTF8 --locale=C.UTF-8'
           . ' --auth=scram-sha-256';


# The folder: pg/, pg_admin.pass, rsa.key, rsa.pub.

sub folder {
    my ($t) = @_;
    my $all = $t->root . '/build/prepared';
    my $bin = pg_bin();
    my $dir = "$all/" . Digest::MD5::md5_hex(join(' ', $>, $bin,
        (stat "$bin/postgres")[7, 9]), $t->read_file($t->root . $THIS));

    return $dir if -e $dir;

    # several may do this at once: what the first one has made stays
    File::Path::make_path($all);
    my $new = File::Temp::tempdir('new.XXXXXX', DIR => $all);
    chmod 0755, $new;
    eval { _make($t, $new, $bin); 1 } or do {
        my $error = $@;
        File::Path::remove_tree($new);
        die $error;
    };
    rename $new, $dir or File::Path::remove_tree($new);

    return $dir;
}


sub pg_bin {
    my ($bin) = sort { $b cmp $a } glob '/usr/lib/postgresql/*/bin';
    return $bin // die "no PostgreSQL\n";
}


sub _make {
    my ($t, $dir, $bin) = @_;
    my $as = $t->root . '/scripts/lib/as-postgres';
    my ($data, $pass, $log) = map { "$dir/$_" } qw(pg pg_admin.pass log);

    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $bytes, 24;
    $t->write_file($pass, unpack('H*', $bytes) . "\n", 0600);
    mkdir $data, 0700;
    chown +(getpwnam 'postgres')[2, 3], $data, $pass if $> == 0;

    for ("cd / && '$as' '$bin/initdb' -D '$data' $INITDB --pwfile='$pass'",
         "cd / && echo 'CREATE DATABASE trifecta' | '$as' '$bin/postgres'"
         . " --single -D '$data' -c fsync=off postgres",
         "openssl genrsa -out '$dir/rsa.key' 2048",
         "openssl rsa -in '$dir/rsa.key' -pubout -out '$dir/rsa.pub'")
    {
        system("($_) >> '$log' 2>&1") == 0
            or die "$_ failed:\n" . $t->read_file($log);
    }

    chown 0, 0, $pass if $> == 0;
}


# Copies files or folders of it into a folder.

sub copy {
    my ($t, $to, @what) = @_;
    my $from = folder($t);

    system('cp', '-a', (map { "$from/$_" } @what), $to) == 0
        or die "cannot copy @what to $to\n";
}

1;
