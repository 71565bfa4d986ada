--[[
What a running job says on its way: the stream P:ev:<id>.

An entry's id is <attempt>-<n>, n from 1 without a gap, and its fields are
"t", one letter, and "d":
  s   what it needed was looked up; d is empty
  d   a piece of the answer
  r   the pieces of this attempt so far are void
A later attempt voids what an earlier one has said, too.  There is no entry
for the end: the doorbell rings with the state, and PostgreSQL has the rest.

The hash's field "ev" is the last entry and how many bytes there are by now:
"<attempt>-<n> <bytes>".  It is what an entry that comes once more is held
against, and says that there is a stream at all: a job that says nothing on
its way costs nothing for it.

The stream has an expiry from its first entry on: the deadline of the job and
as long as an ended job is kept.  With the end it is EVENTS_TTL.
--]]

local EVENTS_SOME = 65536         -- bytes that one call reads, and an entry
local EVENTS_TELL = 4096          -- bytes of an entry that is said in a channel
local SAID_SOME   = 1048576       -- bytes after which said() says no more


-- Entries behind an id, at most so many and about so many bytes.

local function entries_of(P, id, after, count, size)
    local out, bytes = {}, 0
    local from = after ~= '' and '(' .. after or '-'

    while #out < count and bytes < size do
        local some = redis.pcall('XRANGE', events_key(P, id), from, '+',
                                 'COUNT', math.min(count - #out, 64))

        if some.err or #some == 0 then
            break
        end

        for _, entry in ipairs(some) do
            local e = options(entry[2])

            if bytes < size then
                out[#out + 1] = { entry[1], e.t or '', e.d or '' }
                bytes = bytes + #(e.d or '') + 32
                from = '(' .. entry[1]
            end
        end
    end

    return out, bytes
end


--[[
events P tenant owner id after count payload(0|1)     (no-writes)
-> ABSENT | NOTREADY | DELETED     as look
   what look answers, then
   payload                 the request, if it was asked for and is still here
   {{id t d}...}           the entries behind "after" ("": from the first),
                           at most count of them and about 64 KB
--]]

local function events(keys, args)
    local P, id = keys[1], args[3]
    local out = look(keys, args)

    if #out == 1 then
        return out
    end

    out[#out + 1] = args[6] == '1'
                    and redis.call('HGET', job_key(P, id), 'payload') or ''
    out[#out + 1] = (entries_of(P, id, args[4], tonumber(args[5]),
                                EVENTS_SOME))

    return out
end


-- said P id...             (no-writes)
-- -> {attempt, {{id t d}...}} for each: all that it has said, for the ledger,
-- which writes the ends of jobs that nobody runs.  Of the first ones only, if
-- it is much: at least of one, and the caller asks again for the rest.

local function said(keys, args)
    local out, total, bytes = {}, 0, 0

    for i, id in ipairs(args) do
        if total >= SAID_SOME then
            break
        end

        local job = job_get(keys[1], id, 'attempt', 'deleted')

        out[i] = { 0, {} }

        if job and not job.deleted and job.ev then
            out[i][1] = math.max(tonumber(job.attempt) or 0,
                                 tonumber(job.ev:match('^%d+')) or 0)
            out[i][2], bytes = entries_of(keys[1], id, '', EVENTS_MAX,
                                          math.huge)
            total = total + bytes
        end
    end

    return out
end


register('events',    events,    { 'no-writes' })
register('said',      said,      { 'no-writes' })
