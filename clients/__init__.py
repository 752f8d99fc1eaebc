"""Python clients of the exchange: `clients.client.ExchangeClient` is where to begin."""
