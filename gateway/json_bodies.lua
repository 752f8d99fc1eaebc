-- Refuses a body that is no JSON (RFC 8259) before the transcoder sees it, which reads more than
-- that: names without quotes, single ones, a comma too many, `5.`. It also drops what is no object
-- from a list of orders, whose results would no longer be those of the orders sent.

local DEPTH_MAX = 32
local LITERALS = { [116] = "^true()", [102] = "^false()", [110] = "^null()" }

local byte, match, sub = string.byte, string.match, string.sub
local wrong_at, wrong
local value

local function no(at, why)
  wrong_at, wrong = wrong_at or at, wrong or why
end

local function skip(text, at)
  return match(text, "^[ \t\r\n]*()", at)
end

local function quoted(text, at)
  if byte(text, at) ~= 34 then return no(at) end
  at = at + 1
  while true do
    at = match(text, '^[^%z\1-\31"\\]*()', at)
    local found = byte(text, at)
    if found == 34 then return at + 1 end
    if found ~= 92 then return no(at) end
    local after = match(text, '^[\\"/bfnrt]()', at + 1) or match(text, "^u%x%x%x%x()", at + 1)
    if not after then return no(at) end
    at = after
  end
end

local function number(text, at)
  local after = match(text, "^-?0()", at) or match(text, "^-?[1-9]%d*()", at)
  if not after then return no(at) end
  after = match(text, "^%.%d+()", after) or after
  return match(text, "^[eE][+-]?%d+()", after) or after
end

local function array(text, at, depth, name)
  at = skip(text, at + 1)
  if byte(text, at) == 93 then return at + 1 end
  local index = 0
  while true do
    if name == '"orders"' and byte(text, at) ~= 123 then
      return no(at, "orders[" .. index .. "] is no object: give an order there")
    end
    at = value(text, at, depth)
    if not at then return end
    at = skip(text, at)
    local found = byte(text, at)
    if found == 93 then return at + 1 end
    if found ~= 44 then return no(at) end
    at, index = skip(text, at + 1), index + 1
  end
end

local function object(text, at, depth)
  at = skip(text, at + 1)
  if byte(text, at) == 125 then return at + 1 end
  while true do
    local after = quoted(text, at)
    if not after then return end
    local name = depth == 1 and sub(text, at, after - 1)
    at = skip(text, after)
    if byte(text, at) ~= 58 then return no(at) end
    at = value(text, skip(text, at + 1), depth, name)
    if not at then return end
    at = skip(text, at)
    local found = byte(text, at)
    if found == 125 then return at + 1 end
    if found ~= 44 then return no(at) end
    at = skip(text, at + 1)
  end
end

function value(text, at, depth, name)
  local found = byte(text, at)
  if found == 34 then return quoted(text, at) end
  if found == 123 or found == 91 then
    if depth == DEPTH_MAX then
      return no(at, "it is nested deeper than " .. DEPTH_MAX .. ": no request needs that")
    end
    return (found == 123 and object or array)(text, at, depth + 1, name)
  end
  local literal = LITERALS[found]
  if not literal then return number(text, at) end
  return match(text, literal, at) or no(at)
end

local function judge(text)
  wrong_at, wrong = nil, nil
  local at = value(text, skip(text, 1), 0)
  if at then
    at = skip(text, at)
    if at <= #text then no(at) end
  end
  if not wrong_at then return end
  if wrong then return "the request body: " .. wrong end
  local found = wrong_at <= #text and "what stands at byte " .. wrong_at or "its end"
  return "the request body is no JSON, by " .. found .. ": send it as RFC 8259 has it"
end

function envoy_on_request(handle)
  local body = handle:body()
  if not body or body:length() == 0 then return end
  local why = judge(body:getBytes(0, body:length()))
  if why then handle:respond({ [":status"] = "400" }, why) end
end
