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
        own('ZREM', P .. ':dly', id)
    elseif job.sub == 'parked' then
        own('ZREM', P .. ':t:' .. job.tenant .. ':park', id)
    else
        leave(P, id, job.tenant, job.prio, nil, 'ready')
    end

    ended(P, id, job, 'cancelled', true)

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
  An open job is stopped.  Request, events and result are erased here and, by
  the ledger, in PostgreSQL; caches are told.  A job that is not here any more
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

    redis.call('DEL', events_key(P, id))
    redis.call('HDEL', job_key(P, id), 'payload')
    redis.call('HSET', job_key(P, id), 'deleted', 1)
    redis.call('PERSIST', job_key(P, id))
    redis.call('XADD', P .. ':acc', '*', 'op', 'delete', 'id', id)
    redis.call('SPUBLISH', P .. ':inv', id)
    ring(P, id, 'deleted')

    return { 'DELETED' }
end


register('cancel',    cancel,    { 'allow-oom' })
register('delete',    delete,    { 'allow-oom' })
