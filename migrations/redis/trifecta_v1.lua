#!lua name=trifecta_v1

--[[
The queue's protocol: one function a step of a job's life.

Every function takes one key, the prefix P = "{trifecta:<shard>}" of a shard,
and derives the others from it (include/trifecta/keys.h lists them).  All of
P's keys lie in one slot.  Times are this server's TIME in ms.  Every answer
is an array (or a list of arrays) whose first element is a word.

A job's hash P:j:<id>:
  state      queued, running, succeeded, failed, cancelled, dead
  sub        ready, parked, delayed or run: in which of the sets it is
  tenant owner groups scopes kind model prio request_id fp idem retry_of
             as submitted
  trace      the traceparent of the submit (W3C Trace Context)
  payload    the request; dropped when the job ends
  acc dl     accepted, hard deadline (ms)
  run_at     not before (ms), while it is delayed
  lease      how often it was claimed; whoever holds the number holds it
  worker sid the holder and the stream entry of the current claim
  attempt    the attempt that PostgreSQL gave to that lease (0: not yet)
  started    ms of the first claim
  fails      how often it was put off by retry
  crashes lost   see reclaim
  cancel     its owner wants it to stop
  deleted    its owner wants it gone; polls answer so

All functions but submit are registered with allow-oom: a Redis that is full
must still be able to finish what it holds.
--]]

local SCHEMA      = 1         -- TF_REDIS_SCHEMA of version.h
local READY_MAX   = 16        -- TF_READY_MAX of job.h
local CRASHES_MAX = 3         -- TF_CRASHES_MAX
local LOST_MAX    = 10        -- TF_LOST_MAX
local ENDED_TTL   = 3600      -- TF_ENDED_TTL, s
local OUTAGE      = 10000     -- ms without any reclaim: everybody was away
local WORKER_GONE = 600000    -- ms after which a silent worker is forgotten
local PRIORITIES  = 3
local IDEM_TTL    = 86400000  -- ms, an Idempotency-Key
local LEDGER_MAX  = 100000    -- entries of P:acc, then nothing is accepted
local DEAD_MAX    = 1000      -- entries of P:dead
local DROPS_MAX   = 500       -- entries that one claim drops

local TERMINAL = { succeeded = true, failed = true, cancelled = true,
                   dead = true }


local function now_ms()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end


local function job_key(P, id)
    return P .. ':j:' .. id
end


-- Fields of a hash as a table; nil when there is no such hash, or another
-- thing of that name.

local function job_get(P, id, ...)
    local names = { 'state', ... }
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


-- Puts a queued job into its stream, or parks it when its tenant has enough
-- there.  The order in the park is priority, then acceptance, so a job that
-- was released comes before those accepted later.

local function enqueue(P, id, tenant, prio, acc)
    local T = P .. ':t:' .. tenant

    if redis.call('ZCARD', T .. ':ready') >= READY_MAX then
        redis.call('ZADD', T .. ':park', prio * 2^42 + acc, id)
        redis.call('HSET', job_key(P, id), 'state', 'queued', 'sub', 'parked')
        redis.call('HDEL', job_key(P, id), 'sid')
        return
    end

    local sid = redis.call('XADD', P .. ':r:' .. prio, '*', 'id', id)

    redis.call('ZADD', T .. ':ready', acc, id)
    redis.call('HSET', job_key(P, id), 'state', 'queued', 'sub', 'ready',
               'sid', sid)
end


local function promote(P, tenant)
    local T = P .. ':t:' .. tenant

    while redis.call('ZCARD', T .. ':ready') < READY_MAX do
        local id = redis.call('ZPOPMIN', T .. ':park')[1]

        if not id then
            return
        end

        local job = job_get(P, id, 'prio', 'acc', 'sub')

        if job and job.state == 'queued' and job.sub == 'parked' then
            enqueue(P, id, tenant, tonumber(job.prio), tonumber(job.acc))
        end
    end
end


-- Not before its time: pump puts it into the stream then.

local function put_off(P, id, due)
    redis.call('ZADD', P .. ':dly', due, id)
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

    redis.call('ZREM', T .. ':' .. sub, id)
    promote(P, tenant)
