-- Whether a set of ours has it; a key of another type has nothing.

local function has(key, id)
    return type(redis.pcall('ZSCORE', key, id)) == 'string'
end


--[[
Whether an open job is where its hash says, so that somebody comes for it: a
key of the queue that was deleted or renamed leaves its hash behind, and a
group that was set to a later entry never hands it out.
--]]

local function placed(P, id, job, seen)
    if not job.tenant or not job.prio or not has(P .. ':live', id) then
        return false
    end

    if job.sub == 'delayed' then
        return has(P .. ':dly', id)
    end

    if job.sub == 'parked' then
        return has(P .. ':t:' .. job.tenant .. ':park', id)
    end

    local stream, sid = P .. ':r:' .. job.prio, job.sid or ''

    if job.sub == 'run' then
        local found = redis.pcall('XPENDING', stream, 'w', sid, sid, 1)

        return not found.err and #found > 0
    end

    local found = redis.pcall('XRANGE', stream, sid, sid)

    return not found.err and #found > 0
           and later(sid, handed_out(stream, seen or {}))
end


--[[
restore P (field value)...
  id tenant owner groups scopes kind model prio payload request_id fp acc dl
  lease      as its row says; acc, dl in ms
optional:
  idem retry_of trace
  run_at     ms, not before
  force      1: also when it has ended here
-> OK                      it waits for a worker again
   DUP                     it is here: open, or ended, or deleted
  A job from its row, because this Redis does not have it.  It was accepted
  once, so no bound is asked.
--]]

local RESTORED = { 'tenant', 'owner', 'groups', 'scopes', 'kind', 'model',
                   'prio', 'payload', 'request_id', 'fp', 'acc', 'dl',
                   'lease', 'idem', 'retry_of', 'trace' }

local function restore(keys, args)
    local P = keys[1]
    local o = options(args)
    local key = job_key(P, o.id)
    local T = P .. ':t:' .. o.tenant
    local job = job_get(P, o.id, 'deleted', 'sub', unpack(SOUND))

    if job and (job.deleted
                or TERMINAL[job.state] and not o.force
                or not TERMINAL[job.state] and sound(job)
                   and placed(P, o.id, job))
    then
        return { 'DUP' }
    end

    redis.call('DEL', key)
    own('ZREM', P .. ':dly', o.id)

    for _, set in ipairs({ 'ready', 'run', 'park' }) do
        own('ZREM', T .. ':' .. set, o.id)
    end

    for _, name in ipairs(RESTORED) do
        if o[name] then
            redis.call('HSET', key, name, o[name])
        end
    end

    redis.call('HSET', key, 'state', 'queued', 'attempt', 0, 'fails', 0,
               'crashes', 0, 'lost', 0)
    own('ZADD', P .. ':live', o.acc, o.id)
    own('ZADD', T .. ':live', o.acc, o.id)

    if tonumber(o.run_at or 0) > now_ms() then
        put_off(P, o.id, tonumber(o.run_at))
    else
        enqueue(P, o.id, o.tenant, tonumber(o.prio), tonumber(o.acc))
    end

    ring(P, o.id, 'queued')

    return { 'OK' }
end


-- restore_idem P (tenant idem id fp ttl(ms))... -> how many.  One that is
-- here stays.

local function restore_idem(keys, args)
    local n = 0

    for i = 1, #args, 5 do
        if redis.call('SET', keys[1] .. ':idem:' .. args[i] .. ':'
                      .. args[i + 1], args[i + 2] .. ' ' .. args[i + 3],
                      'PX', args[i + 4], 'NX')
        then
            n = n + 1
        end
    end

    return n
end


--[[
check P id...              (no-writes)
-> {state sub sound(0|1) tenant deleted(0|1)} for each; the state of one that
   is not here is "absent".  An open job that nobody will come for is not
   sound.
--]]

local function check(keys, args)
    local out, seen = {}, {}

    for i, id in ipairs(args) do
        local job = job_get(keys[1], id, 'sub', 'deleted', unpack(SOUND))

        if not job then
            out[i] = { 'absent', '', 0, '', 0 }
        else
            local whole = sound(job) and (TERMINAL[job.state]
                                          or placed(keys[1], id, job,
                                                 seen))

            out[i] = { job.state, job.sub or '', whole and 1 or 0,
                       job.tenant or '', job.deleted and 1 or 0 }
        end
    end

    return out
