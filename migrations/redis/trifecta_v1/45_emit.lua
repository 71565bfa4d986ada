-- One entry of a job that is held; see emit.

local function emit_one(P, id, job, attempt, n, t, d)
    local key = events_key(P, id)
    local a, last, bytes = (job.ev or ''):match('^(%d+)-(%d+) (%d+)$')

    a, last, bytes = tonumber(a) or 0, tonumber(last) or 0,
                     tonumber(bytes) or 0

    if job.deleted then
        return 'OK'
    end

    if a == attempt and n <= last then
        return 'OK'
    end

    local len = job.len or own('XLEN', key)

    if len == 0 and job.ev then
        -- somebody has deleted the stream
        a, bytes, job.ev = 0, 0, nil
        redis.call('HDEL', job_key(P, id), 'ev')
    end

    local next = a == attempt and last + 1 or 1

    if n ~= next then
        return 'FROM ' .. next
    end

    if len >= EVENTS_MAX or bytes + #d > EVENTS_SIZE then
        return 'FULL'
    end

    local added = redis.pcall('XADD', key, attempt .. '-' .. n, 't', t,
                              'd', d)

    if type(added) == 'table' and added.err then
        -- there are later attempts: of a life that PostgreSQL has forgotten
        redis.call('DEL', key)
        redis.call('HDEL', job_key(P, id), 'ev')
        job.ev = nil

        job.len = 0

        if n > 1 then
            return 'FROM 1'
        end

        bytes, len = 0, 0
        redis.call('XADD', key, attempt .. '-' .. n, 't', t, 'd', d)
    end

    if n == 1 or len == 0 then
        redis.call('PEXPIREAT', key, whole(job.dl + ENDED_TTL * 1000))
    end

    job.len = len + 1
    job.ev = attempt .. '-' .. n .. ' ' .. bytes + #d
    job.said = true

    -- who has the one before needs no reading
    if #d > EVENTS_TELL then
        job.rings = true
    elseif not job.rings then
        job.rings = redis.call('SPUBLISH', P .. ':e:' .. id,
                               attempt .. '-' .. n .. ' ' .. t .. ' ' .. d)
                    == 0
    end

    return 'OK'
end


--[[
emit P worker (id lease attempt n t d)...
-> one for each:
   OK                      it is there, also if it was before
   FENCED                  somebody else holds the job, or nobody
   FULL                    too much for one job
   FROM n                  the entries from n on are not here: they are to be
                           said first
  Each entry is also said on the channel P:e:<id>, "<attempt>-<n> t d"; if
  nobody listens there, or it is a large one, the doorbell rings with "event".
  What a deleted job still says goes nowhere.
--]]

local function emit(keys, args)
    local P, w = keys[1], args[1]
    local jobs, out = {}, {}

    for i = 2, #args, 6 do
        local id, attempt = args[i], tonumber(args[i + 2])
        local job = jobs[id]

        if job == nil then
            job = held(P, w, id, args[i + 1], 'attempt', 'dl', 'deleted')
                  or false
            jobs[id] = job
        end

        -- 0: Redis was not told which attempt it is
        if job and digits(job.dl)
           and (job.attempt == '0' or job.attempt == args[i + 2])
        then
            out[#out + 1] = emit_one(P, id, job, attempt,
                                     tonumber(args[i + 3]), args[i + 4],
                                     args[i + 5])
        else
            out[#out + 1] = 'FENCED'
        end
    end

    for id, job in pairs(jobs) do
        if job and job.said then
            redis.call('HSET', job_key(P, id), 'ev', job.ev)

            -- nobody has heard it, but an edge of an earlier release may listen
            if job.rings then
                ring(P, id, 'event')
            end
        end
    end

    return out
end


register('emit',      emit,      { 'allow-oom' })
