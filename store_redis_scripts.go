package chatcompletion

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
)

// redisScript is a script that Redis runs in one step. Redis knows it by its SHA-1 once it has seen
// it.
type redisScript struct {
	evalSHA string // the words of a command that come before the number of keys
	eval    string // the same with the text of the script
}

func newRedisScript(text string) *redisScript {
	sum := sha1.Sum([]byte(text))
	return &redisScript{
		evalSHA: "\r\n$7\r\nEVALSHA\r\n$40\r\n" + hex.EncodeToString(sum[:]) + "\r\n",
		eval:    "\r\n$4\r\nEVAL\r\n$" + strconv.Itoa(len(text)) + "\r\n" + text + "\r\n",
	}
}

// A counter is a hash:
//
//	w          start of its window, in milliseconds of Unix time; 0 without windows
//	u          what is used in this window
//	r<minute>  what is reserved by requests that began in this minute of Unix time
//
// Numbers reach Redis as the text that came from Go or from another reply: a Lua number has 53 bits.
// Where the scripts calculate, a number is a pair: its value divided by a billion, and the rest.
//
// What someone else has written is no number, or no counter: it must not make a script fail, since
// three failures are an outage for all counters.
//
// serverTime declares the time of a script. It stands apart from the functions, so that tests can
// give them any time.
const serverTime = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`

// counterFunctions are the functions of the scripts.
//
// reserve has as its argument, for each key: length and offset of the window (length -1 without windows,
// 0 for a month), limit, what is wanted, 1 if the limit is enforced, and how long a
// reservation lasts, in milliseconds. It returns, as a JSON array of integers: the time,
// and for each key what was reserved, the start of the window, its end, and what was used before,
// reservations included.
//
// look has the arguments of reserve, reserves nothing, and writes nothing. It returns the same.
//
// settle has, for each key but the first: length and offset of the window, the start of the window
// that was charged, the minute and the size of the reservation, and what was used. A counter is in
// that window or it is not charged. The first key holds the number of the last settlement of a
// connection, which is the second argument: a settlement that is sent again because its reply was
// lost is executed once.
//
//nolint:dupword // calls in Lua
const counterFunctions = `
local floor = math.floor
local billion = 1000000000

local function whole(number)
  return string.format('%.0f', number)
end

local function pair(text)
  if not string.match(text, '^%d+$') then return 0, 0 end
  return tonumber(string.sub(text, 1, -10)) or 0, tonumber(string.sub(text, -9))
end

local function text(high, low)
  if high == 0 then return whole(low) end
  if high > 9223372036 or (high == 9223372036 and low > 854775807) then return '9223372036854775807' end
  return whole(high) .. string.format('%09.0f', low)
end

local function normal(high, low)
  local carry = floor(low / billion)
  return high + carry, low - carry * billion
end

local function isLess(high, low, high2, low2)
  return high < high2 or (high == high2 and low < low2)
end

-- Days since the beginning of the month, of days since the epoch; by an era of 400 years that
-- begins with March.
local function dayOfMonth(days)
  local z = days + 719468
  local day = z - floor(z / 146097) * 146097
  local year = floor((day - floor(day / 1460) + floor(day / 36524) - floor(day / 146096)) / 365)
  day = day - (365 * year + floor(year / 4) - floor(year / 100))
  return day - floor((153 * floor((5 * day + 2) / 153) + 2) / 5)
end

local function windowOf(time, length, offset)
  if length == '-1' then return 0, 0 end
  if length == '0' then
    local day = floor(time / 86400000)
    local first = day - dayOfMonth(day)
    local later = first + 31
    return first * 86400000, (later - dayOfMonth(later)) * 86400000
  end
  local start = floor((time - offset) / length) * length + offset
  return start, start + length
end

local function add(key, field, number)
  if type(redis.pcall('HINCRBY', key, field, number)) == 'table' then
    redis.call('HSET', key, field, '9223372036854775807')
  end
end

local function begin(key, start, stop)
  redis.call('DEL', key)
  redis.call('HSET', key, 'w', whole(start))
  if stop > 0 then redis.call('PEXPIREAT', key, whole(stop)) end
end

