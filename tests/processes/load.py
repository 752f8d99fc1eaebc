"""A client that sends orders until its server is gone, and remembers what it was told."""

import threading
from collections.abc import Iterator
from typing import Final, Self

import grpc

from exchange.v1.order_service_pb2 import (
    CancelOrderRequest,
    CancelOrdersRequest,
    PlaceOrderRequest,
    ReplaceOrderRequest,
    SessionCommand,
    SessionOutcome,
    TradingSessionOpen,
    TradingSessionRequest,
)
from exchange.v1.order_service_pb2_grpc import OrderServiceStub

COMMANDS_PER_MESSAGE: Final = 20
MESSAGES_UNDER_WAY: Final = 4
SECONDS: Final = 30.0
E8: Final = 100_000_000


class Load:
    """Sends over a trading session from a thread; every command has a key.

    Orders of four clients around one price, so that many trade, and every fifth command cancels
    an order sent before.
    """

    def __init__(self, address: str, name: str) -> None:
        self.sent: dict[str, SessionCommand] = {}
        """By key."""
        self.acknowledged: dict[str, SessionOutcome] = {}
        """By key; refusals are not acknowledgements of anything."""
        self.error = ""
        self._name = name
        self._address = address
        self._more = threading.Condition()
        self._stopped = False
        self.answers = 0
        """Messages that are answered."""
        self._room = threading.Semaphore(MESSAGES_UNDER_WAY)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends when the server does, or now."""
        self._stopped = True
        self._room.release()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def wait(self, messages: int) -> None:
        """Until so many messages are answered."""
        with self._more:
            done = self._more.wait_for(lambda: self.answers >= messages or self.error, SECONDS)
        assert done, "no answers"
        assert not self.error, self.error

    def unanswered(self) -> list[SessionCommand]:
        """Sent, with an outcome that nobody knows, and to be resolved by a repeat."""
        unknown = [it for key, it in self.sent.items() if key not in self.acknowledged]
        return [it for it in unknown if has_key(it)]

    def _messages(self) -> Iterator[TradingSessionRequest]:
        yield TradingSessionRequest(open=TradingSessionOpen())
        number = 0
        while True:
            self._room.acquire()
            if self._stopped:
                return
            commands = []
            for _ in range(COMMANDS_PER_MESSAGE):
                command = self._command(number)
                self.sent[key_of(command)] = command
                commands.append(command)
                number += 1
            yield TradingSessionRequest(commands=commands)

    def _command(self, number: int) -> SessionCommand:
        name = f"{self._name}-{number}"
        client = f"client-{number % 4}"
        if number % 5 == 4:
            earlier = f"{self._name}-{number - 4}"
            cancel = CancelOrderRequest(
                client_id=f"client-{(number - 4) % 4}", order_id=earlier, idempotency_key=name
            )
            return SessionCommand(request_id=number, cancel=cancel)
        place = PlaceOrderRequest(
            client_id=client,
            instrument="BTC-USD",
            side=1 + number // 4 % 2,  # type: ignore[arg-type]
            type=1,  # type: ignore[arg-type]
            quantity_e8=E8 * (1 + number % 3),
            price_e8=(70_000 + number * 7 % 5) * E8,
            order_id=name,
            idempotency_key=name,
        )
        return SessionCommand(request_id=number, place=place)

    def _run(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            try:
                for answer in OrderServiceStub(channel).TradingSession(self._messages()):
                    for outcome in answer.outcomes:
                        if outcome.WhichOneof("outcome") != "refused":
                            key = f"{self._name}-{outcome.request_id}"
                            self.acknowledged[key] = outcome
                    if answer.outcomes:
                        self._room.release()
                        with self._more:
                            self.answers += 1
                            self._more.notify_all()
            except grpc.RpcError as error:
                self._end(str(error))
        self._end("the session ended")

    def _end(self, error: str) -> None:
        with self._more:
            self.error = self.error or error
            self._more.notify_all()
        # The generator may be waiting for room, and with it the channel.
        self._stopped = True
        self._room.release()


class MixedLoad(Load):
    """Also replaces, which keep their place or lose it, orders that never rest, and every twentieth
    command cancels all orders of a client of whom nothing more is heard."""

    def _command(self, number: int) -> SessionCommand:
        command = super()._command(number)
        name = f"{self._name}-{number}"
        client = f"{self._name}-{number - number % 20 + 19}"
        match number % 20:
            case 16 | 17 | 18:
                command.place.client_id = client
            case 19:
                cancel_all = CancelOrdersRequest(client_id=client)
                return SessionCommand(request_id=number, cancel_all=cancel_all)
            case 7 | 12:
                replace = ReplaceOrderRequest(
                    client_id=f"client-{(number - 1) % 4}",
                    order_id=f"{self._name}-{number - 1}",
                    quantity_e8=E8 // 2,
                    idempotency_key=name,
                )
                if number % 20 == 12:
                    replace.price_e8 = (70_000 + number * 3 % 5) * E8
                return SessionCommand(request_id=number, replace=replace)
            case 8:
                command.place.time_in_force = "TIME_IN_FORCE_IMMEDIATE_OR_CANCEL"  # type: ignore[assignment]
            case 13:
                command.place.type = "ORDER_TYPE_MARKET"  # type: ignore[assignment]
                command.place.price_e8 = 0
        return command


def bid(number: int) -> PlaceOrderRequest:
    """One of many that rest; without a key, since what is remembered of keys would keep the journal
    for an hour."""
    return PlaceOrderRequest(
        client_id="alice",
        instrument="BTC-USD",
        side="SIDE_BUY",
        type="ORDER_TYPE_LIMIT",
        quantity_e8=E8,
        price_e8=(1 + number % 500) * E8,
        order_id=f"o-{number}",
    )


def repeat(address: str, commands: list[SessionCommand]) -> dict[str, SessionOutcome]:
    """Send commands once more over a new session: their outcomes by key."""
    messages = [TradingSessionRequest(open=TradingSessionOpen())]
    messages += [
        TradingSessionRequest(commands=commands[start : start + 1_000])
        for start in range(0, len(commands), 1_000)
    ]
    keys = [key_of(command) for command in commands]
    outcomes: list[SessionOutcome] = []
    with grpc.insecure_channel(address) as channel:
        for answer in OrderServiceStub(channel).TradingSession(iter(messages), timeout=SECONDS):
            outcomes += answer.outcomes
    return dict(zip(keys, outcomes, strict=True))


def key_of(command: SessionCommand) -> str:
    """What it is known by: the idempotency key, or the client that only a cancel-all is about."""
    match command.WhichOneof("command"):
        case "place":
            return command.place.idempotency_key
        case "replace":
            return command.replace.idempotency_key
        case "cancel":
            return command.cancel.idempotency_key
    return command.cancel_all.client_id


def has_key(command: SessionCommand) -> bool:
    """Whether a repeat is answered as the first one was."""
    return not command.HasField("cancel_all")


def sequence_of(outcome: SessionOutcome) -> int:
    """At which sequence it was accepted; 0 where it was refused."""
    kind = outcome.WhichOneof("outcome")
    return getattr(outcome, kind).sequence if kind and kind != "refused" else 0


def first_answer(outcome: SessionOutcome) -> bytes:
    """What a repeat must answer again: all but the mark that it is one."""
    plain = SessionOutcome()
    plain.CopyFrom(outcome)
    plain.request_id = 0
    kind = plain.WhichOneof("outcome")
    if kind and kind != "refused":
        getattr(plain, kind).repeated = False
    return plain.SerializeToString(deterministic=True)
