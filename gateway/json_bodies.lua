-- Judges a body before the transcoder sees it, which reads more than JSON (RFC 8259) has: names
-- without quotes, single ones, a comma too many, `5.`; and more than fields take: "0x10" for a
-- number, "yes" for a truth. What is wrong with one order of a list is told of that order alone: the
-- server gets what to refuse in its place. So it does for what is no object, which the transcoder
-- would drop, and results would no longer be those of the orders sent. An id that the path holds, the
-- body may only repeat or leave empty. A field without a name, which the transcoder refuses, is one
-- that nobody knows.
--
-- BODIES stands before this: of each message that is a body, what its fields take.

local DEPTH_MAX = 32
local VALUE_BYTES_MAX = 80
local ELEMENTS_MAX = 1000 -- More are refused by the server in any case.
local LITERALS = { [116] = "^true()", [102] = "^false()", [110] = "^null()" }

-- Whole pieces where they are plain, which they nearly always are: each look at the text costs.
local BLANKS = "^[ \t\r\n]*()"
local PLAIN = '^"[^%z\1-\31"\\]*"()'
local PLAIN_NAME = '^"([^%z\1-\31"\\]*)"[ \t\r\n]*:[ \t\r\n]*()'
local COMMA = "^[ \t\r\n]*,[ \t\r\n]*()"

local byte, gsub, match, sub = string.byte, string.gsub, string.match, string.sub
local wrong_at, wrong -- Of the whole body.
local misfit -- Of the object that ended last: a field, its value, and what it takes instead.
local elements, unreadable -- How many there were so far in lists of messages, and of these.
local pieces, passed -- Of a body that goes on as another one, and up to where they reach.
local in_path -- What the path holds, by the names that the body may have for it.
local object, value

local TRUTHS = { ["true"] = true, ["false"] = true, ['"true"'] = true, ['"false"'] = true }
local NOT_FINITE = { ['"NaN"'] = true, ['"Infinity"'] = true, ['"-Infinity"'] = true }
local FITS = {
  ["a string"] = function(raw) return byte(raw) == 34 end,
  ["a finite number"] = function(raw)
    if NOT_FINITE[raw] then return true end -- The server knows better what to say.
    -- One class only: two that share characters would take the square of a long text's time.
    local read = tonumber(match(raw, '^"?([%d.eE+-]+)"?$'))
    return read and read > -math.huge and read < math.huge
  end,
  ["true or false"] = function(raw) return TRUTHS[raw] end,
  ["a list"] = function(raw) return byte(raw) == 91 end,
  ["a field for callers"] = function() return false end,
}

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

-- A value as a message repeats it; the server cuts it at the same place.
local function shown(raw)
  local text = gsub(match(raw, '^"(.*)"$') or raw, "[^ -~]", "?")
  return #text <= VALUE_BYTES_MAX and text or sub(text, 1, VALUE_BYTES_MAX) .. "…"
end

