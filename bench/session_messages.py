"""The order stream as messages of a trading session.

A message is its commands' bytes one after the other, since that is what a repeated field is on the
wire; so one preparation of the commands serves every number of commands a message.
"""

from bench.flow import command, rows
from exchange.v1 import order_service_pb2
from server.core.commands import CancelOrder, Command, PlaceOrder


def session_commands(count: int) -> list[bytes]:
    """The stream's first `count` operations, each as it stands in a message, tag included."""
    return [
        order_service_pb2.TradingSessionRequest(
            commands=[_message(number, command(row))]
        ).SerializeToString()
        for number, row in enumerate(rows(count), start=1)
    ]


def messages(commands: list[bytes], size: int) -> list[bytes]:
    """Messages of `size` commands; what does not fill one is left out."""
    whole = len(commands) // size * size
    return [b"".join(commands[start : start + size]) for start in range(0, whole, size)]


def _message(number: int, wanted: Command) -> order_service_pb2.SessionCommand:
    message = order_service_pb2.SessionCommand(request_id=number)
    if isinstance(wanted, CancelOrder):
        message.cancel.client_id = wanted.client_id
        message.cancel.order_id = wanted.order_id
    else:
        assert isinstance(wanted, PlaceOrder)
        place = message.place
        place.client_id = wanted.client_id
        place.instrument = wanted.instrument
        place.side = wanted.side  # type: ignore[assignment]
        place.type = wanted.order_type  # type: ignore[assignment]
        place.price_e8 = wanted.price_e8
        place.quantity_e8 = wanted.quantity_e8
        place.time_in_force = wanted.time_in_force  # type: ignore[assignment]
        place.order_id = wanted.order_id
    return message
