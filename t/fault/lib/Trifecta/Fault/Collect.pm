package Trifecta::Fault::Collect;

# All that is to be seen of a round, for Trifecta::Fault::Check:
#
#   my $sampler = Trifecta::Fault::Collect::sampler($stack, $file);
#   ... the round ...
#   $sampler->();                       # ends it
#   my $seen = Trifecta::Fault::Collect::seen($stack, $ops, $file, $log);
#
# The sampler looks at the sets of the queue all the time, in a process of its
# own, and reads what the jobs say that run.  log is what is expected in the logs, a list of patterns.

use strict;
use warnings;

use HTTP::Tiny;
use JSON::XS ();
use POSIX ();
use Time::HiRes qw(sleep clock_gettime CLOCK_MONOTONIC);

use Trifecta::Test::Events;

my $json = JSON::XS->new->utf8;

# What the open jobs of a shard have said by now: {id, entries}...

my $SAID = <<'END';
local out = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1] .. ':live', 0, -1)) do
    if redis.call('HEXISTS', KEYS[1] .. ':j:' .. id, 'ev') == 1 then
        out[#out + 1] = { id, redis.call('XRANGE', KEYS[1] .. ':ev:' .. id,
                                         '-', '+') }
    end
end
return out
END


# A line for each job that runs and says something.

sub _listen {
    my ($t, $fh) = @_;

    for my $shard (0 .. $t->shards - 1) {
        my $said = $t->shard_client($shard)->cmd('EVAL', $SAID, 1,
                                                 $t->prefix($shard));

        print $fh $json->encode([$_->[0], [events_of($_->[1])]]), "\n"
            for @$said;
    }
}


sub sampler {
    my ($stack, $file, %bound) = @_;
    my $t = $stack->{t};
    my $parent = $$;
    my $pid = fork // die "fork: $!\n";

    return sub { kill 'KILL', $pid; waitpid $pid, 0 } if $pid;

    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    delete $t->{redis_client};
    open my $fh, '>>', $file or POSIX::_exit(1);
    open my $said, '>>', "$file.said" or POSIX::_exit(1);
    $_->autoflush(1) for $fh, $said;

    while (getppid == $parent) {
        my @wrong = eval { $t->unsound(%bound) };
        delete $t->{redis_client} if $@;
        print $fh "$_\n" for @wrong;
        eval { _listen($t, $said) };
        sleep 0.2;
    }

    POSIX::_exit(0);
}


# Waits until nothing is left to do; what is left after that time.

sub until_idle {
    my ($stack, $seconds) = @_;
    my $t = $stack->{t};
    my @left;

    $t->wait_for(sub {
        $stack->rest(0);
        @left = ('the stores do not answer');
        @left = $t->left;
        !@left;
    }, $seconds);

    return @left > 20 ? (@left[0 .. 19], 'and more') : @left;
}


# One GET each, at the end, as the owner.

sub _final {
    my ($stack, $ops) = @_;
    my $http = HTTP::Tiny->new(keep_alive => 1, timeout => 10);
    my (%user, %final);

    for my $op (@$ops) {
        my $id = $op->{id} // $op->{target} // next;
        $user{$id} //= $op->{user};
    }

    for my $id (sort keys %user) {
        my $end = clock_gettime(CLOCK_MONOTONIC) + 20;
        my $res;

        while (1) {
            $res = $http->get(
                "http://127.0.0.1:$stack->{http}/api/v1/query/$id",
                { headers => { Authorization =>
                    "Bearer $stack->{users}[$user{$id}]{token}" } });
            last if $res->{status} < 500
                || clock_gettime(CLOCK_MONOTONIC) > $end;
            sleep 0.2;
        }

        my $data = eval { $json->decode($res->{content}) };
        $data = {} unless ref $data eq 'HASH';
        $final{$id} = { status => $res->{status},
            $res->{status} == 200 ? (state => $data->{status},
                response => $data->{response}) : (),
            ref $data->{error} eq 'HASH' ? (code => $data->{error}{code})
                                         : () };
    }

    return \%final;
}