end


-- Who waits for a job hears its doorbell, with the state that it is in now;
-- what became of it, they read.

local function ring(P, id, state)
    redis.call('SPUBLISH', P .. ':c:' .. id, state)
end


-- The end of an open job, as far as Redis is concerned.

local function ended(P, id, tenant, state)
    redis.call('ZREM', P .. ':live', id)
    redis.call('ZREM', P .. ':t:' .. tenant .. ':live', id)
    redis.call('HSET', job_key(P, id), 'state', state)
    redis.call('HDEL', job_key(P, id), 'payload', 'worker', 'sid', 'sub')
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
    redis.call('ZREM', P .. ':t:' .. tenant .. ':run', id)
    ended(P, id, tenant, 'failed')
    redis.call('XADD', P .. ':acc', '*', 'op', 'damaged', 'id', id)
end


--[[
The generic cell rate algorithm (ITU-T I.371, as used by most rate limiters):
a key holds the theoretical arrival time of the next request.  A policy
allows "quota" requests a window, all of them at once if nothing was used.
All policies are checked before any is charged.
--]]

local function limits_check(P, o, now)
    local limits = {}

    for i = 1, tonumber(o.nlim or 0) do
        local l = { name = o['lim' .. i], quota = tonumber(o['lim' .. i .. 'q']),
                    window = tonumber(o['lim' .. i .. 'w']) }

        l.key = P .. ':lim:' .. l.name .. ':' .. o['lim' .. i .. 'k']
        l.step = l.window / l.quota

        local tat = tonumber(redis.call('GET', l.key) or 0)

        -- a clock that went back, or a policy that has other numbers now,
        -- must not lock anybody out
        if tat > now + l.window then
            tat = now + l.window
            redis.call('SET', l.key, tat, 'PX', math.ceil(l.window))
        end

        l.tat = math.max(tat, now)
        l.wait = math.ceil(l.tat + l.step - l.window - now)
        limits[i] = l
    end

    return limits
end


-- name quota window(ms) remaining reset(ms), for each

