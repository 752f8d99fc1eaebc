-- Looks at a call of JSON before anything else does. Refuses a query parameter that stands for an id
-- of the path: the transcoder would put its value in the place of that id; and one that the call does
-- not take, which the transcoder would name by a message of the contract. Refuses too what a page of
-- another origin has a browser do: without asking, it sends orders and cancels as forms. A path that
-- is not ASCII is refused over HTTP/1.1 already; the transcoder makes a header of it. HEAD is GET to
-- the transcoder. The body of either means nothing, and it would take it for parameters.

local COMMANDS = { POST = true, DELETE = true }
local OTHER_SITES = { ["cross-site"] = true, ["same-site"] = true }

local function refuse(handle, status, why)
  handle:respond({ [":status"] = status }, why)
end

local function decoded(text)
  return (string.gsub(text, "%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local NAME_BYTES_MAX = 80

-- What is wrong with a parameter of the query; one without a value or a name means nothing.
local function misplaced(handle, path)
  local query = string.match(path, "%?(.*)")
  if not query then return end
  local context = handle:filterContext()
  -- What is no call has none of them, and is refused for that.
  local in_path, in_query = context:get("in_path") or {}, context:get("in_query")
  local unknown
  for part in string.gmatch(query, "[^&]+") do
    local name, given = string.match(part, "^([^=]*)(=?)")
    local meant = decoded(name)
    if in_path[meant] then
      return "the query parameter " .. meant .. " is in the path: leave it out"
    end
    if in_query and name ~= "" and given ~= "" and not in_query[meant] then
      unknown = unknown or string.sub(name, 1, NAME_BYTES_MAX)
    end
  end
  if not unknown then return end
  return 'the query parameter "' .. unknown .. '" is none that this call takes: leave it out'
end

-- Origins are compared as the WebSocket bridge compares them.
local function is_of_another_origin(headers)
  if OTHER_SITES[headers:get("sec-fetch-site")] then return true end
  local origin = headers:get("origin")
  return origin and string.match(origin, "://(.*)") ~= headers:get(":authority")
end

local function drop_body(handle)
  for chunk in handle:bodyChunks() do
    chunk:setBytes("")
  end
end

function envoy_on_request(handle)
  name_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path") or "" -- CONNECT has none.
  if string.find(path, "[\128-\255]") then
    return refuse(handle, "400", "the path has bytes that are no ASCII: send each as %XX")
  end
  if string.match(path, "^[^?]*%%00") then
    return refuse(handle, "400", "the path has a %00, which no id holds: send it without")
  end
  local wrong = misplaced(handle, path)
  if wrong then return refuse(handle, "400", wrong) end
  local method = headers:get(":method")
  if COMMANDS[method] and is_of_another_origin(headers) then
    return refuse(handle, "403", "the page is from another origin than the exchange")
  end
  if method == "HEAD" then
    headers:replace(":method", "GET")
    handle:streamInfo():dynamicMetadata():set(HEAD, "asked", true)
  end
  leave_out_unread(headers, false)
  if not COMMANDS[method] then drop_body(handle) end
end