sub _trace {
    my ($stack) = @_;
    my @trace;

    open my $fh, '<', $stack->{trace} or return \@trace;

    while (<$fh>) {
        my ($ms, $pid, $attempt, $canary) = /^(\d+) (\d+) (\d+) (\S*)$/
            or next;
        push @trace, { t => $ms / 1000, pid => $pid, attempt => $attempt,
                       canary => $canary };
    }

    return \@trace;
}


sub _hash {
    my ($redis, $id) = @_;
    my $shard = hex substr $id, 15, 2;
    my @names = qw(state attempt crashes lost fails);
    my %h;

    @h{@names} = @{ $redis->[$shard]->cmd('HMGET',
        "{trifecta:$shard}:j:$id", @names) };
    return \%h;
}


my @BAD = (qr/\[(?:alert|emerg)\]/, qr/Assertion .* failed/,
           qr/runtime error:|AddressSanitizer|LeakSanitizer/,
           qr/UndefinedBehaviorSanitizer|PANIC:/);

sub _log {
    my ($stack, $expected) = @_;
    my $text = $stack->new_log;
    my @bad;

    for my $name (sort keys %$text) {
        for my $line (split /\n/, $text->{$name}) {
            next unless grep { $line =~ $_ } @BAD;
            push @bad, "$name: $line"
                unless grep { $line =~ $_ } @$expected;
        }
    }

    return @bad > 20 ? @bad[0 .. 19] : @bad;
}


# What was read of each job while it ran, in Redis or by a client that followed
# it, the same list once, and what is stored of it.

sub _said {
    my ($stack, $file, $ops) = @_;
    my (%said, %once);

    open my $fh, '<', "$file.said" or return {};

    while (my $line = <$fh>) {
        # the last one may not be whole
        my $one = eval { $json->decode($line) } or next;
        push @{ $said{$one->[0]}{live} }, $one->[1] unless $once{$line}++;
    }

    push @{ $said{$_->{id}}{live} }, $_->{events}
        for grep { $_->{events} && @{ $_->{events} } } @$ops;

    for my $id (keys %said) {
        push @{ $said{$id}{live} }, [live_events($stack->{t}, $id)];
        $said{$id}{stored} = [stored_events($stack->{t}, $id)];
    }

    return \%said;
}


sub seen {
    my ($stack, $ops, $sampled, $log) = @_;
    my $t = $stack->{t};
    my %seen = (ops => $ops, final => _final($stack, $ops),
                trace => _trace($stack), log => [_log($stack, $log)]);

    my $audit = $t->sql('admin', 'SELECT id, old_state, old_attempt, '
        . 'old_lease, new_state, new_attempt, new_lease FROM audit.change '
        . 'ORDER BY seq');

    for (@$audit) {
        my ($id, @v) = @$_;
        push @{ $seen{audit} }, { id => $id,
            old => defined $v[0] ? { state => $v[0], attempt => $v[1],
                                     lease => $v[2] } : undef,
            new => { state => $v[3], attempt => $v[4], lease => $v[5] } };
    }

    my @ids = keys %{ { map { $_ => 1 } keys %{ $seen{final} },
                        map { $_->[0] } @$audit } };

    for (@{ $t->sql('admin', 'SELECT id, tenant, owner, state, attempt, '
        . "request->>'query', deleted IS NOT NULL FROM trifecta.job "
        . 'WHERE id = ANY(?)', \@ids) })
    {
        my ($id, @v) = @$_;
        my %row;
        @row{qw(tenant owner state attempt query deleted)} = @v;
        $seen{rows}{$id} = \%row;
    }

    $seen{results} = [map { { job => $_->[0], attempt => $_->[1],
                              body => $_->[2] } }
        @{ $t->sql('admin', 'SELECT job, attempt, body FROM '
        . 'trifecta.job_result WHERE job = ANY(?)', \@ids) }];
    my $redis = [map { $t->shard_client($_) } 0 .. $t->shards - 1];
    $seen{hashes} = { map { $_ => _hash($redis, $_) } @ids };
    $seen{said} = _said($stack, $sampled, $ops);
    $seen{sampled} = [split /\n/, $t->read_file($sampled)];

    return \%seen;
}

1;
