-- What claim and reclaim ask of a job; nil when there is none.

local HANDED = { 'state', 'ev', 'sid', 'tenant', 'owner', 'prio', 'acc', 'dl',
                 'lease', 'attempt', 'fails', 'crashes', 'lost', 'started',
                 'cancel', 'groups', 'scopes', 'kind', 'model', 'payload',
                 'request_id', 'fp', 'trace', 'idem' }

local function waiting(P, id)
    local v = redis.pcall('HMGET', job_key(P, id), unpack(HANDED))

    if v.err or not v[1] then
        return nil
    end

    return { state = v[1], ev = v[2], sid = v[3], tenant = v[4], owner = v[5],
             prio = v[6], acc = v[7], dl = v[8], lease = v[9],
             attempt = v[10], fails = v[11], crashes = v[12], lost = v[13],
             started = v[14], cancel = v[15], values = v }
end


-- What a worker needs to know of a job that was handed to it.  One that its
-- owner has stopped, while somebody had it who did not come to that, only ends.

local function hand_over(P, w, id, job, now, what)
    local v, lease = job.values, tonumber(job.lease) + 1

    if job.started then
        redis.call('HSET', job_key(P, id), 'state', 'running', 'sub', 'run',
                   'worker', w, 'lease', whole(lease), 'attempt', '0')
    else
        redis.call('HSET', job_key(P, id), 'state', 'running', 'sub', 'run',
                   'worker', w, 'lease', whole(lease), 'started', whole(now))
    end

    if job.cancel then
        what = 'CANCELLED'
    end

    return { what, id, job.sid, lease, tonumber(job.prio), job.tenant,
             job.owner, v[16] or '[]', v[17] or '[]', v[18] or '',
             v[19] or '', v[20] or '', v[21] or '', v[22] or '',
             tonumber(job.acc), tonumber(job.dl), now, tonumber(job.fails),
             v[23] or '', v[24] or '' }
end


-- Whether an entry names a job at all; what does not, no function of this
-- library wrote.

local function named(id)
    return id and #id == 36 and id:find('^%x+%-%x+%-%x+%-%x+%-%x+$')
end


-- The first element of what claim and reclaim answer.

local function claim_head(P)
    return { tonumber(redis.call('HGET', P .. ':meta', 'epoch') or 0), 0, 0 }
end


-- Those that were handed out go from ready to run, and parked ones come after
-- them; a bag has them by tenant.  Says how many came.

local function to_run(P, got, now)
    local n = 0

    for _, tenant in ipairs(got) do
        local T, ids, scored = P .. ':t:' .. tenant, got[tenant], {}

        for i, id in ipairs(ids) do
            scored[2 * i - 1], scored[2 * i] = now, id
        end

        own('ZADD', T .. ':run', unpack(scored))
        own('ZREM', T .. ':ready', unpack(ids))
        n = n + promote(P, tenant)
    end

    return n
end


-- The last entry of each stream: what comes is behind it.

local function last_ids(P, head)
    for prio = 0, PRIORITIES - 1 do
        local stream = P .. ':r:' .. prio
        local last = redis.call('XLEN', stream) > 0
                     and redis.call('XREVRANGE', stream, '+', '-', 'COUNT',
                                    '1')[1]

        head[prio + 4] = last and last[1] or '0-0'
    end
end


-- A worker is noted now and then, more often when it gets something.

local function seen(P, w, now, got)
    local at = tonumber(own('ZSCORE', P .. ':wk', w) or 0)

    if at > now or now - at >= (got and SEEN_BUSY or SEEN_EACH) then
        own('ZADD', P .. ':wk', whole(now), w)
    end
end


--[[
claim P worker n lowest_first(0|1) [m]
  Hands out at most n ready jobs, of the lowest priority at most m of them.
  Entries whose job is gone, cancelled or no longer theirs are dropped; a job
  past its deadline, or damaged, is ended as failed and left to the ledger.
-> {{epoch, strange, damaged, last id of r:0, of r:1, of r:2}, job...}
   strange and damaged say how many entries were dropped because they name
   no job, or because the hash of theirs was damaged.
   The last ids are there only when fewer than n came and there is no more,
   but for the lowest priority if m came of it: what XREAD BLOCK may wait
   behind without missing anything.
   job = RUN (or CANCELLED: complete as that, then finish) id sid lease prio
         tenant owner groups scopes kind model payload request_id fp acc dl
         now fails trace idem
--]]

