--[[
The generic cell rate algorithm (ITU-T I.371, as used by most rate limiters):
a key holds the theoretical arrival time of the next request.  A policy
allows "quota" requests a window, all of them at once if nothing was used.
All policies are checked before any is charged.
--]]

local function limits_check(P, o, now)
    local limits = {}

    for i = 1, tonumber(o.nlim or 0) do
        local l = { name = o['lim' .. i], quota = tonumber(o['lim' .. i .. 'q']),
                    window = tonumber(o['lim' .. i .. 'w']) }

        l.key = P .. ':lim:' .. l.name .. ':' .. o['lim' .. i .. 'k']
        l.step = l.window / l.quota

        local tat = tonumber(own('GET', l.key) or 0)

        -- a clock that went back, or a policy that has other numbers now,
        -- must not lock anybody out
        if tat > now + l.window then
            tat = now + l.window
            redis.call('SET', l.key, tat, 'PX', math.ceil(l.window))
        end

        l.tat = math.max(tat, now)
        l.wait = math.ceil(l.tat + l.step - l.window - now)
        limits[i] = l
    end

    return limits
end


-- name quota window(ms) remaining reset(ms), for each

local function limits_say(out, limits, now, charged)
    for _, l in ipairs(limits) do
        local tat = charged and l.tat + l.step or l.tat
        local left = math.floor((l.window - (tat - now)) / l.step + 1e-6)

        out[#out + 1] = l.name
        out[#out + 1] = l.quota
        out[#out + 1] = l.window
        out[#out + 1] = math.max(left, 0)
        out[#out + 1] = math.ceil(tat - now)
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
                   math.ceil(l.tat + l.step - now))
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
