package Trifecta::Test::Queue;

# The function library in Redis, called as module and sidecar call it, for
# tests without either of them.  Exports $P (the prefix of shard 0), $r (the
# client) and:
#
#   use_queue($t)        starts the Redis of a Trifecta::Test, without a queue
#   fresh()              empties it; epoch 1
#   fcall(name, args)    look(args)
#   submit(field => ..)  the reply, and the id
#   claim(worker, n, lowest)  reclaim(worker, n, lease): jobs as hashes
#   no_outage()          as if somebody had reclaimed all the time
#   card(set)            ZCARD of one of P's sets
#   ledger_all()         acknowledges the accept log
#   counts_agree(name)   nothing_is_left(name)   assertions

use strict;
use warnings;

use Exporter 'import';
use Test::More;

our @EXPORT = qw($P $r $next use_queue load epoch fcall look job submit fresh jobs
                 claim reclaim no_outage card counts_agree nothing_is_left
                 ledger_all);

our $P = '{trifecta:0}';
our $r;

my ($t, $library);

# use_queue($t) starts the Redis of a Trifecta::Test; the library is loaded.

sub use_queue {
    ($t) = @_;
    $t->start('redis');
    $r = $t->redis_client;
    load();
    return $r;
}

sub load {
    $library = join '', map { $t->read_file($_) }
        sort glob $t->root . '/migrations/redis/trifecta_v1/*.lua';
    $r->cmd('FUNCTION', 'LOAD', 'REPLACE', $library);
}

sub fcall {
    my ($name, @args) = @_;
    return $r->cmd('FCALL', "trifecta_${name}_v1", 1, $P, @args);
}

sub look { $r->cmd('FCALL_RO', 'trifecta_look_v1', 1, $P, @_) }

our $next = 0;      # number of the last job

sub job {
    my (%o) = @_;
    my %job = (id => sprintf('00000000-0000-7000-8000-%012x', ++$next),
               tenant => 't', owner => 'o', groups => '[]', scopes => '[]',
               kind => 'query', model => 'm', prio => 1, payload => '{"q":1}',
               request_id => 'req', fp => 'f', limit => 60000, max => 10000,
               tmax => 10000, %o);
    return \%job;
}

sub submit {
    my $job = ref $_[0] ? $_[0] : job(@_);
    my $reply = fcall('submit', map { $_ => $job->{$_} } sort keys %$job);
    return wantarray ? ($reply, $job->{id}) : $reply;
}

# As a sidecar does it that finds the queue whole.

sub epoch {
    my ($number) = @_;
    my $reply = fcall('rebuild', $number);
    fcall('adopt', 'server', 'store');
    return $reply;
}

sub fresh {
    $r->cmd('FLUSHALL');
    load();
    epoch(1);
}

# A claimed job as a hash.

my @COLUMNS = qw(what id sid lease prio tenant owner groups scopes kind model
                 payload request_id fp acc dl now fails trace idem);

sub jobs { map { my %j; @j{@COLUMNS} = @$_; \%j } @_ }

sub claim {
    my ($w, $n, $lowest) = @_;
    my ($last, @jobs) = @{ fcall('claim', $w, $n, $lowest // 0) };
    return jobs(@jobs);
}

sub reclaim {
    my ($w, $n, $lease) = @_;
    my ($head, @jobs) = @{ fcall('reclaim', $w, $n, $lease) };
    return jobs(@jobs);
}

# Redis seems to have been looked after all the time.

sub no_outage { $r->cmd('HDEL', "$P:meta", 'hold'); $r->cmd('HSET', "$P:meta",
                'reclaim', $r->cmd('TIME')->[0] * 1000) }

sub card { $r->cmd('ZCARD', "$P:$_[0]") }

sub counts_agree {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($live, $parts) = (card('live'), card('dly'));

    for my $key (@{ $r->cmd('KEYS', "$P:t:*") }) {
        $parts += $r->cmd('ZCARD', $key) if $key =~ /:(ready|run|park)$/;
        if ($key =~ /:ready$/ && $r->cmd('ZCARD', $key) > 16) {
            return fail("$name: $key has more than 16");
        }
    }

    return is($parts, $live, $name);
}

sub nothing_is_left {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @left;

    for my $key (sort @{ $r->cmd('KEYS', "$P:*") }) {
        my $type = $r->cmd('TYPE', $key);
        next if $key =~ /:(dead|idem:.*|lim:.*)$/;
        if ($key =~ /:ev:/) {
            push @left, "$key without TTL" if $r->cmd('TTL', $key) < 0;
        } elsif ($type eq 'stream') {
            push @left, $key if $r->cmd('XLEN', $key);
            my $group = $key =~ /:acc$/ ? 'l' : 'w';
            push @left, "$key pending"
                if $r->cmd('XPENDING', $key, $group)->[0];
        } elsif ($key =~ /:j:/) {
            push @left, "$key without TTL" if $r->cmd('TTL', $key) < 0;
            push @left, "$key with payload"
                if $r->cmd('HEXISTS', $key, 'payload');
        } elsif ($key !~ /:(meta|wk)$/) {
            push @left, $key;
        }
    }

    return is_deeply(\@left, [], $name);
}

sub ledger_all {
    for my $e (@{ $r->cmd('XRANGE', "$P:acc", '-', '+') }) {
        my %f = @{ $e->[1] };
        fcall('ledgered', $e->[0], $f{id});
    }
}


1;
