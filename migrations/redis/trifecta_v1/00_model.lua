#!lua name=trifecta_v1

--[[
The queue's protocol: one function a step of a job's life.

Every function takes one key, the prefix P = "{trifecta:<shard>}" of a shard,
and derives the others from it (include/trifecta/keys.h lists them).  All of
P's keys lie in one slot.  Times are this server's TIME in ms.  Every answer
is an array (or a list of arrays) whose first element is a word.

A job's hash P:j:<id>:
  state      queued, running, succeeded, failed, cancelled, dead
  sub        ready, parked, delayed or run: in which of the sets it is
  tenant owner groups scopes kind model prio request_id fp idem retry_of
             as submitted
  trace      the traceparent of the submit (W3C Trace Context)
  payload    the request; dropped when the job has ended, and the ledger has
             written that if it must
  acc dl     accepted, hard deadline (ms)
  run_at     not before (ms), while it is delayed
  lease      how often it was claimed; whoever holds the number holds it
  worker sid the holder and the stream entry of the current claim
  attempt    the attempt that PostgreSQL gave to that lease (0: not yet)
  started    ms of the first claim
  fails      how often it was put off by retry
  crashes lost   see reclaim
  cancel     its owner wants it to stop
  deleted    its owner wants it gone; polls answer so
  done total how far its worker has come, if it says so
  ev         it has events: the last one, and their bytes (35_events.lua)
  log        its entry of P:acc; it goes as soon as begin has written its row,
             or with the ledger that does (a retry_of has none: only the ledger
             writes that)
  durable    its client waits until it has a row

P:meta, one hash a shard:
  epoch schema   the life of this queue, and the version of this library
  install    whose queue it is: a Redis of another installation is left alone
  server store   the Redis and the PostgreSQL that were found to belong
             together; an edge accepts jobs only while "server" is the server
             that it talks to
  rebuild    since when (ms) the queue is being rebuilt; nothing is accepted
  paused     an operator's wish; nothing is accepted
  reclaim hold   see reclaim
  mark wal shards  the sidecars' own (look.h)

All functions but submit are registered with allow-oom: a Redis that is full
must still be able to finish what it holds.

The library is one text to Redis: the files of this folder, joined in the
order of their names.  A file registers what it defines at its end.
--]]

local SCHEMA      = 1         -- TF_REDIS_SCHEMA of version.h
local READY_MAX   = 16        -- TF_READY_MAX of job.h
local CRASHES_MAX = 3         -- TF_CRASHES_MAX
local LOST_MAX    = 10        -- TF_LOST_MAX
local ENDED_TTL   = '3600'    -- TF_ENDED_TTL, s
local EVENTS_TTL  = '300'     -- TF_EVENTS_TTL, s, after the end
local EVENTS_MAX  = 16384     -- TF_EVENTS_MAX, entries of a job
local EVENTS_SIZE = 4194304   -- TF_EVENTS_SIZE, bytes of them
local OUTAGE      = 10000     -- ms without any reclaim: everybody was away
local WORKER_GONE = 600000    -- ms after which a silent worker is forgotten
local PRIORITIES  = 3
local PRIORITY    = { ['0'] = 0, ['1'] = 1, ['2'] = 2 }
local BACKGROUND  = PRIORITIES - 1     -- TF_PRIORITY_BACKGROUND
local ASIDE_TTL   = 604800000 -- ms, a key of another type that was moved
local IDEM_TTL    = 86400000  -- ms, an Idempotency-Key
local LEDGER_MAX  = 100000    -- entries of P:acc, then nothing is accepted
local DEAD_MAX    = 1000      -- entries of P:dead
local DROPS_MAX   = 500       -- entries that one claim drops
local SKIPPED_MAX = 100       -- entries that one mend looks at
local LOOK_SOME   = '500'     -- entries of P:acc that are looked at at once
local STACK_SOME  = 1000      -- arguments of a command, of a list of them
local CLAIM_SOME  = 500       -- entries that are read at once
local SEEN_EACH   = 1000      -- ms, when a worker that gets nothing is noted
local SEEN_BUSY   = 100       -- ms, and one that gets something

local TERMINAL = { succeeded = true, failed = true, cancelled = true,
                   dead = true }


local function register(name, fn, flags)
    redis.register_function({
        function_name = 'trifecta_' .. name .. '_v1',
        callback = fn,
        flags = flags
    })
end
