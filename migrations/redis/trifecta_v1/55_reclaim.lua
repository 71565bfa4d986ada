-- A stream or a group that somebody deleted is made again: without it nobody
-- could claim.  Jobs that were in the stream are found by the reconciler.

local function groups_again(P)
    for prio = 0, PRIORITIES - 1 do
        redis.pcall('XGROUP', 'CREATE', P .. ':r:' .. prio, 'w', '0',
                    'MKSTREAM')
    end

    redis.pcall('XGROUP', 'CREATE', P .. ':acc', 'l', '0', 'MKSTREAM')
end


-- Consumers of workers that are long gone; never one that still has entries
-- pending, for they would go with it.

local function forget_workers(P, now)
    for _, w in ipairs(redis.call('ZRANGEBYSCORE', P .. ':wk', '-inf',
                                  now - WORKER_GONE, 'LIMIT', 0, 16))
    do
        local groups = { [P .. ':acc'] = 'l' }
        local pending = 0

        for prio = 0, PRIORITIES - 1 do
            groups[P .. ':r:' .. prio] = 'w'
        end

        for stream, group in pairs(groups) do
            pending = pending + #redis.call('XPENDING', stream, group, '-',
                                            '+', 1, w)
        end

        if pending == 0 then
            for stream, group in pairs(groups) do
                redis.call('XGROUP', 'DELCONSUMER', stream, group, w)
            end

            redis.call('ZREM', P .. ':wk', w)
        end
    end
end


-- The clock of this server was set back, by so many ms at least.  What it had
-- noted by then lies in the future: an entry would not be idle, and a job not
-- due, before the clock is there again.  Entries are pending since now.

local function pend_since_now(stream, group)
    local from = '-'

    while true do
        local some = redis.call('XPENDING', stream, group, from, '+', 500)

        for _, entry in ipairs(some) do
            redis.call('XCLAIM', stream, group, entry[2], 0, entry[1],
                       'IDLE', 0, 'JUSTID')
        end

        if #some < 500 then
            return
        end

        from = '(' .. some[#some][1]
    end
end


local function clock_back(P, now, shift)
    for prio = 0, PRIORITIES - 1 do
        pend_since_now(P .. ':r:' .. prio, 'w')
    end

    pend_since_now(P .. ':acc', 'l')

    for _, w in ipairs(redis.call('ZRANGEBYSCORE', P .. ':wk', now, '+inf')) do
        redis.call('ZADD', P .. ':wk', now, w)
    end

    local due = redis.call('ZRANGEBYSCORE', P .. ':dly', now, '+inf',
                           'WITHSCORES')

    for i = 1, #due, 2 do
        local at = math.max(tonumber(due[i + 1]) - shift, now)

        redis.call('ZADD', P .. ':dly', at, due[i])

        if redis.call('EXISTS', job_key(P, due[i])) == 1 then
            redis.call('HSET', job_key(P, due[i]), 'run_at', at)
        end
    end
end


--[[
reclaim P worker n lease_ms [m]
  Takes over at most n jobs, of the lowest priority at most m of them, whose
  entry has been idle for a lease.  Idle time includes this server's own
  downtime, so when nobody has reclaimed for a while (or the clock went back),
  everybody was away and gets one lease to come back first.  Call it every
  second, also with n = 0.

  A lease lost while its worker is still seen, or before "started", counts as
  lost, else as a crash.  A worker that has died was seen until then, perhaps
  later than the entry: one that was begun waits for a second lease at most,
  until it is clear which of both it is.  An entry of the caller itself is taken over too:
  the answer to its claim may have got lost on the way.
-> {{epoch, strange, damaged}, job...} as of claim, the first word being RUN,
   CANCELLED, EXPIRED (past its deadline: complete as failed, then finish) or
   DEAD (too many crashes or lost leases: complete as dead, then finish)
--]]

local function reclaim(keys, args)
    local P, w = keys[1], args[1]
    local n, lease_ms = tonumber(args[2]), tonumber(args[3])
    local room = tonumber(args[4] or n)
    local now = now_ms()
    local meta = redis.call('HMGET', P .. ':meta', 'reclaim', 'hold', 'epoch')
    local last, hold = tonumber(meta[1] or 0), tonumber(meta[2] or 0)

    if meta[3] then
        groups_again(P)
    end

    if now - last > OUTAGE or last > now then
        hold = now + lease_ms
        redis.call('HSET', P .. ':meta', 'hold', hold)
    end

    if last > now then
        clock_back(P, now, last - now)
    end

    redis.call('HSET', P .. ':meta', 'reclaim', now)
    forget_workers(P, now)

    local out = { claim_head(P) }

    if now < hold then
        return out
    end

    for prio = 0, PRIORITIES - 1 do
        local stream = P .. ':r:' .. prio
        local want = n - (#out - 1)
        local late = {}

        if prio == BACKGROUND then
            want = math.min(want, room)
        end

        if want > 0 then
            late = redis.call('XPENDING', stream, 'w', 'IDLE', lease_ms, '-',
                              '+', want)
        end

        for _, entry in ipairs(late) do
            local sid, holder = entry[1], entry[2]
            local body = redis.call('XRANGE', stream, sid, sid)[1]
            local id = body and body[2][2]
            local job = named(id) and waiting(P, id)

            if not job or job.state ~= 'running' or job.sid ~= sid then
                entries_go(stream, { sid })

                if body and not named(id) then
                    out[1][2] = out[1][2] + 1
                end

            elseif not sound(job, prio) then
                damaged(P, id, job, prio, sid)
                out[1][3] = out[1][3] + 1

            else
                local seen = tonumber(redis.call('ZSCORE', P .. ':wk',
                                                 holder) or 0)
                local lives = now - seen < lease_ms
                local begun = tonumber(job.attempt) > 0
                local counter, limit, what = 'crashes', CRASHES_MAX, 'RUN'

                if lives or not begun then
                    counter, limit = 'lost', LOST_MAX
                end

                if not (lives and begun) or entry[3] >= 2 * lease_ms then
                    if redis.call('HINCRBY', job_key(P, id), counter, 1)
                       > limit
                    then
                        what = 'DEAD'
                    end

                    if now > tonumber(job.dl) then
                        what = 'EXPIRED'
                    end

                    redis.call('XCLAIM', stream, 'w', w, 0, sid, 'JUSTID')
                    out[#out + 1] = hand_over(P, w, id, job, now, what)
                end
            end
        end
    end

    return out
end


register('reclaim',   reclaim,   { 'allow-oom' })
