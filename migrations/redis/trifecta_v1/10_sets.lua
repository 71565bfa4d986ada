local function now_ms()
    local t = redis.call('TIME')
    return t[1] * 1000 + math.floor(t[2] / 1000)
end


-- A whole number as the text that Redis takes.  A number that is given to a
-- command is written with 17 digits, which takes longer than many a command.

local function whole(n)
    return string.format('%d', n)
end


local function job_key(P, id)
    return P .. ':j:' .. id
end


-- A key of ours that has another type was written by a stranger.  It is moved
-- aside, and mend says so to a sidecar.

local function aside(key)
    local P = key:match('^{[^}]*}')
    local name, kind = key:sub(#P + 2), redis.call('TYPE', key).ok
    local to = P .. ':aside:' .. now_ms() .. ':' .. name

    redis.call('RENAME', key, to)
    redis.call('PEXPIRE', to, ASIDE_TTL)

    if redis.call('TYPE', P .. ':aside').ok ~= 'list' then
        redis.call('DEL', P .. ':aside')
    end

    redis.call('RPUSH', P .. ':aside', name .. ' ' .. kind .. ' ' .. to)
end


-- A command to a key of ours, which works also when that had to be moved.

local function own(cmd, key, ...)
    local reply = redis.pcall(cmd, key, ...)

    if type(reply) ~= 'table' or not reply.err then
        return reply
    end

    if reply.err:find('WRONGTYPE', 1, true) then
        aside(key)
    end

    return redis.call(cmd, key, ...)
end


local function events_key(P, id)
    return P .. ':ev:' .. id
end


-- Fields of a hash as a table; nil when there is no such hash, or another
-- thing of that name.  "ev" says whether the job has a stream of events.

local function job_get(P, id, ...)
    local names = { 'state', 'ev', ... }
    local values = redis.pcall('HMGET', job_key(P, id), unpack(names))

    if values.err or not values[1] then
        return nil
    end

    local job = {}

    for i, name in ipairs(names) do
        job[name] = values[i] or nil
    end

    return job
end


-- Most of the counters are 0, and this is asked in nearly each call.

local function digits(text)
    return text == '0' or text and #text <= 15 and text:find('^%d+$')
end


-- How many ready jobs its tenant may have at most when a job of this priority
-- joins them.  Work in the background takes half of the places and no more: it
-- may stay there for long, and questions come past it.

local function ready_max(prio)
    return prio == BACKGROUND and READY_MAX / 2 or READY_MAX
end


-- A queued job goes into its stream, or is parked when its tenant has enough
-- there.  The order in the park is priority, then acceptance, so a job that
-- was released comes before those accepted later.  Says what its hash is to
-- have: sub, and sid unless it is parked.  T is P:t:<tenant>.

local function place(P, id, T, prio, acc)
    if own('ZCARD', T .. ':ready') >= ready_max(prio) then
        own('ZADD', T .. ':park', whole(prio * 2^42 + acc), id)
        return 'parked'
    end

    local sid = redis.call('XADD', P .. ':r:' .. prio, '*', 'id', id)

    own('ZADD', T .. ':ready', acc, id)

    return 'ready', sid
end


local function enqueue(P, id, tenant, prio, acc)
    local sub, sid = place(P, id, P .. ':t:' .. tenant, prio, acc)

    if sid then
        redis.call('HSET', job_key(P, id), 'state', 'queued', 'sub', sub,
                   'sid', sid)
    else
        redis.call('HSET', job_key(P, id), 'state', 'queued', 'sub', sub)
        redis.call('HDEL', job_key(P, id), 'sid')
    end
end


--[[
The parked jobs of a tenant for which there is a place now, as many at once as
there are places.  They change sets before they get their entries: if something
stops that, the reconciler finds each of them where its hash does not say.
Says how many they were.
--]]

local function promote(P, tenant)
    local T, n = P .. ':t:' .. tenant, 0

    if own('ZCARD', T .. ':park') == 0 then
        return n
    end

    local ready = own('ZCARD', T .. ':ready')

    while ready < READY_MAX do
        local parked = own('ZRANGE', T .. ':park', '0', READY_MAX - ready - 1,
                           'WITHSCORES')
        local seen, jobs, scored = {}, {}, {}

        for i = 1, #parked, 2 do
            local id = parked[i]

            -- those behind it are of its priority or a lower one

            if ready >= ready_max(math.floor(parked[i + 1] / 2^42)) then
                break
            end

            local job = job_get(P, id, 'prio', 'acc', 'sub')

            seen[#seen + 1] = id

            if job and job.state == 'queued' and job.sub == 'parked'
               and PRIORITY[job.prio] and digits(job.acc)
            then
                ready = ready + 1
                job.id = id
                jobs[#jobs + 1] = job
                scored[#scored + 1] = job.acc
                scored[#scored + 1] = id
            end
        end

        if #seen == 0 then
            break
        end

        n = n + #jobs
        own('ZREM', T .. ':park', unpack(seen))

        if #jobs > 0 then
            own('ZADD', T .. ':ready', unpack(scored))
        end

        for _, job in ipairs(jobs) do
            local sid = redis.call('XADD', P .. ':r:' .. job.prio, '*',
                                   'id', job.id)

            redis.call('HSET', job_key(P, job.id), 'sub', 'ready', 'sid', sid)
        end
    end

    return n
end


-- Not before its time: pump puts it into the stream then.

local function put_off(P, id, due)
    due = whole(due)
    own('ZADD', P .. ':dly', due, id)
    redis.call('HSET', job_key(P, id), 'state', 'queued', 'sub', 'delayed',
               'run_at', due)
    redis.call('HDEL', job_key(P, id), 'worker', 'sid')
end


-- A command for a whole list, as many at a time as Lua's stack can hold.

local function for_all(list, cmd, key, group)
    for i = 1, #list, STACK_SOME do
        local last = math.min(i + STACK_SOME - 1, #list)

        if group then
            redis.call(cmd, key, group, unpack(list, i, last))
        else
            redis.call(cmd, key, unpack(list, i, last))
        end
    end
end


-- Entries leave a stream, of jobs unless a group is named.  One of them may be
-- none, from a hash that was damaged, or the stream may be something else by
-- now: that is mended elsewhere, and what is done here must not fail each time.

local function entries_go(stream, sids, group)
    group = group or 'w'

    local reply = redis.pcall('XACK', stream, group, unpack(sids))

    if type(reply) ~= 'table' then
        redis.call('XDEL', stream, unpack(sids))
        return
    end

    for _, sid in ipairs(sids) do
        redis.pcall('XACK', stream, group, sid)
        redis.pcall('XDEL', stream, sid)
    end
end


-- The way out of ready and run: the stream entry goes, and the place is given
-- to the tenant's next parked job.

local function leave(P, id, tenant, prio, sid, sub)
    if sid then
        entries_go(P .. ':r:' .. prio, { sid })
    end

    own('ZREM', P .. ':t:' .. tenant .. ':' .. sub, id)
    promote(P, tenant)
end


-- A bag: lists of what goes into several keys, or out of them, by key.

local function put(bag, key, item)
    local list = bag[key]

    if not list then
        list = {}
        bag[key] = list
        bag[#bag + 1] = key
    end

    list[#list + 1] = item
end


-- Who waits for a job hears its doorbell, with the state that it is in now;
-- what became of it, they read.

local function ring(P, id, state)
    redis.call('SPUBLISH', P .. ':c:' .. id, state)
end


-- The end of an open job, as far as Redis is concerned; it has left the sets.
-- What it has said on its way stays a little: its readers may be behind.  With
-- "keep" its request stays until the ledger has written that end: there may be
-- no row of it yet.

local function end_hash(P, id, job, state, keep)
    local key = job_key(P, id)

    redis.call('HSET', key, 'state', state)

    if keep then
        redis.call('HDEL', key, 'worker', 'sid', 'sub')
    else
        redis.call('HDEL', key, 'worker', 'sid', 'sub', 'payload')
    end

    if job.ev then
        redis.call('EXPIRE', events_key(P, id), EVENTS_TTL)
    end

    ring(P, id, state)
end


local function ended(P, id, job, state, keep)
    own('ZREM', P .. ':live', id)
    own('ZREM', P .. ':t:' .. (job.tenant or '') .. ':live', id)
    end_hash(P, id, job, state, keep)
end


--[[
Whether a job (of the stream of prio) has what every later step takes for
granted.  One that has not was not written by submit, or was damaged since: a
function that stumbles over it would do so each time, and the other jobs of
the same call with it.
--]]

local SOUND = { 'sid', 'tenant', 'owner', 'prio', 'acc', 'dl', 'lease',
                'attempt', 'fails', 'crashes', 'lost' }

local function sound(job, prio)
    local p = PRIORITY[job.prio or '']

    return p and p == (prio or p) and job.tenant and job.owner
           and digits(job.acc) and digits(job.dl) and digits(job.lease)
           and digits(job.attempt) and digits(job.fails)
           and digits(job.crashes) and digits(job.lost)
end


-- It ends as failed; the ledger closes its row, if it has one.

local function damaged(P, id, job, prio, sid)
    local tenant = job.tenant or ''

    leave(P, id, tenant, prio, sid, 'ready')
    own('ZREM', P .. ':t:' .. tenant .. ':run', id)
    ended(P, id, job, 'failed')
    redis.call('XADD', P .. ':acc', '*', 'op', 'damaged', 'id', id)
end


-- Fields, or names, and their values as a table; o may be one that is made.

local function options(args, o)
    o = o or {}

    for i = 1, #args, 2 do
        o[args[i]] = args[i + 1]
    end

    return o
end
