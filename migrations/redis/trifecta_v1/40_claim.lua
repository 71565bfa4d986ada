-- What a worker needs to know of a job that was handed to it.  One that its
-- owner has stopped, while somebody had it who did not come to that, only ends.

local function hand_over(P, w, id, sid, prio, now, what)
    local lease = redis.call('HINCRBY', job_key(P, id), 'lease', 1)

    redis.call('HSET', job_key(P, id), 'state', 'running', 'sub', 'run',
               'worker', w, 'sid', sid, 'attempt', 0)
    redis.call('HSETNX', job_key(P, id), 'started', now)

    local v = redis.call('HMGET', job_key(P, id), 'tenant', 'owner', 'groups',
                         'scopes', 'kind', 'model', 'payload', 'request_id',
                         'fp', 'acc', 'dl', 'fails', 'trace', 'idem',
                         'cancel')

    if v[15] then
        what = 'CANCELLED'
    end

    return { what, id, sid, lease, prio, v[1], v[2], v[3] or '[]',
             v[4] or '[]', v[5] or '', v[6] or '', v[7] or '', v[8] or '',
             v[9] or '', tonumber(v[10]), tonumber(v[11]), now,
             tonumber(v[12]), v[13] or '', v[14] or '' }
end


-- Whether an entry names a job at all; what does not, no function of this
-- library wrote.

local function named(id)
    return id and id:match('^%x+%-%x+%-%x+%-%x+%-%x+$') and #id == 36
end


-- The first element of what claim and reclaim answer.

local function claim_head(P)
    return { tonumber(redis.call('HGET', P .. ':meta', 'epoch') or 0), 0, 0 }
end


--[[
claim P worker n lowest_first(0|1) [m]
  Hands out at most n ready jobs, of the lowest priority at most m of them.  Entries whose job is gone, cancelled or
  no longer theirs are dropped; a job past its deadline, or damaged, is ended
  as failed and left to the ledger.
-> {{epoch, strange, damaged, last id of r:0, of r:1, of r:2}, job...}
   strange and damaged say how many entries were dropped because they name
   no job, or because the hash of theirs was damaged.
   The last ids are there only when fewer than n came and there is no more,
   but for the lowest priority if m came of it: what XREAD BLOCK may wait
   behind without missing anything.
   job = RUN (or CANCELLED: complete as that, then finish) id sid lease prio tenant owner groups scopes kind model payload
         request_id fp acc dl now fails trace idem
--]]

local function claim(keys, args)
    local P, w, n = keys[1], args[1], tonumber(args[2])
    local now = now_ms()
    local out = { claim_head(P) }
    local from, to, step = 0, PRIORITIES - 1, 1
    local room = tonumber(args[4] or n)
    local dropped = 0

    own('ZADD', P .. ':wk', now, w)

    if args[3] == '1' then
        from, to, step = PRIORITIES - 1, 0, -1
    end

    for prio = from, to, step do
        local stream = P .. ':r:' .. prio

        while dropped < DROPS_MAX do
            local want = n - (#out - 1)

            if prio == BACKGROUND then
                want = math.min(want, room)
            end

            local got = want > 0
                        and redis.call('XREADGROUP', 'GROUP', 'w', w, 'COUNT',
                                       want, 'STREAMS', stream, '>')
            if not got then
                break
            end

            for _, entry in ipairs(got[1][2]) do
                local sid, id = entry[1], entry[2][2]
                local job = named(id) and job_get(P, id, unpack(SOUND))
                dropped = dropped + 1

                if not job or job.state ~= 'queued' or job.sid ~= sid then
                    redis.call('XACK', stream, 'w', sid)
                    redis.call('XDEL', stream, sid)

                    if not named(id) then
                        out[1][2] = out[1][2] + 1
                    end

                elseif not sound(job, prio) then
                    damaged(P, id, job, prio, sid)
                    out[1][3] = out[1][3] + 1

                elseif now > tonumber(job.dl) then
                    leave(P, id, job.tenant, prio, sid, 'ready')
                    ended(P, id, job, 'failed', true)
                    redis.call('XADD', P .. ':acc', '*', 'op', 'expire',
                               'id', id)

                else
                    local T = P .. ':t:' .. job.tenant

                    dropped = dropped - 1
                    room = room - (prio == BACKGROUND and 1 or 0)
                    out[#out + 1] = hand_over(P, w, id, sid, prio, now, 'RUN')
                    own('ZADD', T .. ':run', now, id)
                    own('ZREM', T .. ':ready', id)
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
                    out[1][prio + 4] = info[i + 1]
                end
            end
        end
    end

    return out
end


-- The job, if the worker holds it under this lease.

local function held(P, w, id, lease)
    local job = job_get(P, id, 'worker', 'cancel', 'deleted', unpack(SOUND))

    if job and job.state == 'running' and job.worker == w
       and job.lease == lease and sound(job)
    then
        return job
    end

    return nil
end


-- started P worker (id lease attempt)... -> OK | FENCED | {OK {event...}}, one
-- for each.  The events are those of earlier attempts: nobody adds to them
-- any more.  They may be 4 MB of each job: not too many in one call.

local function started(keys, args)
    local P, w = keys[1], args[1]
    local out = {}

    for i = 2, #args, 3 do
        local job = held(P, w, args[i], args[i + 1])

        if job then
            redis.call('HSET', job_key(P, args[i]), 'attempt', args[i + 2])
            out[#out + 1] = 'OK'

            if job.ev then
                out[#out] = { 'OK', (entries_of(P, args[i], '', EVENTS_MAX,
                                                math.huge)) }
            end
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

    own('ZADD', P .. ':wk', now_ms(), w)

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
