"""The HTTP JSON door: the documented shapes over the same commands and reads as gRPC."""
