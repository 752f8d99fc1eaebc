"""The WebSocket bridge: `/stream`, a process that holds nothing but connections."""
