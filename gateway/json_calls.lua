-- Looks at a call of JSON before anything else does. Refuses a query parameter that stands for an id
-- of the path: the transcoder would put its value in the place of that id.

local function refuse(handle, status, why)
  handle:respond({ [":status"] = status }, why)
end

local function decoded(text)
  return (string.gsub(text, "%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local function named_again(handle)
  local query = string.match(handle:headers():get(":path"), "%?(.*)")
  if not query then return end
  local in_path = handle:filterContext()
  for name in string.gmatch(query, "([^&=]+)[^&]*") do
    name = decoded(name)
    if in_path:get(name) then return name end
  end
end

function envoy_on_request(handle)
  name_request(handle)
  local again = named_again(handle)
  if again then
    return refuse(handle, "400", "the query parameter " .. again .. " is in the path: leave it out")
  end
end
