-- Finishes what the transcoder wrote. Stands before it in the chain, so it sees replies after it.
-- Successful replies are touched on the one route that creates something; errors get `error` as
-- the first field, a copy of `message`, and 429 says when to come back, unless the server did. A
-- call that gRPC itself cancelled, without a word, becomes `ENDED`. A reply that is no error and not
-- 200 either (health) names its status in a header. What the server says of rate limits comes behind
-- the reply, in its trailers, which HTTP/1.1 clients don't get. The reply to HEAD is that to GET up to
-- its body. Errors that are not the server's are counted: one thread serves all callers, so that what
-- it counts here is all there is. The route of these figures gets them for a body.

local RETRY_AFTER_SECONDS = "1"
local HEAD = "exchange.head"
local FIGURES_TYPE = "text/plain; version=0.0.4; charset=utf-8"
local FIGURES_BEGIN = [[
# HELP gateway_errors_total Errors over HTTP that the gateway itself answered with, by status.
# TYPE gateway_errors_total counter
]]
local NAMED_STATUS = "x-exchange-http-status"
local RATE_LIMITS = { "x-ratelimit-limit", "x-ratelimit-remaining" }

local own_errors = {} -- How many there were so far, by status.

local function count_own_error(status)
  own_errors[status] = (own_errors[status] or 0) + 1
end

local function show_figures(handle)
  local counts = {}
  for status, count in pairs(own_errors) do
    counts[#counts + 1] = string.format('gateway_errors_total{code="%s"} %d\n', status, count)
  end
  table.sort(counts)
  handle:headers():replace("content-type", FIGURES_TYPE)
  handle:body():setBytes(FIGURES_BEGIN .. table.concat(counts))
end

local function repeat_message_as_error(handle, status)
  local body = handle:body()
  if not body then return count_own_error(status) end
  local text = body:getBytes(0, body:length())
  -- Quotes inside a message are escaped, so the pattern ends where the message does. The gateway's
  -- own errors have their fields in another order and have `error` already.
  local message = string.match(text, '^{"code":%d+,"message":(".-"),"details":%[')
  if not message then return count_own_error(status) end
  body:setBytes('{"error":' .. message .. ',' .. string.sub(text, 2))
end

local function show_rate_limits(handle)
  -- The transcoder names the status of a reply once all of it is here; of a stream it never does.
  if not handle:headers():get("grpc-status") then return end
  -- The trailers come behind the body; what was at hand before that can't be used after it.
  handle:body()
  local headers, trailers = handle:headers(), handle:trailers()
  if not trailers then return end
  for _, name in ipairs(RATE_LIMITS) do
    local value = trailers:get(name)
    if value then headers:replace(name, value) end
  end
end

local function say_that_it_ended(handle)
  count_own_error("503")
  handle:headers():replace(":status", "503")
  handle:body():setBytes(ENDED)
end

-- HTTP/1.1 sends none to HEAD; HTTP/2 would.
local function leave_out_body(handle)
  local body = handle:body()
  if not body then return end
  local length = body:length()
  body:setBytes("")
  handle:headers():replace("content-length", tostring(length))
end

local function finish(handle)
  local status = handle:headers():get(":status")
  if status == "200" then
    local named = handle:headers():get(NAMED_STATUS)
    if named then
      handle:headers():remove(NAMED_STATUS)
      handle:headers():replace(":status", named)
    end
    local context = handle:filterContext()
    if context:get("creates") then handle:headers():replace(":status", "201") end
    if context:get("figures") then return show_figures(handle) end
    show_rate_limits(handle)
    return
  end
  if status < "400" then return end
  if status == "499" then return say_that_it_ended(handle) end
  if status == "429" and not handle:headers():get("retry-after") then
    handle:headers():replace("retry-after", RETRY_AFTER_SECONDS)
  end
  repeat_message_as_error(handle, status)
end

function envoy_on_response(handle)
  finish(handle)
  if handle:streamInfo():dynamicMetadata():get(HEAD) then leave_out_body(handle) end
end
