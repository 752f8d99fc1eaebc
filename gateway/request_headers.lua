-- Leaves out what the server doesn't read of the headers of a request. gRPC in Python writes an
-- error, with the value, for each that is not ASCII, and the value may be a secret.

local READ = {
  ["content-length"] = true,
  ["content-type"] = true,
  ["x-forwarded-for"] = true,
  ["x-request-id"] = true,
}
local READ_OF_GRPC = {
  ["grpc-accept-encoding"] = true,
  ["grpc-encoding"] = true,
  ["grpc-timeout"] = true,
  te = true,
}

local function leave_out_unread(headers, is_grpc)
  local unread = {}
  for name in pairs(headers) do
    local is_read = READ[name] or is_grpc and READ_OF_GRPC[name] or string.sub(name, 1, 1) == ":"
    if not is_read then unread[#unread + 1] = name end
  end
  for _, name in ipairs(unread) do
    headers:remove(name)
  end
  -- The last address is what the gateway saw; those before it are the caller's own.
  local forwarded = headers:get("x-forwarded-for")
  headers:replace("x-forwarded-for", string.match(forwarded, "[^, ]*$"))
end
