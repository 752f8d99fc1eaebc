"""Python clients of the exchange: `clients.client.ExchangeClient` is where to begin."""

ADDRESS = "127.0.0.1:50051"  # where the exchange serves gRPC unless it was told otherwise