local function claim(keys, args)
    local P, w, n = keys[1], args[1], tonumber(args[2])
    local now = now_ms()
    local head = claim_head(P)
    local out = { head }
    local from, to, step = 0, PRIORITIES - 1, 1
    local room = tonumber(args[4] or n)
    local dropped = 0

    if args[3] == '1' then
        from, to, step = PRIORITIES - 1, 0, -1
    end

    for prio = from, to, step do
        local stream = P .. ':r:' .. prio
        local more = #out - 1 < n and redis.call('XLEN', stream) > 0

        while more and dropped < DROPS_MAX do
            local want = math.min(n - (#out - 1), CLAIM_SOME)

            if prio == BACKGROUND then
                want = math.min(want, room)
            end

            local got = want > 0
                        and redis.call('XREADGROUP', 'GROUP', 'w', w, 'COUNT',
                                       whole(want), 'STREAMS', stream, '>')
            if not got then
                break
            end

            local gone, took, before = {}, {}, dropped

            for _, entry in ipairs(got[1][2]) do
                local sid, id = entry[1], entry[2][2]
                local job = named(id) and waiting(P, id)

                dropped = dropped + 1

                if not job or job.state ~= 'queued' or job.sid ~= sid then
                    gone[#gone + 1] = sid

                    if not named(id) then
                        head[2] = head[2] + 1
                    end

                elseif not sound(job, prio) then
                    damaged(P, id, job, prio, sid)
                    head[3] = head[3] + 1

                elseif now > tonumber(job.dl) then
                    leave(P, id, job.tenant, prio, sid, 'ready')
                    ended(P, id, job, 'failed', true)
                    redis.call('XADD', P .. ':acc', '*', 'op', 'expire',
                               'id', id)

                else
                    dropped = dropped - 1
                    room = room - (prio == BACKGROUND and 1 or 0)
                    out[#out + 1] = hand_over(P, w, id, job, now, 'RUN')
                    put(took, job.tenant, id)
                    ring(P, id, 'running')
                end
            end

            if #gone > 0 then
                entries_go(stream, gone)
            end

            -- what was dropped may have made room for others, too

            local moved = to_run(P, took, whole(now))

            more = moved > 0 or #got[1][2] == want or dropped > before
        end
    end

    seen(P, w, now, #out > 1)

    if #out - 1 < n and dropped < DROPS_MAX then
        last_ids(P, head)
    end

    return out
end


-- The job, if the worker holds it under this lease: what names its keys, and
-- the fields that are asked for.  If others are damaged, it may end all the
-- same; claim and reclaim look at all of them.

local function held(P, w, id, lease, ...)
    local v = redis.pcall('HMGET', job_key(P, id), 'state', 'worker', 'lease',
                          'tenant', 'prio', 'sid', 'ev', ...)

    if v.err or v[1] ~= 'running' or v[2] ~= w or v[3] ~= lease or not v[4]
       or not PRIORITY[v[5]]
    then
        return nil
    end

    local job = { state = v[1], lease = v[3], tenant = v[4], prio = v[5],
                  sid = v[6], ev = v[7] }

    for i = 1, select('#', ...) do
        job[select(i, ...)] = v[7 + i]
    end

    return job
end


--[[
started P worker (id lease attempt)... -> OK | FENCED | {OK {event...}}, one
for each.  The events are those of earlier attempts: nobody adds to them any
more.  They may be 4 MB of each job: not too many in one call.
  PostgreSQL has their rows, and everything that is in the accept log of them:
  the ledger need not see it, and who waits for a row hears the doorbell.
--]]

local function started(keys, args)
    local P, w = keys[1], args[1]
    local out, n, written = {}, 0, {}

    for i = 2, #args, 3 do
        local id, answer = args[i], 'FENCED'
        local key = job_key(P, id)
        local v = redis.pcall('HMGET', key, 'state', 'worker', 'lease', 'ev',
                              'log', 'durable')

        if v[1] == 'running' and v[2] == w and v[3] == args[i + 1] then
            redis.call('HSET', key, 'attempt', args[i + 2])
            answer = 'OK'
            written[#written + 1] = v[5] or nil

            if v[4] then
                answer = { 'OK', (entries_of(P, id, '', EVENTS_MAX,
                                             math.huge)) }
            end

            if v[6] then
                redis.call('HDEL', key, 'durable')
                ring(P, id, 'ledgered')
            end
        end

        n = n + 1
        out[n] = answer
    end

    if #written > 0 then
        entries_go(P .. ':acc', written, 'l')
    end

    return out
end


-- The holder of entries has them since now: XCLAIM JUSTID by itself resets
-- their idle time.  One of them may be none, from a hash that was damaged.

local function keep(stream, w, sids)
    for i = 1, #sids, STACK_SOME do
        local some = { unpack(sids, i, math.min(i + STACK_SOME - 1, #sids)) }
        local n = #some

        some[n + 1] = 'JUSTID'

        local reply = redis.pcall('XCLAIM', stream, 'w', w, '0', unpack(some))

        for k = 1, reply.err and n or 0 do
            redis.pcall('XCLAIM', stream, 'w', w, '0', some[k], 'JUSTID')
        end
    end
end


-- heartbeat P worker (id lease)... -> OK | CANCEL | LOST, one for each.

local function heartbeat(keys, args)
    local P, w = keys[1], args[1]
    local out, kept = {}, {}

    own('ZADD', P .. ':wk', whole(now_ms()), w)

    for i = 2, #args, 2 do
        local job = held(P, w, args[i], args[i + 1], 'cancel')

        if not job then
            out[#out + 1] = 'LOST'
        else
            put(kept, P .. ':r:' .. job.prio, job.sid or '')
            out[#out + 1] = job.cancel and 'CANCEL' or 'OK'
        end
    end

    for _, stream in ipairs(kept) do
        keep(stream, w, kept[stream])
    end

    return out
end


-- progress P worker (id lease done total)... -> OK | FENCED, one for each.
-- How far a job is, for whoever asks.

local function progress(keys, args)
    local P, w = keys[1], args[1]
    local out = {}

    for i = 2, #args, 4 do
        if held(P, w, args[i], args[i + 1]) then
            redis.call('HSET', job_key(P, args[i]), 'done', args[i + 2],
                       'total', args[i + 3])
            out[#out + 1] = 'OK'
        else
            out[#out + 1] = 'FENCED'
        end
    end

    return out
end


register('claim',     claim,     { 'allow-oom' })
register('started',   started,   { 'allow-oom' })
register('heartbeat', heartbeat, { 'allow-oom' })
register('progress',  progress,  {})
