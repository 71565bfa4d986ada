--[[
due P consumer n wait(ms) from
  Hands out at most n entries of the accept log.  A new job is due after that
  time, and with it those that have waited for half of it: what begins until
  then is taken away by started, and nobody sees it here.  Everything else is
  due at once, and so is a new job whose client waits for its row; what came
  before goes with it.  from is what this consumer was answered last, or '':
  behind it it has not looked yet.
-> {from waits(0|1) entry...}  With waits there is more, now or soon.  Without,
   XREAD BLOCK may wait behind from without missing anything.
--]]

local function due(keys, args)
    local acc = keys[1] .. ':acc'
    local n, wait = tonumber(args[2]), tonumber(args[3])
    local at = handed_out(acc, {}, 'l')
    local first = redis.call('XRANGE', acc, '(' .. at, '+', 'COUNT', '1')[1]

    if not first then
        return { at, 0 }
    end

    local now = now_ms()
    local came = tonumber(first[1]:match('^%d+'))
    local from, upto = at, nil

    if args[4]:find('^%d+%-%d+$') and later(args[4], at) then
        from = args[4]
    end

    if came > now then
        upto = '+'              -- the clock was set back
    elseif came <= now - wait then
        upto = whole(now - wait / 2) .. '-18446744073709551615'
    end

    if upto ~= '+' then
        local some = redis.call('XRANGE', acc, '(' .. from, '+', 'COUNT',
                                LOOK_SOME)

        for _, entry in ipairs(some) do
            from = entry[1]

            if entry[2][2] ~= 'new' or entry[2][5] == 'durable' then
                upto = upto and not later(from, upto) and upto or from
            end
        end
    end

    local ready = upto and #redis.call('XRANGE', acc, '(' .. at, upto,
                                       'COUNT', whole(n)) or 0

    if ready == 0 then
        return { from, 1 }
    end

    local got = redis.call('XREADGROUP', 'GROUP', 'l', args[1], 'COUNT',
                           whole(ready), 'STREAMS', acc, '>')[1][2]
    local last = got[#got][1]

    if ready == n or later(last, from) then
        from = last             -- not all that is due was read
    end

    return { from, 1, unpack(got) }
end


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


register('due',       due,       { 'allow-oom' })
register('ledgered',  ledgered,  { 'allow-oom' })
register('stats',     stats,     { 'no-writes' })
