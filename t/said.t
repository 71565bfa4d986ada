# What earlier attempts have said may be megabytes of each job: it is never
# asked for of many jobs in one call, and none of it is lost by that.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;

use Trifecta::Test;
use Trifecta::Test::Events;

my $P = '{trifecta:0}';
my $t = Trifecta::Test->new(sidecar => { threads => 48, lease => '2s',
    heartbeat => '500ms' }, models => 'extractive test', start => 0);
$t->start_all;
$t->redis('CONFIG', 'SET', 'slowlog-log-slower-than', 0);
$t->redis('CONFIG', 'SET', 'slowlog-max-len', 100000);

sub fcall { $t->redis('FCALL', "trifecta_$_[0]_v1", 1, $P, @_[1 .. $#_]) }

# How many arguments each call of a function had; Redis keeps 32 of them.

sub calls {
    my ($name) = @_;
    my @n;
    for my $entry (@{ $t->redis('SLOWLOG', 'GET', -1) }) {
        my @args = @{ $entry->[3] };
        next unless lc $args[0] eq 'fcall' && $args[1] eq "trifecta_${name}_v1";
        my $more = $args[-1] =~ /^\.\.\. \((\d+) more/ ? $1 - 1 : 0;
        push @n, @args + $more;
    }
    return @n;
}


sub most { my $max = 0; $_ > $max and $max = $_ for @_; return $max }


# Jobs whose sidecar is killed while they speak, all at once

my @ids = map { $t->ask("every=500 stream=a$_|b|c|d|e|f|g|h", model => 'test') }
    1 .. 40;
ok($t->wait_for(sub { 40 == grep { $t->redis('EXISTS', "$P:ev:$_") } @ids },
                20 * $t->slow), 'forty jobs speak');
$t->kill('sidecar', 0);
$t->redis('SLOWLOG', 'RESET');
$t->start('sidecar', 0);
my @ended = map { $t->wait_for_answer($_) } @ids;
is(scalar(grep { $_->{status} eq 'succeeded' } @ended), 40,
   'another one answers them all');
is(scalar(grep { text_of(stored_events($t, $ids[$_])) eq $ended[$_]{response} }
          0 .. 39), 40, 'and has stored what was said');

my @started = calls('started');
cmp_ok(scalar(@started), '>', 1, 'it was told of what began');
cmp_ok(most(@started), '<=', 5 + 3 * 16,
       'started_is_asked_of_a_few_jobs_at_once_that_had_an_attempt');


# Jobs that were cancelled while they waited, after an attempt given back

$t->stop('sidecar', 0);
my $piece = 'x' x 4000;
my @cancelled;

for my $n (1 .. 40) {
    my $id = $t->ask("say=$n", model => 'test');
    my (undef, $lease) = @{ fcall('claim', 'w', 1, 0)->[0] }[1, 2];
    my %job = @{ $t->redis('HGETALL', "$P:j:$id") };
    fcall('started', 'w', $id, $job{lease}, 1);
    fcall('emit', 'w', map { ($id, $job{lease}, 1, $_, 'd', "$n $piece") }
                       1 .. 20);
    fcall('release', 'w', $id, $job{lease});
    fcall('cancel', $job{tenant}, $job{owner}, $id);
    push @cancelled, $id;
}

$t->redis('SLOWLOG', 'RESET');
$t->start('sidecar', 0);
ok($t->wait_for(sub { 40 == $t->sql('admin', 'SELECT count(*) FROM '
    . "trifecta.job WHERE state = 'cancelled'")->[0][0] }, 20 * $t->slow),
    'forty jobs are cancelled');

my @said = calls('said');
cmp_ok(scalar(@said), '>', 2, 'what they said is asked for in several calls');
cmp_ok(most(@said), '<=', 4 + 16, 'said_is_asked_of_a_few_jobs_at_once');

my $right = 0;
for my $n (1 .. 40) {
    my @stored = stored_events($t, $cancelled[$n - 1]);
    $right++ if text_of(@stored) eq "$n $piece" x 20;
}
is($right, 40, 'and_all_of_it_is_stored');

$t->finish;
done_testing;
