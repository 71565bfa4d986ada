-- finish P worker (id lease state)... -> OK | FENCED, one for each.  PostgreSQL
-- has them already.  They leave the streams and the sets first, all at once:
-- what stops that, because a key is something else now, has changed nothing.

local function finish(keys, args)
    local P, w = keys[1], args[1]
    local out, jobs, ids = {}, {}, {}
    local sids, tenants = {}, {}

    for i = 2, #args, 3 do
        local id, lease, state = args[i], args[i + 1], args[i + 2]
        local job = TERMINAL[state] and not jobs[id] and held(P, w, id, lease)

        if not job then
            out[#out + 1] = 'FENCED'
        else
            out[#out + 1] = 'OK'
            job.id, job.ends = id, state
            jobs[id] = true
            jobs[#jobs + 1] = job
            ids[#ids + 1] = id
            put(tenants, job.tenant, id)

            if job.sid then
                put(sids, job.prio, job.sid)
            end
        end
    end

    for _, prio in ipairs(sids) do
        entries_go(P .. ':r:' .. prio, sids[prio])
    end

    if #ids > 0 then
        own('ZREM', P .. ':live', unpack(ids))
    end

    for _, tenant in ipairs(tenants) do
        local T = P .. ':t:' .. tenant

        own('ZREM', T .. ':live', unpack(tenants[tenant]))
        own('ZREM', T .. ':run', unpack(tenants[tenant]))
        promote(P, tenant)
    end

    for _, job in ipairs(jobs) do
        end_hash(P, job.id, job, job.ends)
        redis.call('EXPIRE', job_key(P, job.id), ENDED_TTL)

        if job.ends == 'dead' then
            redis.call('XADD', P .. ':dead', 'MAXLEN', '~', DEAD_MAX, '*',
                       'id', job.id, 'tenant', job.tenant)
        end
    end

    return out
end


-- retry P worker id lease delay(ms) [failed(0|1)] -> OK due | FENCED.  Tries
-- again later; the caller has decided that it may, and when, and whether this
-- counts as a failure.

local function retry(keys, args)
    local P, w, id, lease, delay, failed = keys[1], unpack(args)
    local job = held(P, w, id, lease, 'fails')

    if not job or not digits(job.fails) then
        return { 'FENCED' }
    end

    local due = now_ms() + tonumber(delay)

    leave(P, id, job.tenant, job.prio, job.sid, 'run')

    if failed ~= '0' then
        redis.call('HINCRBY', job_key(P, id), 'fails', 1)
    end

    put_off(P, id, due)
    ring(P, id, 'queued')

    return { 'OK', due }
end


-- pump P n -> how many.  Delayed jobs whose time has come go on to their
-- stream, or are parked.

local function pump(keys, args)
    local P = keys[1]
    local due = own('ZRANGEBYSCORE', P .. ':dly', '-inf', now_ms(),
                           'LIMIT', 0, args[1])

    for _, id in ipairs(due) do
        local job = job_get(P, id, 'sub', 'tenant', 'prio', 'acc')

        own('ZREM', P .. ':dly', id)

        if job and job.state == 'queued' and job.sub == 'delayed'
           and tonumber(job.prio) and tonumber(job.acc)
        then
            redis.call('HDEL', job_key(P, id), 'run_at')
            enqueue(P, id, job.tenant, tonumber(job.prio), job.acc)
        end
    end

    return #due
end


-- release P worker id lease -> OK | FENCED.  Back to the queue; no counter
-- moves.

local function release(keys, args)
    local P, w, id, lease = keys[1], unpack(args)
    local job = held(P, w, id, lease, 'acc')

    if not job or not digits(job.acc) then
        return { 'FENCED' }
    end

    leave(P, id, job.tenant, job.prio, job.sid, 'run')
    redis.call('HDEL', job_key(P, id), 'worker')
    enqueue(P, id, job.tenant, tonumber(job.prio), job.acc)
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


register('finish',    finish,    { 'allow-oom' })
register('release',   release,   { 'allow-oom' })
register('retry',     retry,     { 'allow-oom' })
register('pump',      pump,      { 'allow-oom' })
register('relet',     relet,     { 'allow-oom' })
