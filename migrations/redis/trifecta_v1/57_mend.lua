--[[
What strangers did to the keys of the queue: a key has another type, a stream
has an entry behind which there can be no other, or a group was set beyond
what it has handed out.  Nothing of that heals by itself, and each stops the
shard or a part of it.
--]]

local KINDS = { live = 'zset', dly = 'zset', wk = 'zset', meta = 'hash',
                acc = 'stream', dead = 'stream', ['r:0'] = 'stream',
                ['r:1'] = 'stream', ['r:2'] = 'stream' }

local GROUPS = { acc = 'l', ['r:0'] = 'w', ['r:1'] = 'w', ['r:2'] = 'w' }


-- Whether an id of a stream is later than another one.  They have up to 20
-- digits, more than a number can hold.

local function later(one, other)
    local a, b = { one:match('(%d+)-(%d+)') }, { other:match('(%d+)-(%d+)') }

    for i = 1, 2 do
        local x, y = a[i] or '0', b[i] or '0'

        if x ~= y then
            return #x > #y or #x == #y and x > y
        end
    end

    return false
end


-- A time with more digits than any has for 30,000 years: such an entry leaves
-- no room for others behind it.

local function too_late(id)
    return #id:match('^%d+') > 15
end


-- Those entries go, and the stream goes on from now.

local function mend_stream(P, name, now)
    local stream, n = P .. ':' .. name, 0
    local info = redis.pcall('XINFO', 'STREAM', stream)

    if info.err or not too_late(options(info)['last-generated-id']) then
        return nil
    end

    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]

    while last and too_late(last[1]) do
        if GROUPS[name] then
            redis.pcall('XACK', stream, GROUPS[name], last[1])
        end

        n = n + redis.call('XDEL', stream, last[1])
        last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    end

    local id = now .. '-0'

    redis.call('XSETID', stream, last and later(last[1], id) and last[1] or id)

    return n
end


--[[
A group that has handed out more than there ever was is set back to the last
entry; what it has skipped of the jobs, the reconciler finds.  The accept log
is handed out again from its begin if its first entry is with nobody: every
entry of it may come twice.
--]]

local function mend_group(P, name)
    local stream, group = P .. ':' .. name, GROUPS[name]
    local info = redis.pcall('XINFO', 'STREAM', stream)
    local groups = redis.pcall('XINFO', 'GROUPS', stream)

    if info.err or groups.err then
        return nil
    end

    local last = options(info)['last-generated-id']

    for _, g in ipairs(groups) do
        g = options(g)

        local at = g['last-delivered-id']

        if g.name == group and name == 'acc' then
            local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]

            if first and not later(first[1], at)
               and #redis.call('XPENDING', stream, group, first[1],
                               first[1], 1) == 0
            then
                redis.call('XGROUP', 'SETID', stream, group, '0')
                return at
            end
        end

        if g.name == group and later(at, last) then
            redis.call('XGROUP', 'SETID', stream, group, last)
            return at
        end
    end
end


-- The last entry of a stream that its group has handed out; asked for once a
-- call.

local function handed_out(stream, seen, name)
    if not seen[stream] then
        local groups = redis.pcall('XINFO', 'GROUPS', stream)

        seen[stream] = '0-0'

        for _, group in ipairs(groups.err and {} or groups) do
            group = options(group)

            if group.name == (name or 'w') then
                seen[stream] = group['last-delivered-id']
            end
        end
    end

    return seen[stream]
end


-- Entries that the group has skipped, or whose claim was taken away from it:
-- those who wait there get another one.  Of those that run, or are with
-- somebody, there are few.

local function mend_skipped(P, prio)
    local stream, n, with = P .. ':r:' .. prio, 0, {}
    local some = redis.pcall('XRANGE', stream, '-', handed_out(stream, {}),
                             'COUNT', SKIPPED_MAX)

    if some.err or #some == 0 then
        return 0
    end

    for _, entry in ipairs(redis.call('XPENDING', stream, 'w', some[1][1],
                                      some[#some][1], SKIPPED_MAX))
    do
        with[entry[1]] = true
    end

    for _, entry in ipairs(some) do
        local sid, id = entry[1], entry[2][2]
        local job = not with[sid] and named(id)
                    and job_get(P, id, 'sub', unpack(SOUND))

        if not with[sid] then
            redis.call('XDEL', stream, sid)
        end

        if job and job.sub == 'ready' and job.sid == sid and sound(job, prio)
        then
            own('ZREM', P .. ':t:' .. job.tenant .. ':ready', id)
            enqueue(P, id, job.tenant, prio, job.acc)
            n = n + 1
        end
    end

    return n
end


--[[
mend P -> {what name ...}...
   aside name type key     it had that type, and is called so for a week
   stream name n           it was full: so many entries were dropped
   group name id           its group had been set to that entry
   skipped name n          so many jobs were in it that nobody would have got
  Called every second, it also says what others have moved aside.
--]]

local function mend(keys, args)
    local P, out, now = keys[1], {}, now_ms()

    for name, kind in pairs(KINDS) do
        local has = redis.call('TYPE', P .. ':' .. name).ok

        if has ~= kind and has ~= 'none' then
            aside(P .. ':' .. name)
        end
    end

    local moved = redis.pcall('LRANGE', P .. ':aside', 0, -1)

    if moved.err or #moved > 0 then
        redis.call('DEL', P .. ':aside')
    end

    for _, text in ipairs(moved.err and {} or moved) do
        out[#out + 1] = { 'aside', text:match('^(.*) (%S+) (%S.*)$') }
    end

    if redis.call('HEXISTS', P .. ':meta', 'epoch') == 1 then
        groups_again(P)
    end

    for name in pairs(GROUPS) do
        local n = mend_stream(P, name, now)

        if n then
            out[#out + 1] = { 'stream', name, n }
        end

        local at = mend_group(P, name)

        if at then
            out[#out + 1] = { 'group', name, at }
        end
    end

    for prio = 0, PRIORITIES - 1 do
        local n = mend_skipped(P, prio)

        if n > 0 then
            out[#out + 1] = { 'skipped', 'r:' .. prio, n }
        end
    end

    return out
end


register('mend',      mend,      { 'allow-oom' })