local function read(time)
  local word = string.gmatch(ARGV[1], '%S+')
  local counters, isRefused = {}, false
  for i, key in ipairs(KEYS) do
    local c = {length = word(), offset = word(), expired = {}}
    c.limitHigh, c.limitLow = pair(word())
    c.wanted, c.enforce, c.hold = word(), word(), tonumber(word())
    c.start, c.stop = windowOf(time, c.length, c.offset)
    local fields, high, low, known = redis.pcall('HGETALL', key), 0, 0, nil
    if fields.err then fields = {} end
    for j = 1, #fields, 2 do
      if fields[j] == 'w' then known = fields[j + 1] end
    end
    c.isKnown = known == whole(c.start)
    if c.isKnown then
      for j = 1, #fields, 2 do
        local field = fields[j]
        if string.sub(field, 1, 1) == 'r' and (tonumber(string.sub(field, 2)) or 0) * 60000 + c.hold <= time then
          table.insert(c.expired, field)
        elseif field ~= 'w' then
          local h, l = pair(fields[j + 1])
          high, low = high + h, low + l
        end
      end
    end
    c.high, c.low = normal(high, low)
    if c.enforce == '1' and not isLess(c.high, c.low, c.limitHigh, c.limitLow) then isRefused = true end
    counters[i] = c
  end
  return counters, isRefused
end

local function look(time)
  local reply = {whole(time)}
  for _, c in ipairs(read(time)) do
    table.insert(reply, '0')
    table.insert(reply, whole(c.start))
    table.insert(reply, whole(c.stop))
    table.insert(reply, text(c.high, c.low))
  end
  return '[' .. table.concat(reply, ',') .. ']'
end

local function reserve(time)
  local minute = floor(time / 60000)
  local counters, isRefused = read(time)
  local reply = {whole(time)}
  for i, key in ipairs(KEYS) do
    local c = counters[i]
    local reserved = '0'
    if not isRefused then
      reserved = c.wanted
      if c.enforce == '1' then
        local high, low = normal(c.limitHigh - c.high, c.limitLow - c.low)
        local wantedHigh, wantedLow = pair(c.wanted)
        if isLess(high, low, wantedHigh, wantedLow) then reserved = text(high, low) end
      end
      if #c.expired > 0 then redis.call('HDEL', key, unpack(c.expired)) end
      if reserved ~= '0' then
        if not c.isKnown then begin(key, c.start, c.stop) end
        add(key, 'r' .. whole(minute), reserved)
        if c.stop == 0 then redis.call('PEXPIRE', key, whole(c.hold + 60000)) end
      end
    end
    table.insert(reply, reserved)
    table.insert(reply, whole(c.start))
    table.insert(reply, whole(c.stop))
    table.insert(reply, text(c.high, c.low))
  end
  return '[' .. table.concat(reply, ',') .. ']'
end

local function release(key, minute, reserved)
  local field = 'r' .. minute
  if redis.call('HEXISTS', key, field) == 0 then return end
  local left = redis.pcall('HINCRBY', key, field, '-' .. reserved)
  if type(left) == 'table' or left <= 0 then redis.call('HDEL', key, field) end
end

local function settle(time)
  if redis.pcall('GET', KEYS[1]) == ARGV[2] then return 0 end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', '86400000')
  local word = string.gmatch(ARGV[1], '%S+')
  for i = 2, #KEYS do
    local key, length, offset, charged = KEYS[i], word(), word(), word()
    local minute, reserved, actual = word(), word(), word()
    local start, stop = windowOf(time, length, offset)
    if whole(start) == charged then
      local isKnown = redis.pcall('HGET', key, 'w') == charged
      if isKnown and reserved ~= '0' then release(key, minute, reserved) end
      if actual ~= '0' then
        if not isKnown then begin(key, start, stop) end
        add(key, 'u', actual)
      end
    end
  end
  return 1
end
`

// The scripts are made after the texts above, which Yaegi would not know before.
var (
	reserveScript = newRedisScript(counterFunctions + serverTime + "return reserve(now())")
	settleScript  = newRedisScript(counterFunctions + serverTime + "return settle(now())")
	readScript    = newRedisScript(counterFunctions + serverTime + "return look(now())")
)
