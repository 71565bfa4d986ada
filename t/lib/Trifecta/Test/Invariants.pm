package Trifecta::Test::Invariants;

# What is true of the queue at any moment, and when it is idle.  Methods of
# Trifecta::Test:
#
#   $t->invariants_hold($name, %bounds)   at any moment, under load too:
#       no more open jobs than bounded (max => n, tmax => n), at most 16 of a
#       tenant ready; every open job in exactly one of the sets ready, run,
#       park, delayed, in the one that its hash says, and in both live sets;
#       nothing else in any of them
#   $t->idle_holds($name, seconds => 10)  within that time the streams, the
#       accept log, pending lists and sets are empty, every job's hash has a
#       TTL and no payload, what jobs said on their way has a TTL, no row is open, and each result belongs to the
#       attempt that its job ended with
#
# Each is one assertion, whose diagnostics list what is wrong.  unsound(%bounds)
# and not_idle(seconds) return these lists instead; left() is what is not idle
# now.

use strict;
use warnings;

use Test::More ();


# All of it in one look, so that nothing moves meanwhile.

my $LOOK = <<'END';
local P = KEYS[1]
local wrong, where = {}, {}
local function bad(...) wrong[#wrong + 1] = table.concat({...}, ' ') end
local function members(key) return redis.call('ZRANGE', key, 0, -1) end
local live = {}
for _, id in ipairs(members(P .. ':live')) do live[id] = true end
local nlive = redis.call('ZCARD', P .. ':live')
if tonumber(ARGV[1]) > 0 and nlive > tonumber(ARGV[1]) then
    bad('live', nlive)
end
for _, key in ipairs(redis.call('KEYS', P .. ':t:*')) do
    local tenant, set = key:match('^%b{}:t:(.*):(%a+)$')
    local n = redis.call('ZCARD', key)
    if set == 'ready' and n > 16 then bad(tenant, 'has', n, 'ready') end
    if set == 'live' and tonumber(ARGV[2]) > 0 and n > tonumber(ARGV[2]) then
        bad(tenant, 'has', n, 'live')
    end
    for _, id in ipairs(members(key)) do
        if redis.call('HGET', P .. ':j:' .. id, 'tenant') ~= tenant then
            bad(id, 'is not of', tenant)
        end
        if not live[id] then bad(id, 'is in', set, 'but not live') end
        if set ~= 'live' then
            if where[id] then bad(id, 'is in', set, 'and', where[id]) end
            where[id] = set == 'park' and 'parked' or set
        end
    end
end
for _, id in ipairs(members(P .. ':dly')) do
    if where[id] then bad(id, 'is delayed and', where[id]) end
    if not live[id] then bad(id, 'is delayed but not live') end
    where[id] = 'delayed'
end
for id in pairs(live) do
    local h = redis.call('HMGET', P .. ':j:' .. id, 'state', 'sub', 'tenant')
    if not h[1] then
        bad(id, 'is live and has no hash')
    else
        if h[1] ~= 'queued' and h[1] ~= 'running' then
            bad(id, 'is live and', h[1])
        end
        if h[2] ~= where[id] then
            bad(id, 'says', tostring(h[2]), 'is', tostring(where[id]))
        end
        if (h[1] == 'running') ~= (where[id] == 'run') then
            bad(id, 'is', h[1], 'in', tostring(where[id]))
        end
        if not redis.call('ZSCORE', P .. ':t:' .. h[3] .. ':live', id) then
            bad(id, 'is not in the live set of its tenant')
        end
    end
end
return wrong
END

# What an idle queue has none of; ended jobs may be many.

my $LEFT = <<'END';
local left = {}
local function bad(...) left[#left + 1] = table.concat({...}, ' ') end
for _, key in ipairs(redis.call('KEYS', KEYS[1] .. ':*')) do
    local name = key:sub(#KEYS[1] + 2)
    if name:match('^r:%d$') or name == 'acc' then
        local n = redis.call('XLEN', key)
        local p = redis.call('XPENDING', key, name == 'acc' and 'l' or 'w')
        if n > 0 or p[1] > 0 then
            bad(key, 'has', n, 'entries,', p[1], 'pending')
        end
    elseif name:match('^j:') then
        if redis.call('TTL', key) < 0 then bad(key, 'has no TTL') end
        if redis.call('HEXISTS', key, 'payload') == 1 then
            bad(key, 'has its payload')
        end
    elseif name:match('^ev:') then
        if redis.call('TTL', key) < 0 then bad(key, 'has no TTL') end
    elseif name ~= 'wk' and redis.call('TYPE', key).ok == 'zset' then
        bad(key, 'has members')
    end
end
return left
END

sub unsound {
    my ($self, %bound) = @_;
    return map { @{ $self->shard_client($_)->cmd('EVAL', $LOOK, 1,
                        $self->prefix($_), $bound{max} // 0,
                        $bound{tmax} // 0) } } 0 .. $self->shards - 1;
}


sub invariants_hold {
    my ($self, $name, %bound) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $wrong = [$self->unsound(%bound)];
    my $ok = Test::More::ok(!@$wrong, $name // 'the invariants hold');
    Test::More::diag($_) for @$wrong > 20 ? @$wrong[0 .. 19] : @$wrong;
    return $ok;
}


sub left {
    my ($self) = @_;
    my @left = sort map { @{ $self->shard_client($_)->cmd('EVAL', $LEFT, 1,
        $self->prefix($_)) } } 0 .. $self->shards - 1;

    push @left, "open row $_->[0] ($_->[1])" for @{ $self->sql('admin',
        "SELECT id, state FROM trifecta.job WHERE state IN "
        . "('queued', 'running') LIMIT 5") };
    push @left, "result of attempt $_->[2], job $_->[0] ended at $_->[1]"
        for @{ $self->sql('admin', 'SELECT j.id, j.attempt, r.attempt FROM '
            . 'trifecta.job_result r JOIN trifecta.job j ON j.id = r.job '
            . "WHERE r.attempt <> j.attempt OR j.state <> 'succeeded' "
            . 'LIMIT 5') };

    return @left;
}


sub not_idle {
    my ($self, $seconds) = @_;
    my @left;

    $self->wait_for(sub {
        @left = ('the stores cannot be looked at');
        @left = $self->left;
        return !@left;
    }, $seconds // 10);

    return @left;
}


sub idle_holds {
    my ($self, $name, %opt) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @left = $self->not_idle($opt{seconds});

    my $ok = Test::More::ok(!@left, $name // 'idle: nothing is left');
    Test::More::diag($_) for @left > 20 ? @left[0 .. 19] : @left;
    return $ok;
}

1;