local function replace(text, from, to, by)
  pieces[#pieces + 1] = sub(text, passed + 1, from - 1)
  pieces[#pieces + 1] = by
  passed = to
end

local function unreadable_order()
  return string.format(
    '{"unreadable":{"field":"%s","value":"%s","limit":"%s"}}',
    misfit.field, gsub(shown(misfit.value), '["\\]', "\\%0"), misfit.takes
  )
end

-- Of a list of messages: what the fields of each take, and the list's name.
local function array(text, at, depth, fields, of)
  at = match(text, BLANKS, at + 1)
  if byte(text, at) == 93 then return at + 1 end
  local ending
  while at do
    local after
    local kept, kept_passed = #pieces, passed
    if fields and byte(text, at) == 123 then
      after = object(text, at, depth + 1, fields)
    else
      after = value(text, at, depth)
      if fields and after then
        local field = elements < ELEMENTS_MAX and of .. "[" .. elements .. "]"
        misfit = { field = field, value = sub(text, at, after - 1), takes = "an object" }
      end
    end
    if not after then return end
    if fields then
      elements = elements + 1
      if misfit then
        unreadable = unreadable + 1
        while #pieces > kept do pieces[#pieces] = nil end
        passed = kept_passed
        if elements <= ELEMENTS_MAX then replace(text, at, after - 1, unreadable_order()) end
      end
    end
    at, ending = following(text, after, 93)
  end
  return ending
end

-- Letters may be written as escapes, and the transcoder reads them.
local function unescaped(text)
  return (gsub(text, "\\u00(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function name(text, at)
  local after = quoted(text, at)
  if not after then return end
  local read = unescaped(sub(text, at + 1, after - 2))
  at = match(text, BLANKS, after)
  if byte(text, at) ~= 58 then return no(at) end
  return read, match(text, BLANKS, at + 1)
end

function object(text, at, depth, fields)
  local found, ending
  at = match(text, BLANKS, at + 1)
  if byte(text, at) == 125 then at, ending = nil, at + 1 end
  while at do
    local field, begin = match(text, PLAIN_NAME, at)
    if not field then field, begin = name(text, at) end
    if not begin then return end
    if field == "" then replace(text, at, at + 1, '"nameless"') end
    local takes = fields and fields[field]
    local first = byte(text, begin)
    if type(takes) == "table" and first == 91 then
      at = array(text, begin, depth + 1, takes, field)
    else
      at = value(text, begin, depth)
    end
    if not at then return end
    if takes and first ~= 110 then -- null: as if it were not there.
      if type(takes) == "table" then takes = "a list" end
      local raw = sub(text, begin, at - 1)
      local read = unescaped(raw)
      local fits, here = FITS[takes](read), depth == 1 and in_path[field] or read
      if read == '""' and here ~= read then
        replace(text, begin, at - 1, "null") -- Empty is none, and the transcoder would refuse it.
      elseif fits and read ~= here then
        fits, takes = false, "that of the path"
      end
      if not fits then found = found or { field = field, value = raw, takes = takes } end
    end
    at, ending = following(text, at, 125)
  end
  misfit = found
  return ending
end

function value(text, at, depth)
  local found = byte(text, at)
  if found == 34 then return match(text, PLAIN, at) or quoted(text, at) end
  if found == 123 or found == 91 then
    if depth == DEPTH_MAX then
      return no(at, "the request body is nested deeper than " .. DEPTH_MAX .. ": no request needs that")
    end
    return (found == 123 and object or array)(text, at, depth + 1)
  end
  local literal = LITERALS[found]
  if not literal then return number(text, at) end
  return match(text, literal, at) or no(at)
end

-- Where a text is no UTF-8; what is replaced the transcoder doesn't see.
local function not_utf8(text)
  local at = 1
  while true do
    at = match(text, "^[%z\1-\127]*()", at)
    if at > #text then return end
    local after = match(text, "^[\194-\223][\128-\191]()", at)
      or match(text, "^\224[\160-\191][\128-\191]()", at)
      or match(text, "^[\225-\236\238\239][\128-\191][\128-\191]()", at)
      or match(text, "^\237[\128-\159][\128-\191]()", at)
      or match(text, "^\240[\144-\191][\128-\191][\128-\191]()", at)
      or match(text, "^[\241-\243][\128-\191][\128-\191][\128-\191]()", at)
      or match(text, "^\244[\128-\143][\128-\191][\128-\191]()", at)
    if not after then return at end
    at = after
  end
end

-- Why a body is refused, or what goes on in its place where something does.
local function judge(text, fields)
  wrong_at, wrong, misfit, elements, unreadable, pieces, passed = nil, nil, nil, 0, 0, {}, 0
  local at = match(text, BLANKS)
  if byte(text, at) == 123 then
    at = object(text, at, 1, fields)
  else
    local begin = at
    at = value(text, begin, 0)
    misfit = at and { field = "the request body", value = sub(text, begin, at - 1), takes = "an object" }
  end
  at = at and match(text, BLANKS, at)
  if at and at <= #text then no(at) end
  if passed > 0 then wrong_at = wrong_at or not_utf8(text) end
  if wrong then return wrong end
  if wrong_at then
    local found = wrong_at <= #text and "what stands at byte " .. wrong_at or "its end"
    return "the request body is no JSON, by " .. found .. ": send it as RFC 8259 has it"
  end
  if misfit then
    local given = misfit.field .. ' "' .. shown(misfit.value)
    return given .. '" is not ' .. misfit.takes .. ": send one that is"
  end
  if elements > ELEMENTS_MAX and unreadable > 0 then
    return "orders is " .. elements .. ", the limit is " .. ELEMENTS_MAX .. ": send fewer"
  end
  if passed > 0 then return nil, table.concat(pieces) .. sub(text, passed + 1) end
end

-- The id that the path holds, as JSON has it, by the names of its field.
local function held_by(path, context)
  local names, found = context:get("in_path") or {}, {}
  for name in pairs(names) do
    local id = gsub(match(path, context:get("path")), "%%(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end)
    found[name] = '"' .. id .. '"'
  end
  return found
end

function envoy_on_request(handle)
  local body = handle:body()
  if not body or body:length() == 0 then return end
  local context = handle:filterContext()
  local fields = BODIES[context:get("body")]
  in_path = held_by(handle:headers():get(":path"), context)
  local why, other = judge(body:getBytes(0, body:length()), fields)
  if why then return handle:respond({ [":status"] = "400" }, why) end
  if other then body:setBytes(other) end
end
