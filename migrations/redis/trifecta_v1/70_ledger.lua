-- ledgered P (entry id)... -> OK.  The consumer's transaction is committed;
-- who waits for that hears it from the doorbell.

local function ledgered(keys, args)
    local P = keys[1]
    local acc, entries = P .. ':acc', {}

    for i = 1, #args, 2 do
        local key = job_key(P, args[i + 1])
        local job = redis.pcall('HMGET', key, 'state', 'durable')

        entries[#entries + 1] = args[i]

        if TERMINAL[job[1]] then
            -- its end may be an entry behind that of its begin

            local entry = redis.call('XRANGE', acc, args[i], args[i])[1]

            if entry and entry[2][2] ~= 'new' then
                redis.call('HDEL', key, 'payload')
            end

            redis.call('EXPIRE', key, ENDED_TTL, 'NX')
        end

        if job[1] and job[2] then
            redis.call('HDEL', key, 'durable')
            ring(P, args[i + 1], 'ledgered')
        end
    end

    for_all(entries, 'XACK', acc, 'l')
    for_all(entries, 'XDEL', acc)

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


register('ledgered',  ledgered,  { 'allow-oom' })
register('stats',     stats,     { 'no-writes' })
