# The examples of conf/ are true: nginx accepts the complete nginx.conf and
# the five lines in an nginx.conf of Debian's kind, with nobody at the other
# end of the stores' addresses; Redis runs with redis.conf.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw(make_path);
use Test::More;

use Trifecta::Test;
use Trifecta::Test::Proc;
use Trifecta::Test::Redis;

my $t = Trifecta::Test->new(start => 0);
my $conf = $t->root . '/conf';
my $etc = $t->dir . '/etc';

make_path("$etc/nginx/snippets", "$etc/trifecta/secrets", "$etc/log");
system("cp '$_' '$etc/trifecta/secrets/'") for glob $t->dir . '/secrets/*';
my $snippets = "$etc/nginx/snippets";


# A file as it would lie in /etc, with the paths of this test. A static nginx
# has the module inside. What "make install" changes for a newer nginx is
# changed here, too.

sub adapt {
    my ($text) = @_;

    my $load = $t->{nginx_static} ? '' : "load_module $t->{module};";
    $text =~ s{^load_module modules/\S+;}{$load}m;
    $text =~ s{/etc/(trifecta|nginx)}{$etc/$1}g;
    $text =~ s{/etc/ssl/certs/\S+\.pem}{$t->{ca}}g;
    $text =~ s{/etc/ssl/private/\S+\.key}{$etc/trifecta/secrets/tls.key}g;
    $text =~ s{/var/log/nginx}{$etc/log}g;
    $text =~ s{/run/nginx\.pid}{$etc/nginx.pid}g;
    $text =~ s{^user .*}{}m if $> != 0;

    if ($t->nginx_version >= 1025001) {
        my $file = $t->write_file($t->dir . '/run/http2', $text);
        my $sed = $t->root . '/scripts/lib/http2.sed';
        $text = qx(sed -f "$sed" "$file");
    }

    # nginx -t does bind: not to a port that needs root or is somebody's
    $text =~ s{(listen\s+(?:[\d.]+:)?)\d+}{$1 . $t->free_port}ge;

    return $text;
}


sub accepted {
    my ($file, $name) = @_;

    local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
    my $out = qx("${\$t->nginx_bin}" -t -p "$etc/nginx" -e "$etc/log/e" \\
                 -c "$file" 2>&1);
    is $? >> 8, 0, $name or diag $out;
    unlike $out, qr/\[warn\](?!.*user)/, "$name without a warning"
        or diag $out;
}


$t->write_file("$etc/nginx/mime.types", "types { text/html html; }\n");
for my $file (glob "$conf/snippets/*.conf") {
    (my $name = $file) =~ s{.*/}{};
    $t->write_file("$snippets/$name", adapt($t->read_file($file)));
}

# where Debian's nginx was told to put temporary files, a user may not write
my $temp = join '', map { "    ${_}_temp_path $etc/log/$_;\n" }
           qw(client_body proxy fastcgi uwsgi scgi);

(my $complete = adapt($t->read_file("$conf/nginx.conf")))
    =~ s/^http \{\n/http {\n$temp/m;
$t->write_file("$etc/nginx/nginx.conf", $complete);
accepted("$etc/nginx/nginx.conf", 'the complete nginx.conf');


# The five lines, as README.md has them, in a server that already runs

my ($drop_in) = $t->read_file($t->root . '/README.md')
    =~ /^```nginx\n(load_module.*?)^```/ms;
my @lines = grep { /\S/ } split /\n/, $drop_in // '';
is scalar(@lines), 5, 'the drop-in has five lines';

my ($load, $http, $include, $server, $location) = @lines;
$t->write_file("$etc/nginx/existing.conf", adapt(<<"END"));
$load
user www-data;
worker_processes auto;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {
    worker_connections 768;
}
$http
$temp
    access_log /var/log/nginx/access.log;
$include
$server
        listen 127.0.0.1:443 ssl;
        ssl_certificate /etc/ssl/certs/x.pem;
        ssl_certificate_key /etc/ssl/private/x.key;
        root /var/www/html;
$location
    }
}
END
accepted("$etc/nginx/existing.conf", 'the five lines in an existing server');


# Redis

my $port = $t->free_port;
mkdir "$etc/redis";
my $redis = Trifecta::Test::Proc->start(name => 'redis',
    log => $t->dir . '/log/example-redis.log', cmd => ['redis-server',
    "$conf/redis.conf", '--port', $port, '--dir', "$etc/redis"]);

my $client;
$t->wait_for(sub {
    $client = Trifecta::Test::Redis->connect(port => $port);
}, 5);

my %want = (appendonly => 'yes', appendfsync => 'always', save => '',
            'maxmemory-policy' => 'noeviction', bind => '127.0.0.1');
for my $key (sort keys %want) {
    is $client->cmd('CONFIG', 'GET', $key)->[1], $want{$key},
        "redis.conf: $key";
}
$redis->stop('TERM');

$t->finish;
done_testing;
