# Requests of 700 kilobytes, many at once: a batch has a bound in bytes,
# too, so that what all of them are together is no statement that takes too
# long, or is refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;

my $t = Trifecta::Test->new(start => 0, sidecars => 0, models => 'test',
    sidecar => { threads => 64, lease => '30s', heartbeat => '1s' });
$t->start_all;

my $many = 40;
my $fill = 'x' x 700_000;
my @ids = map { $t->post('/v1/responses', { model => 'test', input => "say=$_",
    instructions => $fill, background => \1 })->{json}{id} } 1 .. $many;

$t->start('sidecar', 0);

my $done = sub { $t->sql('admin', "SELECT count(*) FROM trifecta.job
                         WHERE state = 'succeeded'")->[0][0] };
$t->wait_for(sub { $done->() == $many }, 60);
is $done->(), $many, 'large_requests_end_like_small_ones';

# six of them have four megabytes
my $m = $t->metrics(0);
my $name = 'trifecta_worker_batch_jobs';
is $m->{"${name}_bucket{stage=\"begin\",le=\"8\"}"},
    $m->{"${name}_count{stage=\"begin\"}"},
    'a_batch_that_begins_is_bounded_in_bytes';

$t->finish;
done_testing;
