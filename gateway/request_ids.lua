-- Gives a request the id that its caller named it with, if that is one that lines of a log can hold;
-- otherwise the one that the gateway made stays. Both go on to the server and back to the caller.

local GIVEN = "x-given-request-id"
local CHARACTERS_MAX = 128

local function name_request(handle)
  local headers = handle:headers()
  local given = headers:get(GIVEN)
  if not given then return end
  headers:remove(GIVEN)
  if #given <= CHARACTERS_MAX and string.find(given, "^[%w._:/+=-]+$") then
    headers:replace("x-request-id", given)
  end
end
