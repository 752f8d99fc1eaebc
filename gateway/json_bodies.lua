-- Refuses a body that is no JSON (RFC 8259) before the transcoder sees it, which reads more than
-- that: names without quotes, single ones, a comma too many, `5.`. It also drops what is no object
-- from a list of orders, whose results would no longer be those of the orders sent.

local DEPTH_MAX = 32
local LITERALS = { [116] = "^true()", [102] = "^false()", [110] = "^null()" }

-- Whole pieces where they are plain, which they nearly always are: each look at the text costs.
local BLANKS = "^[ \t\r\n]*()"
local PLAIN = '^"[^%z\1-\31"\\]*"()'
local PLAIN_NAME = '^"[^%z\1-\31"\\]*"[ \t\r\n]*:[ \t\r\n]*()'
local COMMA = "^[ \t\r\n]*,[ \t\r\n]*()"

local byte, match, sub = string.byte, string.match, string.sub
local wrong_at, wrong
local value

local function no(at, why)
  wrong_at, wrong = wrong_at or at, wrong or why
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
  local after = match(text, "^-?[1-9]%d*()", at) or match(text, "^-?0()", at)
  if not after then return no(at) end
  local found = byte(text, after)
  if found == 46 then
    after = match(text, "^%.%d+()", after) or after
    found = byte(text, after)
  end
  if found ~= 101 and found ~= 69 then return after end
  return match(text, "^[eE][+-]?%d+()", after) or after
end

-- Where the next element begins, or nil and where the list ends, or nil where it is wrong.
local function following(text, at, closing)
  local after = match(text, COMMA, at)
  if after then return after end
  at = match(text, BLANKS, at)
  if byte(text, at) ~= closing then return no(at) end
  return nil, at + 1
end

local function array(text, at, depth, of_orders)
  at = match(text, BLANKS, at + 1)
  if byte(text, at) == 93 then return at + 1 end
  local index, ending = 0, nil
  while at do
    if of_orders and byte(text, at) ~= 123 then
      return no(at, "orders[" .. index .. "] is no object: give an order there")
    end
    at = value(text, at, depth)
    if not at then return end
    at, ending = following(text, at, 93)
    index = index + 1
  end
  return ending
end

local function name(text, at)
  at = quoted(text, at)
  if not at then return end
  at = match(text, BLANKS, at)
  if byte(text, at) ~= 58 then return no(at) end
  return match(text, BLANKS, at + 1)
end

-- Letters may be written as escapes, and the transcoder reads them.
local function is_orders(name_and_more)
  local read = string.gsub(name_and_more, "\\u00(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end)
  return sub(read, 1, 8) == '"orders"'
end

local function object(text, at, depth)
  at = match(text, BLANKS, at + 1)
  if byte(text, at) == 125 then return at + 1 end
  local ending
  while at do
    local after = match(text, PLAIN_NAME, at) or name(text, at)
    if not after then return end
    local of_orders = depth == 1 and is_orders(sub(text, at, after - 1))
    at = value(text, after, depth, of_orders)
    if not at then return end
    at, ending = following(text, at, 125)
  end
  return ending
end

function value(text, at, depth, of_orders)
  local found = byte(text, at)
  if found == 34 then return match(text, PLAIN, at) or quoted(text, at) end
  if found == 123 or found == 91 then
    if depth == DEPTH_MAX then
      return no(at, "it is nested deeper than " .. DEPTH_MAX .. ": no request needs that")
    end
    return (found == 123 and object or array)(text, at, depth + 1, of_orders)
  end
  local literal = LITERALS[found]
  if not literal then return number(text, at) end
  return match(text, literal, at) or no(at)
end

local function judge(text)
  wrong_at, wrong = nil, nil
  local at = value(text, match(text, BLANKS), 0)
  at = at and match(text, BLANKS, at)
  if at and at <= #text then no(at) end
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
