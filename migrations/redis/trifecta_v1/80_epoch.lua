-- A group that is there (the meta hash alone was lost) stays as it is.

local function make_group(stream, group)
    local reply = redis.pcall('XGROUP', 'CREATE', stream, group, '0',
                              'MKSTREAM')

    if reply.err and not reply.err:find('BUSYGROUP', 1, true) then
        error(reply.err)
    end
end


-- install P id -> OK | HAS other.  Whose queue this is; the first one stays.

local function install(keys, args)
    local meta = keys[1] .. ':meta'

    redis.call('HSETNX', meta, 'install', args[1])

    local has = redis.call('HGET', meta, 'install')

    if has ~= args[1] then
        return { 'HAS', has }
    end

    return { 'OK' }
end


--[[
rebuild P number -> OK | HAS n
  A new epoch, whose number PostgreSQL gave, on a Redis that is empty, older,
  another, or that has seen a newer PostgreSQL.  What it holds stays.  Until
  adopt nothing is accepted.
--]]

local function rebuild(keys, args)
    local P = keys[1]
    local has = tonumber(redis.call('HGET', P .. ':meta', 'epoch') or 0)

    if has >= tonumber(args[1]) then
        return { 'HAS', has }
    end

    for prio = 0, PRIORITIES - 1 do
        make_group(P .. ':r:' .. prio, 'w')
    end

    make_group(P .. ':acc', 'l')
    redis.call('HSET', P .. ':meta', 'epoch', args[1], 'schema', SCHEMA,
               'rebuild', now_ms())
    redis.call('HDEL', P .. ':meta', 'server')

    return { 'OK' }
end


-- adopt P server store epoch -> OK | NOTREADY.  The queue is whole, and
-- accepts jobs; with '' as server it does not any more.  NOTREADY: this is
-- not that epoch, for Redis was emptied or somebody else rebuilds meanwhile.

local function adopt(keys, args)
    local meta = keys[1] .. ':meta'
    local epoch = redis.call('HGET', meta, 'epoch')

    if not epoch or args[3] and args[3] ~= epoch then
        return { 'NOTREADY' }
    end

    if args[1] == '' then
        redis.call('HDEL', meta, 'server')
        return { 'OK' }
    end

    redis.call('HSET', meta, 'server', args[1], 'store', args[2])
    redis.call('HDEL', meta, 'rebuild')

    return { 'OK' }
end


register('install',   install,   { 'allow-oom' })
register('rebuild',   rebuild,   { 'allow-oom' })
register('adopt',     adopt,     { 'allow-oom' })