local function limits_say(out, limits, now, charged)
    for _, l in ipairs(limits) do
        local tat = charged and l.tat + l.step or l.tat
        local left = math.floor((l.window - (tat - now)) / l.step + 1e-6)

        out[#out + 1] = l.name
        out[#out + 1] = l.quota
        out[#out + 1] = l.window
        out[#out + 1] = math.max(left, 0)
        out[#out + 1] = math.ceil(tat - now)
    end

    return out
end


-- Charges all policies, or none: then the second value is the answer.

local function limits_charge(P, o, now)
    local limits = limits_check(P, o, now)
    local late

    for _, l in ipairs(limits) do
        if l.wait > 0 and (not late or l.wait > late.wait) then
            late = l
        end
    end

    if late then
        return limits, limits_say({ 'LIMITED', late.wait, late.name }, limits,
                                  now)
    end

    for _, l in ipairs(limits) do
        redis.call('SET', l.key, l.tat + l.step, 'PX',
                   math.ceil(l.tat + l.step - now))
    end

    return limits
end


-- Fields and their values as a table.

local function options(args)
    local o = {}

    for i = 1, #args, 2 do
        o[args[i]] = args[i + 1]
    end

    return o
end


--[[
limit P (field value)...
  nlim lim<i> lim<i>k lim<i>q lim<i>w   as in submit
-> OK limits...                          all are charged
   LIMITED wait(ms) policy limits...     none is
--]]

local function limit(keys, args)
    local now = now_ms()
    local limits, limited = limits_charge(keys[1], options(args), now)

    return limited or limits_say({ 'OK' }, limits, now, true)
end


--[[
submit P (field value)...
  id tenant owner groups scopes kind model prio payload request_id fp
  limit  ms until the hard deadline
  max    bound of open jobs of the shard
  tmax   bound of open jobs of the tenant
optional:
  idem   SHA-256 of owner, route and Idempotency-Key, in hex
  delay  ms, not before
  retry_of  id of the job that this one repeats
  trace  traceparent
  nlim lim<i> lim<i>k lim<i>q lim<i>w   rate limits: policy, key, quota,
         window in ms; i from 1 to nlim
-> OK id acc live tlive limits...       accepted
   DUP id acc live tlive                this id was accepted before (a resend)
   REPLAY id                            this idem was, with the same fp
   CONFLICT id                          this idem was, with another fp
   NOTREADY                             no epoch: nothing is accepted
   PAUSED
   QFULL live max | TFULL tlive tmax
   LIMITED wait(ms) policy limits...
   limits: name quota window(ms) remaining reset(ms), for each
--]]

local function submit(keys, args)
    local P = keys[1]
    local o = options(args)

    local meta = redis.call('HMGET', P .. ':meta', 'epoch', 'paused')

    if not meta[1] then
        return { 'NOTREADY' }
    end

    local idem_key = o.idem and P .. ':idem:' .. o.tenant .. ':' .. o.idem

    if idem_key then
        local old = redis.call('GET', idem_key)

        if old then
            local id, fp = old:match('^(%S+) (.*)$')

            if fp ~= o.fp then
                return { 'CONFLICT', id }
            end

            if id ~= o.id then
                return { 'REPLAY', id }
            end
        end
    end

    local live_key = P .. ':live'
    local tlive_key = P .. ':t:' .. o.tenant .. ':live'
    local old = redis.call('HGET', job_key(P, o.id), 'acc')

    if old then
        return { 'DUP', o.id, tonumber(old), redis.call('ZCARD', live_key),
                 redis.call('ZCARD', tlive_key) }
    end

    if meta[2] then
        return { 'PAUSED' }
    end

    local live = redis.call('ZCARD', live_key)

    -- jobs that were cancelled are not open any more, but the ledger still
    -- has to write them down
    if live >= tonumber(o.max)
       or redis.call('XLEN', P .. ':acc') >= LEDGER_MAX
    then
        return { 'QFULL', live, tonumber(o.max) }
    end

    local tlive = redis.call('ZCARD', tlive_key)

    if tlive >= tonumber(o.tmax) then
        return { 'TFULL', tlive, tonumber(o.tmax) }
    end

    local now = now_ms()
    local limits, limited = limits_charge(P, o, now)

    if limited then
        return limited
    end

    local delay = tonumber(o.delay or 0)
    local prio = tonumber(o.prio)

    redis.call('HSET', job_key(P, o.id), 'state', 'queued',
               'tenant', o.tenant, 'owner', o.owner, 'groups', o.groups,
               'scopes', o.scopes, 'kind', o.kind, 'model', o.model,
               'prio', o.prio, 'payload', o.payload,
               'request_id', o.request_id, 'fp', o.fp, 'acc', now,
               'dl', now + delay + tonumber(o.limit), 'lease', 0,
               'attempt', 0, 'fails', 0, 'crashes', 0, 'lost', 0)

    if idem_key then
        redis.call('SET', idem_key, o.id .. ' ' .. o.fp, 'PX', IDEM_TTL)
        redis.call('HSET', job_key(P, o.id), 'idem', o.idem)
    end

    if o.retry_of then
        redis.call('HSET', job_key(P, o.id), 'retry_of', o.retry_of)
    end

    if o.trace then
        redis.call('HSET', job_key(P, o.id), 'trace', o.trace)
    end

    redis.call('ZADD', live_key, now, o.id)
    redis.call('ZADD', tlive_key, now, o.id)

    if delay > 0 then
        put_off(P, o.id, now + delay)
    else
        enqueue(P, o.id, o.tenant, prio, now)
    end

    redis.call('XADD', P .. ':acc', '*', 'op', 'new', 'id', o.id)

    return limits_say({ 'OK', o.id, now, live + 1, tlive + 1 }, limits, now,
                      true)
end


-- The job of this tenant and owner, or nil and why not: args are tenant,
-- owner, id.

local function job_of(P, args, ...)
    local job = job_get(P, args[3], 'tenant', 'owner', 'deleted', ...)

    if job and job.tenant == args[1] and job.owner == args[2] then
        return job
    end

    if redis.call('HEXISTS', P .. ':meta', 'epoch') == 0 then
        return nil, 'NOTREADY'
    end

    return nil, 'ABSENT'
end


--[[
look P tenant owner id     (no-writes)
-> ABSENT                  unknown here, or not this tenant's and owner's
   NOTREADY                unknown here, and this Redis has no epoch
   DELETED                 its owner deleted it
   state attempt acc model position live started cancel(0|1)
--]]

local function look(keys, args)
    local P = keys[1]
    local job, absent = job_of(P, args, 'attempt', 'acc', 'model', 'started',
                               'cancel')

    if not job then
        return { absent }
    end

    if job.deleted then
        return { 'DELETED' }
    end

    return { job.state, tonumber(job.attempt), tonumber(job.acc), job.model,
             redis.call('ZRANK', P .. ':live', args[3]) or 0,
             redis.call('ZCARD', P .. ':live'), tonumber(job.started or 0),
             job.cancel and 1 or 0 }
end


-- What a worker needs to know of a job that was handed to it.

local function hand_over(P, w, id, sid, prio, now, what)
    local lease = redis.call('HINCRBY', job_key(P, id), 'lease', 1)

    redis.call('HSET', job_key(P, id), 'state', 'running', 'sub', 'run',
               'worker', w, 'sid', sid, 'attempt', 0)
    redis.call('HSETNX', job_key(P, id), 'started', now)

    local v = redis.call('HMGET', job_key(P, id), 'tenant', 'owner', 'groups',
                         'scopes', 'kind', 'model', 'payload', 'request_id',
                         'fp', 'acc', 'dl', 'fails', 'trace')

    return { what, id, sid, lease, prio, v[1], v[2], v[3] or '[]',
             v[4] or '[]', v[5] or '', v[6] or '', v[7] or '', v[8] or '',
             v[9] or '', tonumber(v[10]), tonumber(v[11]), now,
             tonumber(v[12]), v[13] or '' }
end


--[[
claim P worker n lowest_first(0|1)
  Hands out at most n ready jobs.  Entries whose job is gone, cancelled or
  no longer theirs are dropped; a job past its deadline, or damaged, is ended
  as failed and left to the ledger.
-> {{last id of r:0, of r:1, of r:2}, job...}
   The last ids are there only when fewer than n came and there is no more:
   what XREAD BLOCK may wait behind without missing anything.
   job = RUN id sid lease prio tenant owner groups scopes kind model payload
         request_id fp acc dl now fails trace
--]]

local function claim(keys, args)
    local P, w, n = keys[1], args[1], tonumber(args[2])
    local now = now_ms()
    local out = { {} }
    local from, to, step = 0, PRIORITIES - 1, 1
    local dropped = 0

    redis.call('ZADD', P .. ':wk', now, w)

    if args[3] == '1' then
        from, to, step = PRIORITIES - 1, 0, -1
    end

    for prio = from, to, step do
        local stream = P .. ':r:' .. prio

        while #out - 1 < n and dropped < DROPS_MAX do
            local got = redis.call('XREADGROUP', 'GROUP', 'w', w, 'COUNT',
                                   n - (#out - 1), 'STREAMS', stream, '>')
            if not got then
                break
            end

            for _, entry in ipairs(got[1][2]) do
                local sid, id = entry[1], entry[2][2]
                local job = id and job_get(P, id, unpack(SOUND))
                dropped = dropped + 1

                if not job or job.state ~= 'queued' or job.sid ~= sid then
                    redis.call('XACK', stream, 'w', sid)
                    redis.call('XDEL', stream, sid)

                elseif not sound(job, prio) then
                    damaged(P, id, job, prio, sid)

                elseif now > tonumber(job.dl) then
                    leave(P, id, job.tenant, prio, sid, 'ready')
                    ended(P, id, job.tenant, 'failed')
                    redis.call('XADD', P .. ':acc', '*', 'op', 'expire',
                               'id', id)

                else
                    local T = P .. ':t:' .. job.tenant

                    dropped = dropped - 1
                    out[#out + 1] = hand_over(P, w, id, sid, prio, now, 'RUN')
                    redis.call('ZADD', T .. ':run', now, id)
                    redis.call('ZREM', T .. ':ready', id)
                    promote(P, job.tenant)
                    ring(P, id, 'running')
                end
            end
        end
    end

    if #out - 1 < n and dropped < DROPS_MAX then
        for prio = 0, PRIORITIES - 1 do
            local info = redis.call('XINFO', 'STREAM', P .. ':r:' .. prio)

            for i = 1, #info, 2 do
                if info[i] == 'last-generated-id' then
                    out[1][prio + 1] = info[i + 1]
                end
            end
        end
    end

    return out
end


-- The job, if the worker holds it under this lease.

local function held(P, w, id, lease)
    local job = job_get(P, id, 'worker', 'cancel', unpack(SOUND))

    if job and job.state == 'running' and job.worker == w
       and job.lease == lease and sound(job)
    then
        return job
    end

    return nil
end


-- started P worker (id lease attempt)... -> OK | FENCED, one for each

local function started(keys, args)
    local P, w = keys[1], args[1]
    local out = {}

    for i = 2, #args, 3 do
        if held(P, w, args[i], args[i + 1]) then
            redis.call('HSET', job_key(P, args[i]), 'attempt', args[i + 2])
            out[#out + 1] = 'OK'
        else
            out[#out + 1] = 'FENCED'
        end
    end

    return out
end


-- heartbeat P worker (id lease)... -> OK | CANCEL | LOST, one for each.
-- XCLAIM JUSTID by the holder itself resets the entry's idle time.

local function heartbeat(keys, args)
    local P, w = keys[1], args[1]
    local out = {}

    redis.call('ZADD', P .. ':wk', now_ms(), w)

    for i = 2, #args, 2 do
        local job = held(P, w, args[i], args[i + 1])

        if not job then
            out[#out + 1] = 'LOST'
        else
            redis.call('XCLAIM', P .. ':r:' .. job.prio, 'w', w, 0, job.sid,
                       'JUSTID')
            out[#out + 1] = job.cancel and 'CANCEL' or 'OK'
        end
    end

    return out
end


-- finish P worker id lease state -> OK | FENCED.  PostgreSQL has it already.

local function finish(keys, args)
    local P, w, id, lease, state = keys[1], unpack(args)
    local job = held(P, w, id, lease)

    if not job or not TERMINAL[state] then
        return { 'FENCED' }
    end

    leave(P, id, job.tenant, job.prio, job.sid, 'run')
    ended(P, id, job.tenant, state)
    redis.call('EXPIRE', job_key(P, id), ENDED_TTL)

    if state == 'dead' then
        redis.call('XADD', P .. ':dead', 'MAXLEN', '~', DEAD_MAX, '*',
                   'id', id, 'tenant', job.tenant)
    end

    return { 'OK' }
end


-- retry P worker id lease delay(ms) -> OK due | FENCED.  Tries again later;
-- the caller has decided that it may, and when.

local function retry(keys, args)
    local P, w, id, lease, delay = keys[1], unpack(args)
    local job = held(P, w, id, lease)

    if not job then
        return { 'FENCED' }
    end

    local due = now_ms() + tonumber(delay)

    leave(P, id, job.tenant, job.prio, job.sid, 'run')
    redis.call('HINCRBY', job_key(P, id), 'fails', 1)
    put_off(P, id, due)
    ring(P, id, 'queued')

    return { 'OK', due }
end


-- pump P n -> how many.  Delayed jobs whose time has come go on to their
-- stream, or are parked.

local function pump(keys, args)
    local P = keys[1]
    local due = redis.call('ZRANGEBYSCORE', P .. ':dly', '-inf', now_ms(),
                           'LIMIT', 0, args[1])

    for _, id in ipairs(due) do
        local job = job_get(P, id, 'sub', 'tenant', 'prio', 'acc')

        redis.call('ZREM', P .. ':dly', id)

        if job and job.state == 'queued' and job.sub == 'delayed' then
            redis.call('HDEL', job_key(P, id), 'run_at')
            enqueue(P, id, job.tenant, tonumber(job.prio),
                    tonumber(job.acc))
        end
    end

    return #due
end


-- Stops an open job: one that waits ends as cancelled, and its entry in the
-- stream is dropped by claim; one that runs is told by heartbeat and by the
-- channel of its worker.

local function stop(P, id, job)
    if job.state == 'running' then
        redis.call('HSET', job_key(P, id), 'cancel', 1)
        redis.call('SPUBLISH', P .. ':w:' .. job.worker,
                   'cancel ' .. id .. ' ' .. job.lease)
        ring(P, id, 'running')
        return 'SIGNALLED'
    end

    if job.sub == 'delayed' then
        redis.call('ZREM', P .. ':dly', id)
    elseif job.sub == 'parked' then
        redis.call('ZREM', P .. ':t:' .. job.tenant .. ':park', id)
    else
        leave(P, id, job.tenant, job.prio, nil, 'ready')
    end

    ended(P, id, job.tenant, 'cancelled')

    return 'CANCELLED'
end


--[[
cancel P tenant owner id
-> CANCELLED               it waited: it has ended
   SIGNALLED               it runs: it will stop
   the terminal state      it had ended before
   ABSENT | NOTREADY | DELETED
--]]

local function cancel(keys, args)
    local P, id = keys[1], args[3]
    local job, absent = job_of(P, args, 'prio', 'sub', 'worker', 'lease')

    if not job then
        return { absent }
    end

    if job.deleted then
        return { 'DELETED' }
    end

    if TERMINAL[job.state] then
        return { job.state }
    end

    local word = stop(P, id, job)

    if word == 'CANCELLED' then
        redis.call('XADD', P .. ':acc', '*', 'op', 'cancel', 'id', id)
    end

    return { word }
end


--[[
delete P tenant owner id
  An open job is stopped.  Request and result are erased here and, by the
  ledger, in PostgreSQL; caches are told.  A job that is not here any more
  gets a tombstone, so that polls answer so at once.
-> DELETED                 it is gone
   GONE                    it was deleted before
   NOTREADY
--]]

local function delete(keys, args)
    local P, id = keys[1], args[3]
    local job, absent = job_of(P, args, 'prio', 'sub', 'worker', 'lease')

    if absent == 'NOTREADY' then
        return { absent }
    end

    if job and job.deleted then
        return { 'GONE' }
    end

    if not job then
        if redis.call('EXISTS', job_key(P, id)) == 1 then
            return { 'GONE' }
        end

        redis.call('HSET', job_key(P, id), 'state', 'cancelled',
                   'tenant', args[1], 'owner', args[2])

    elseif not TERMINAL[job.state] then
        stop(P, id, job)
    end

    redis.call('HSET', job_key(P, id), 'deleted', 1)
    redis.call('PERSIST', job_key(P, id))
    redis.call('XADD', P .. ':acc', '*', 'op', 'delete', 'id', id)
    redis.call('SPUBLISH', P .. ':inv', id)
    ring(P, id, 'deleted')

    return { 'DELETED' }
end


-- release P worker id lease -> OK | FENCED.  Back to the queue; no counter
-- moves.

local function release(keys, args)
    local P, w, id, lease = keys[1], unpack(args)
    local job = held(P, w, id, lease)

    if not job then
        return { 'FENCED' }
    end

    leave(P, id, job.tenant, job.prio, job.sid, 'run')
    redis.call('HDEL', job_key(P, id), 'worker', 'sid')
    enqueue(P, id, job.tenant, tonumber(job.prio), tonumber(job.acc))
    ring(P, id, 'queued')

    return { 'OK' }
end


-- relet P worker id lease row_lease -> OK new_lease | FENCED.  This Redis
-- went back in time: PostgreSQL has seen a higher lease than ours.

local function relet(keys, args)
    local P, w, id, lease, row_lease = keys[1], unpack(args)

    if not held(P, w, id, lease) then
        return { 'FENCED' }
    end

    local new = math.max(tonumber(lease), tonumber(row_lease)) + 1
    redis.call('HSET', job_key(P, id), 'lease', new)

    return { 'OK', new }
end


-- Consumers of workers that are long gone; never one that still has entries
-- pending, for they would go with it.

local function forget_workers(P, now)
    for _, w in ipairs(redis.call('ZRANGEBYSCORE', P .. ':wk', '-inf',
                                  now - WORKER_GONE, 'LIMIT', 0, 16))
    do
        local pending = 0

        for prio = 0, PRIORITIES - 1 do
            pending = pending + #redis.call('XPENDING', P .. ':r:' .. prio,
                                            'w', '-', '+', 1, w)
        end

        if pending == 0 then
            for prio = 0, PRIORITIES - 1 do
                redis.call('XGROUP', 'DELCONSUMER', P .. ':r:' .. prio, 'w',
                           w)
            end

            redis.call('ZREM', P .. ':wk', w)
        end
    end
end


--[[
reclaim P worker n lease_ms
  Takes over at most n jobs whose entry has been idle for a lease.  Idle time
  includes this server's own downtime, so when nobody has reclaimed for a
  while (or the clock went back), everybody was away and gets one lease to
  come back first.  Call it every second, also with n = 0.

  A lease lost while its worker is still seen, or before "started", counts as
  lost, else as a crash.  An entry of the caller itself is taken over too:
  the answer to its claim may have got lost on the way.
-> list of jobs as claim hands them out, the first word being RUN,
   EXPIRED (past its deadline: complete as failed, then finish) or
   DEAD (too many crashes or lost leases: complete as dead, then finish)
--]]

local function reclaim(keys, args)
    local P, w = keys[1], args[1]
    local n, lease_ms = tonumber(args[2]), tonumber(args[3])
    local now = now_ms()
    local meta = redis.call('HMGET', P .. ':meta', 'reclaim', 'hold')
    local last, hold = tonumber(meta[1] or 0), tonumber(meta[2] or 0)

    if now - last > OUTAGE or last > now then
        hold = now + lease_ms
        redis.call('HSET', P .. ':meta', 'hold', hold)
    end

    redis.call('HSET', P .. ':meta', 'reclaim', now)
    forget_workers(P, now)

    local out = {}

    if now < hold then
        return out
    end

    for prio = 0, PRIORITIES - 1 do
        local stream = P .. ':r:' .. prio
        local late = {}

        if #out < n then
            late = redis.call('XPENDING', stream, 'w', 'IDLE', lease_ms, '-',
                              '+', n - #out)
        end

        for _, entry in ipairs(late) do
            local sid, holder = entry[1], entry[2]
            local body = redis.call('XRANGE', stream, sid, sid)[1]
            local id = body and body[2][2]
            local job = id and job_get(P, id, unpack(SOUND))

            if not job or job.state ~= 'running' or job.sid ~= sid then
                redis.call('XACK', stream, 'w', sid)
                redis.call('XDEL', stream, sid)

            elseif not sound(job, prio) then
                damaged(P, id, job, prio, sid)

            else
                local seen = tonumber(redis.call('ZSCORE', P .. ':wk',
                                                 holder) or 0)
                local counter, limit, what = 'crashes', CRASHES_MAX, 'RUN'

                if now - seen < lease_ms or tonumber(job.attempt) == 0 then
                    counter, limit = 'lost', LOST_MAX
                end

                if redis.call('HINCRBY', job_key(P, id), counter, 1) > limit
                then
                    what = 'DEAD'
                end

                if now > tonumber(job.dl) then
                    what = 'EXPIRED'
                end

                redis.call('XCLAIM', stream, 'w', w, 0, sid, 'JUSTID')
                out[#out + 1] = hand_over(P, w, id, sid, prio, now, what)
            end
        end
    end

    return out
end


-- ledgered P (entry id)... -> OK.  The consumer's transaction is committed.

local function ledgered(keys, args)
    local P = keys[1]

    for i = 1, #args, 2 do
        local job = job_get(P, args[i + 1])

        redis.call('XACK', P .. ':acc', 'l', args[i])
        redis.call('XDEL', P .. ':acc', args[i])

        if job and TERMINAL[job.state]
           and redis.call('TTL', job_key(P, args[i + 1])) == -1
        then
            redis.call('EXPIRE', job_key(P, args[i + 1]), ENDED_TTL)
        end
    end

    return { 'OK' }
end


--[[
stats P                    (no-writes)
-> NOTREADY                this Redis has no epoch
   name value ...          one moment of the shard:
     live                  open jobs
     ready running         in the streams, unclaimed and claimed
     parked delayed        waiting for a place there, or for their time
     dead                  entries of P:dead
     acc                   entries that the ledger has not written yet
     oldest                ms that the oldest open job is old
     workers               seen within the last minute
     epoch paused(0|1) now
  It costs the same however many jobs there are.  Entries of the streams
  whose job was cancelled wait there until claim drops them: as long as a
  tenant has parked jobs, too, as many of those are taken for ready.
--]]

local function stats(keys, args)
    local P = keys[1]
    local meta = redis.call('HMGET', P .. ':meta', 'epoch', 'paused')

    if not meta[1] then
        return { 'NOTREADY' }
    end

    local now = now_ms()
    local live = redis.call('ZCARD', P .. ':live')
    local delayed = redis.call('ZCARD', P .. ':dly')
    local ready, running = 0, 0

    for prio = 0, PRIORITIES - 1 do
        local stream = P .. ':r:' .. prio
        local pending = redis.call('XPENDING', stream, 'w')[1]

        running = running + pending
        ready = ready + redis.call('XLEN', stream) - pending
    end

    ready = math.max(math.min(ready, live - running - delayed), 0)

    local first = redis.call('ZRANGE', P .. ':live', 0, 0, 'WITHSCORES')[2]

    return { 'live', live, 'ready', ready, 'running', running,
             'parked', math.max(live - ready - running - delayed, 0),
             'delayed', delayed, 'dead', redis.call('XLEN', P .. ':dead'),
             'acc', redis.call('XLEN', P .. ':acc'),
             'oldest', first and math.max(now - tonumber(first), 0) or 0,
             'workers', redis.call('ZCOUNT', P .. ':wk', now - 60000, '+inf'),
             'epoch', tonumber(meta[1]), 'paused', meta[2] and 1 or 0,
             'now', now }
end


-- A group that is there (the meta hash alone was lost) stays as it is.

local function make_group(stream, group)
    local reply = redis.pcall('XGROUP', 'CREATE', stream, group, '0',
                              'MKSTREAM')

    if reply.err and not reply.err:find('BUSYGROUP', 1, true) then
        error(reply.err)
    end
end


-- epoch P number -> OK number | HAS number.  The first epoch of an empty
-- Redis; one that is there stays.

local function epoch(keys, args)
    local P = keys[1]
    local has = redis.call('HGET', P .. ':meta', 'epoch')

    if has then
        return { 'HAS', has }
    end

    for prio = 0, PRIORITIES - 1 do
        make_group(P .. ':r:' .. prio, 'w')
    end

    make_group(P .. ':acc', 'l')
    redis.call('HSET', P .. ':meta', 'epoch', args[1], 'schema', SCHEMA)

    return { 'OK', args[1] }
end


local function register(name, fn, flags)
    redis.register_function({
        function_name = 'trifecta_' .. name .. '_v1',
        callback = fn,
        flags = flags
    })
end

register('submit',    submit,    {})
register('limit',     limit,     {})
register('look',      look,      { 'no-writes' })
register('claim',     claim,     { 'allow-oom' })
register('started',   started,   { 'allow-oom' })
register('heartbeat', heartbeat, { 'allow-oom' })
register('finish',    finish,    { 'allow-oom' })
register('release',   release,   { 'allow-oom' })
register('retry',     retry,     { 'allow-oom' })
register('pump',      pump,      { 'allow-oom' })
register('cancel',    cancel,    { 'allow-oom' })
register('delete',    delete,    { 'allow-oom' })
register('relet',     relet,     { 'allow-oom' })
register('reclaim',   reclaim,   { 'allow-oom' })
register('ledgered',  ledgered,  { 'allow-oom' })
register('stats',     stats,     { 'no-writes' })
register('epoch',     epoch,     { 'allow-oom' })
