function envoy_on_request(handle)
  name_request(handle)
  leave_out_unread(handle:headers(), true)
end
