"""Examples of each call, in the order in which one after the other succeeds; the tests run them.

An HTTP example is keyed by the method's name in `exchange.http.v1` and holds path and query
parameters, and the body. A gRPC example is keyed by the full name and holds the request, or the
first message of a stream, in JSON.
"""

from typing import Any, Final

BASE: Final = "http://127.0.0.1:3000"
"""Where the exchange is unless it is told otherwise."""

HTTP_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "PlaceOrder": {
        "body": {
            "client_id": "alice",
            "instrument": "BTC-USD",
            "side": "sell",
            "type": "limit",
            "price": 70150.5,
            "quantity": 0.25,
            "order_id": "docs-1",
            "idempotency_key": "docs-first",
        }
    },
    "PlaceOrders": {
        "body": {
            "orders": [
                {"client_id": "bob", "side": "buy", "type": "market", "quantity": 0.1},
                {
                    "client_id": "bob",
                    "side": "buy",
                    "type": "limit",
                    "price": "69999.5",
                    "quantity": "1",
                    "time_in_force": "gtc",
                    "post_only": True,
                },
            ]
        }
    },
    "GetOrder": {"parameters": {"order_id": "docs-1"}},
    "ListOrders": {"parameters": {"client_id": "alice", "status": "working"}},
    "GetOrderBook": {"parameters": {"instrument": "BTC-USD", "levels": "10"}},
    "ListTrades": {"parameters": {"instrument": "BTC-USD", "client_id": "alice", "limit": "50"}},
    "GetBestQuotes": {"parameters": {"instrument": "BTC-USD"}},
    "GetTicker": {"parameters": {"instrument": "BTC-USD"}},
    "GetStatistics": {"parameters": {"instrument": "BTC-USD"}},
    "GetAnalytics": {"parameters": {"instrument": "BTC-USD", "interval": "5"}},
    "StreamTrades": {"parameters": {"instrument": "BTC-USD", "from_sequence": "1"}},
    "StreamOrderBook": {"parameters": {"instrument": "BTC-USD"}},
    "ListPositions": {"parameters": {"client_id": "alice"}},
    "CreateSnapshot": {"body": {"instrument": "BTC-USD"}},
    "ListInstruments": {},
    "GetIndex": {},
    "GetHealth": {},
    "GetMetrics": {},
    "ReplaceOrder": {
        "parameters": {"order_id": "docs-1"},
        "body": {"client_id": "alice", "price": 70151, "quantity": 0.5},
    },
    "CancelOrder": {"parameters": {"order_id": "docs-1"}, "body": {"client_id": "alice"}},
    "CancelOrders": {"body": {"client_id": "bob", "side": "buy"}},
}

_ORDER: Final = {
    "clientId": "carol",
    "instrument": "ETH-USD",
    "side": "SIDE_BUY",
    "type": "ORDER_TYPE_LIMIT",
    "priceE8": "350000000000",
    "quantityE8": "100000000",
}
GRPC_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "OrderService.PlaceOrder": _ORDER | {"orderId": "docs-2", "idempotencyKey": "docs-second"},
    "OrderService.PlaceOrders": {"orders": [_ORDER | {"orderId": "docs-3"}]},
    "OrderService.ReplaceOrder": {
        "clientId": "carol",
        "orderId": "docs-2",
        "quantityE8": "50000000",
    },
    "OrderService.GetOrder": {"orderId": "docs-2"},
    "OrderService.ListOrders": {"clientId": "carol", "working": True, "pageSize": 10},
    "OrderService.CancelOrder": {"orderId": "docs-2", "clientId": "carol"},
    "OrderService.CancelOrders": {"clientId": "carol", "instrument": "ETH-USD"},
    "OrderService.TradingSession": {"open": {"clientId": "carol", "cancelOnDisconnect": True}},
    "OrderService.StreamOrderEvents": {"clientId": "carol", "afterSequence": "0"},
    "MarketData.ListInstruments": {},
    "MarketData.GetOrderBook": {"instrument": "ETH-USD", "levels": 5},
    "MarketData.GetOrderBooks": {
        "requests": [{"instrument": "BTC-USD"}, {"instrument": "ETH-USD"}]
    },
    "MarketData.ListTrades": {"instrument": "BTC-USD", "pageSize": 10},
    "MarketData.GetTicker": {"instrument": "BTC-USD"},
    "MarketData.GetAnalytics": {"instrument": "BTC-USD", "intervalMinutes": 5},
    "MarketData.GetStatistics": {"instrument": "BTC-USD"},
    "MarketData.StreamOrderBook": {"instrument": "BTC-USD"},
    "MarketData.StreamTrades": {"instrument": "BTC-USD"},
    "MarketData.StreamTicker": {"instrument": "BTC-USD"},
    "AccountService.ListPositions": {"clientId": "alice"},
    "AccountService.ListFeeAccounts": {},
    "AdminService.SetInstrument": {
        "instrument": {"name": "DOT-USD", "tickE8": "1000000", "lotE8": "1000000"},
        "updateMask": "tickE8,lotE8",
    },
    "AdminService.SetFees": {"instrument": "DOT-USD", "makerFeeE6": -100, "takerFeeE6": 500},
    "AdminService.GetStatus": {},
    "AdminService.CreateSnapshot": {},
    "AdminService.StreamJournal": {"afterSequence": "0", "untilNow": True},
    "AdminService.ReportFollower": {"follower": "docs", "sequence": "1"},
    "AdminService.RemoveFollower": {"follower": "docs"},
    "AdminService.SetLogLevel": {"level": "info"},
    "AdminService.SettleDay": {"date": "2026-10-31"},
    "PartService.ListParts": {},
    "PartService.ReportParts": {"parts": [{"name": "redis", "problem": "no answer within 1 s"}]},
}
