-- Passes gRPC calls on. One in a compression that the server doesn't know is refused here, as the
-- protocol of gRPC says: the server's gRPC would write an error for each.

local COMPRESSIONS = { identity = true, deflate = true, gzip = true }
local CHARACTERS_SHOWN = 40

function envoy_on_request(handle)
  name_request(handle)
  local given = handle:headers():get("grpc-encoding")
  if given and not COMPRESSIONS[given] then
    local shown = string.sub(given, 1, CHARACTERS_SHOWN)
    -- 404 is UNIMPLEMENTED to callers of gRPC.
    return handle:respond(
      { [":status"] = "404", ["grpc-accept-encoding"] = "identity, deflate, gzip" },
      "grpc-encoding " .. shown .. " is not taken: send identity, deflate or gzip"
    )
  end
  leave_out_unread(handle:headers(), true)
end
