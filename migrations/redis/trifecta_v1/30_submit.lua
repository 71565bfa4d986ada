-- Of the fields of a job, those that not each has.

local SOMETIMES = { 'trace', 'idem', 'retry_of', 'durable' }


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
  durable  1: its doorbell says "ledgered" once it has a row
  nlim lim<i> lim<i>k lim<i>q lim<i>w   rate limits: policy, key, quota,
         window in ms; i from 1 to nlim
-> OK id acc live tlive limits...       accepted
   DUP id acc live tlive                this id was accepted before (a resend)
   REPLAY id                            this idem was, with the same fp
   CONFLICT id                          this idem was, with another fp
   NOTREADY                             no epoch: nothing is accepted
   PAUSED                               by an operator, or it is not adopted
   QFULL live max | TFULL tlive tmax
   LIMITED wait(ms) policy limits...
   limits: name quota window(ms) remaining reset(ms), for each
--]]

local function submit(keys, args)
    local P = keys[1]
    local o = options(args, { id = nil, tenant = nil, owner = nil,
                              groups = nil, scopes = nil, kind = nil,
                              model = nil, prio = nil, payload = nil,
                              request_id = nil, fp = nil, limit = nil,
                              max = nil, tmax = nil, trace = nil, nlim = nil,
                              idem = nil })     -- it need not grow
    local key = job_key(P, o.id)

    local meta = redis.call('HMGET', P .. ':meta', 'epoch', 'paused',
                            'rebuild', 'server')

    if not meta[1] then
        return { 'NOTREADY' }
    end

    local idem_key = o.idem and P .. ':idem:' .. o.tenant .. ':' .. o.idem

    if idem_key then
        local old = own('GET', idem_key)

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

    local T = P .. ':t:' .. o.tenant
    local live_key, tlive_key = P .. ':live', T .. ':live'
    local old = redis.call('HGET', key, 'acc')

    if old then
        return { 'DUP', o.id, tonumber(old), own('ZCARD', live_key),
                 own('ZCARD', tlive_key) }
    end

    if meta[2] or meta[3] or not meta[4] then
        return { 'PAUSED' }
    end

    local live = own('ZCARD', live_key)

    -- jobs that were cancelled are not open any more, but the ledger still
    -- has to write them down
    if live >= tonumber(o.max)
       or redis.call('XLEN', P .. ':acc') >= LEDGER_MAX
    then
        return { 'QFULL', live, tonumber(o.max) }
    end

    local tlive = own('ZCARD', tlive_key)

    if tlive >= tonumber(o.tmax) then
        return { 'TFULL', tlive, tonumber(o.tmax) }
    end

    local now = now_ms()
    local limits, limited

    if o.nlim then
        limits, limited = limits_charge(P, o, now)

        if limited then
            return limited
        end
    end

    local delay = tonumber(o.delay or 0)
    local acc = whole(now)
    local log = o.durable
                and redis.call('XADD', P .. ':acc', '*', 'op', 'new',
                               'id', o.id, 'durable', '1')
                or redis.call('XADD', P .. ':acc', '*', 'op', 'new',
                              'id', o.id)
    local sub, sid, more = 'delayed', nil, {}

    if delay > 0 then
        local due = whole(now + delay)

        own('ZADD', P .. ':dly', due, o.id)
        more = { 'run_at', due }

    else
        sub, sid = place(P, o.id, T, tonumber(o.prio), acc)
        more = sid and { 'sid', sid } or more
    end

    if idem_key then
        redis.call('SET', idem_key, o.id .. ' ' .. o.fp, 'PX', IDEM_TTL)
    end

    if not o.retry_of then
        more[#more + 1] = 'log'
        more[#more + 1] = log
    end

    for i = 1, #SOMETIMES do
        local value = o[SOMETIMES[i]]

        if value then
            more[#more + 1] = SOMETIMES[i]
            more[#more + 1] = value
        end
    end

    redis.call('HSET', key, 'state', 'queued', 'sub', sub, 'tenant', o.tenant,
               'owner', o.owner, 'groups', o.groups, 'scopes', o.scopes,
               'kind', o.kind, 'model', o.model, 'prio', o.prio,
               'payload', o.payload, 'request_id', o.request_id,
               'fp', o.fp, 'acc', acc,
               'dl', whole(now + delay + tonumber(o.limit)), 'lease', '0',
               'attempt', '0', 'fails', '0', 'crashes', '0', 'lost', '0',
               unpack(more))
    own('ZADD', live_key, acc, o.id)
    own('ZADD', tlive_key, acc, o.id)

    local out = { 'OK', o.id, now, live + 1, tlive + 1 }

    return limits and limits_say(out, limits, now, true) or out
end


-- Why there is no such job here.

local function absent(P)
    if redis.call('HEXISTS', P .. ':meta', 'epoch') == 0 then
        return 'NOTREADY'
    end

    return 'ABSENT'
end


-- The job of this tenant and owner, or nil and why not: args are tenant,
-- owner, id.

local function job_of(P, args, ...)
    local job = job_get(P, args[3], 'tenant', 'owner', 'deleted', ...)

    if job and job.tenant == args[1] and job.owner == args[2] then
        return job
    end

    return nil, absent(P)
end


--[[
look P tenant owner id     (no-writes)
-> ABSENT                  unknown here, or not this tenant's and owner's
   NOTREADY                unknown here, and this Redis has no epoch
   DELETED                 its owner deleted it
   state attempt acc model position live started cancel(0|1) done total
   position and live are 0 for a job that has ended
--]]

local function look(keys, args)
    local P, id = keys[1], args[3]
    local v = redis.pcall('HMGET', job_key(P, id), 'state', 'tenant', 'owner',
                          'deleted', 'attempt', 'acc', 'model', 'started',
                          'cancel', 'done', 'total')

    if v.err or not v[1] or v[2] ~= args[1] or v[3] ~= args[2] then
        return { absent(P) }
    end

    if v[4] then
        return { 'DELETED' }
    end

    local position, live = 0, 0

    if not TERMINAL[v[1]] then
        position = redis.call('ZRANK', P .. ':live', id) or 0
        live = redis.call('ZCARD', P .. ':live')
    end

    return { v[1], tonumber(v[5]), tonumber(v[6]), v[7], position, live,
             tonumber(v[8] or 0), v[9] and 1 or 0, tonumber(v[10] or 0) or 0,
             tonumber(v[11] or 0) or 0 }
end


register('submit',    submit,    {})
register('look',      look,      { 'no-writes' })
