--[[
The generic cell rate algorithm (ITU-T I.371, as used by most rate limiters):
a key holds the theoretical arrival time of the next request.  A policy
allows "quota" requests a window, all of them at once if nothing was used.
All policies are checked before any is charged.
--]]

local function limits_check(P, o, now)
    local limits = {}

    for i = 1, tonumber(o.nlim or 0) do
        local name = 'lim' .. i
        local quota, window = tonumber(o[name .. 'q']), tonumber(o[name .. 'w'])
        local key = P .. ':lim:' .. o[name] .. ':' .. o[name .. 'k']
        local tat = tonumber(own('GET', key) or 0)

        -- a clock that went back, or a policy that has other numbers now,
        -- must not lock anybody out
        if tat > now + window then
            tat = now + window
            redis.call('SET', key, tat, 'PX', math.ceil(window))
        end

        tat = math.max(tat, now)

        limits[i] = { name = o[name], quota = quota, window = window,
                      key = key, step = window / quota, tat = tat,
                      wait = math.ceil(tat + window / quota - window - now) }
    end

    return limits
end


-- name quota window(ms) remaining reset(ms), for each

local function limits_say(out, limits, now, charged)
    local n = #out

    for _, l in ipairs(limits) do
        local tat = charged and l.tat + l.step or l.tat
        local left = math.floor((l.window - (tat - now)) / l.step + 1e-6)

        out[n + 1], out[n + 2], out[n + 3] = l.name, l.quota, l.window
        out[n + 4], out[n + 5] = math.max(left, 0), math.ceil(tat - now)
        n = n + 5
    end

    return out
end


-- Charges all policies, or none: then the second value is the answer.

local function limits_charge(P, o, now)
    local limits = limits_check(P, o, now)
    local late

    for _, l in ipairs(limits) do
        if l.wait > 0 and (not late or l.wait > late.wait) then
            late = l
        end
    end

    if late then
        return limits, limits_say({ 'LIMITED', late.wait, late.name }, limits,
                                  now)
    end

    for _, l in ipairs(limits) do
        redis.call('SET', l.key, l.tat + l.step, 'PX',
                   whole(math.max(math.ceil(l.tat + l.step - now), 1)))
    end

    return limits
end


--[[
limit P (field value)...
  nlim lim<i> lim<i>k lim<i>q lim<i>w   as in submit
-> OK limits...                          all are charged
   LIMITED wait(ms) policy limits...     none is
--]]

local function limit(keys, args)
    local now = now_ms()
    local limits, limited = limits_charge(keys[1], options(args), now)

    return limited or limits_say({ 'OK' }, limits, now, true)
end


register('limit',     limit,     {})
