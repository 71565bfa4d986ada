local function now_ms()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
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


-- How many ready jobs its tenant may have at most when a job of this priority
-- joins them.  Work in the background takes half of the places and no more: it
-- may stay there for long, and questions come past it.

local function ready_max(prio)
    return prio == BACKGROUND and READY_MAX / 2 or READY_MAX
end


-- Puts a queued job into its stream, or parks it when its tenant has enough
-- there.  The order in the park is priority, then acceptance, so a job that
-- was released comes before those accepted later.

local function enqueue(P, id, tenant, prio, acc)
    local T = P .. ':t:' .. tenant

    if own('ZCARD', T .. ':ready') >= ready_max(prio) then
        own('ZADD', T .. ':park', prio * 2^42 + acc, id)
        redis.call('HSET', job_key(P, id), 'state', 'queued', 'sub', 'parked')
        redis.call('HDEL', job_key(P, id), 'sid')
        return
    end

    local sid = redis.call('XADD', P .. ':r:' .. prio, '*', 'id', id)

    own('ZADD', T .. ':ready', acc, id)
    redis.call('HSET', job_key(P, id), 'state', 'queued', 'sub', 'ready',
               'sid', sid)
end


local function promote(P, tenant)
    local T = P .. ':t:' .. tenant

    while true do
        local ready = own('ZCARD', T .. ':ready')

        if ready >= READY_MAX then
            return
        end

        local id, score = unpack(own('ZRANGE', T .. ':park', 0, 0,
                                     'WITHSCORES'))

        -- those behind it are of its priority or a lower one

        if not id or ready >= ready_max(math.floor(score / 2^42)) then
            return
        end

        own('ZREM', T .. ':park', id)

        local job = job_get(P, id, 'prio', 'acc', 'sub')

        if job and job.state == 'queued' and job.sub == 'parked' then
            enqueue(P, id, tenant, tonumber(job.prio), tonumber(job.acc))
        end
    end
end


-- Not before its time: pump puts it into the stream then.

local function put_off(P, id, due)
    own('ZADD', P .. ':dly', due, id)
    redis.call('HSET', job_key(P, id), 'state', 'queued', 'sub', 'delayed',
               'run_at', due)
    redis.call('HDEL', job_key(P, id), 'worker', 'sid')
end


-- The only way out of ready and run: the stream entry goes, and the place
-- is given to the tenant's next parked job.

local function leave(P, id, tenant, prio, sid, sub)
    local T = P .. ':t:' .. tenant

    if sid then
        local stream = P .. ':r:' .. prio
        redis.call('XACK', stream, 'w', sid)
        redis.call('XDEL', stream, sid)
    end

    own('ZREM', T .. ':' .. sub, id)
    promote(P, tenant)
end


-- Who waits for a job hears its doorbell, with the state that it is in now;
-- what became of it, they read.

local function ring(P, id, state)
    redis.call('SPUBLISH', P .. ':c:' .. id, state)
end


-- The end of an open job, as far as Redis is concerned.  What it has said on
-- its way stays a little: its readers may be behind.  With "keep" its request
-- stays until the ledger has written that end: there may be no row of it yet.

local function ended(P, id, job, state, keep)
    own('ZREM', P .. ':live', id)
    own('ZREM', P .. ':t:' .. (job.tenant or '') .. ':live', id)
    redis.call('HSET', job_key(P, id), 'state', state)
    redis.call('HDEL', job_key(P, id), 'worker', 'sid', 'sub')

    if not keep then
        redis.call('HDEL', job_key(P, id), 'payload')
    end

    if job.ev then
        redis.call('EXPIRE', events_key(P, id), EVENTS_TTL)
    end

    ring(P, id, state)
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
    for i = 4, #SOUND do
        local n = job[SOUND[i]]

        if not n or #n > 15 or not n:match('^%d+$') then
            return false
        end
    end

    local p = tonumber(job.prio)

    return job.tenant and job.owner and p < PRIORITIES and p == (prio or p)
end


-- It ends as failed; the ledger closes its row, if it has one.

local function damaged(P, id, job, prio, sid)
    local tenant = job.tenant or ''

    leave(P, id, tenant, prio, sid, 'ready')
    own('ZREM', P .. ':t:' .. tenant .. ':run', id)
    ended(P, id, job, 'failed')
    redis.call('XADD', P .. ':acc', '*', 'op', 'damaged', 'id', id)
end


-- Fields, or names, and their values as a table.

local function options(args)
    local o = {}

    for i = 1, #args, 2 do
        o[args[i]] = args[i + 1]
    end

    return o
end