end


--[[
settle P id state [older]  PostgreSQL has its end
-> OK                      it has ended here, too
   RUNNING                 its worker will find out, or reclaim; but with
                           "older" this Redis went back, and it ends here under
                           its worker
   ABSENT
--]]

local function settle(keys, args)
    local P, id, state = keys[1], args[1], args[2]
    local job = job_get(P, id, 'tenant', 'prio', 'sub', 'sid')

    if not job or not TERMINAL[state] then
        return { 'ABSENT' }
    end

    if job.state == 'running' and not args[3] and placed(P, id, job) then
        return { 'RUNNING' }
    end

    if not TERMINAL[job.state] then
        if job.state == 'running' then
            leave(P, id, job.tenant, job.prio, job.sid, 'run')
        elseif job.sub == 'delayed' then
            own('ZREM', P .. ':dly', id)
        elseif job.sub == 'parked' then
            own('ZREM', P .. ':t:' .. job.tenant .. ':park', id)
        else
            leave(P, id, job.tenant, job.prio, nil, 'ready')
        end

        ended(P, id, job, state)
        redis.call('EXPIRE', job_key(P, id), ENDED_TTL)
    end

    return { 'OK' }
end


-- relog P id... -> how many.  What the accept log said of these, once more.

local function relog(keys, args)
    local P, n = keys[1], 0

    for _, id in ipairs(args) do
        local job = job_get(P, id, 'deleted')

        if job then
            n = n + 1

            if job.deleted then
                redis.call('XADD', P .. ':acc', '*', 'op', 'delete',
                           'id', id)
            elseif TERMINAL[job.state] then
                redis.call('XADD', P .. ':acc', '*', 'op', 'end', 'id', id,
                           'state', job.state)
            else
                redis.call('XADD', P .. ':acc', '*', 'op', 'new', 'id', id)
            end
        end
    end

    return n
end


-- forget P id -> OK | OPEN.  No store can prove how it ended: polls say that
-- it is gone.

local function forget(keys, args)
    local job = job_get(keys[1], args[1])

    if job and not TERMINAL[job.state] then
        return { 'OPEN' }
    end

    redis.call('DEL', job_key(keys[1], args[1]), events_key(keys[1], args[1]))
    ring(keys[1], args[1], 'gone')

    return { 'OK' }
end


-- strays P from n -> ids.  Of n open jobs, the oldest first, from that rank:
-- those whose hash is not there, damaged, or of a job that has ended.

local function strays(keys, args)
    local P, out = keys[1], {}
    local from = tonumber(args[1])

    for _, id in ipairs(redis.call('ZRANGE', P .. ':live', from,
                                   from + tonumber(args[2]) - 1))
    do
        local job = job_get(P, id, unpack(SOUND))

        if not job or TERMINAL[job.state] or not sound(job) then
            out[#out + 1] = id
        end
    end

    return out
end


-- drop P id tenant... -> OK.  Takes a stray out of every set of the tenants,
-- its hash with it.

local function drop(keys, args)
    local P, id = keys[1], args[1]

    redis.call('DEL', job_key(P, id), events_key(P, id))
    own('ZREM', P .. ':live', id)
    own('ZREM', P .. ':dly', id)

    for i = 2, #args do
        for _, set in ipairs({ 'live', 'ready', 'run', 'park' }) do
            own('ZREM', P .. ':t:' .. args[i] .. ':' .. set, id)
        end

        promote(P, args[i])
    end

    ring(P, id, 'gone')

    return { 'OK' }
end


register('restore',   restore,   { 'allow-oom' })
register('restore_idem', restore_idem, { 'allow-oom' })
register('check',     check,     { 'no-writes' })
register('settle',    settle,    { 'allow-oom' })
register('relog',     relog,     { 'allow-oom' })
register('forget',    forget,    { 'allow-oom' })
register('strays',    strays,    { 'no-writes' })
register('drop',      drop,      { 'allow-oom' })
