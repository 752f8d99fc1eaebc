"""Case files: what a trader does, line by line, and what must come of it.

A file holds cases. Each begins with `case TITLE`, which says the rule; `#` begins a comment. A line
is one step, with what must come of it after `->`. Numbers are decimals; `A`, `B` are clients.

    instrument BTC-USD tick 0.01 lot 0.001 min 0.01 max 100 fees -0.00005 0.0002 stp oldest

lists the instrument before the first step (`price-min`, `price-max` too; what is left out is as
wide as can be). The first instrument of a case, by default BTC-USD, is meant where none is named.

    place A buy 10 @ 101 [gtc|ioc|fok] [post-only] [stp MODE] [as ID] [key KEY] [ref REF] [on NAME]
    place A sell 10 market [fok] ...
    replace A ID [to 8] [@ 102] [key KEY]
    cancel A ID [key KEY]
    cancel-all A [buy|sell] [on NAME]

`-` for a client is no client id; stp modes are none, newest, oldest, both, decrement. An id, key or
client that begins with `!` is sent as it stands, without the prefix that keeps cases apart.

What comes of a place, replace or cancel is the order as it then is, `filled`, `open` (remaining)
and `cancelled` or `rejected` quantities, those that are 0 left out, with the reason of its end in
brackets if that is to be checked; then, where given, exactly these trades, with the other order:

    -> filled 6, cancelled 4 (immediate_or_cancel); trades 4 @ 100 with b1, 2 @ 101 with b2
    -> open 10
    -> refused price_off_tick price

A refusal names the reason and, where given, the field. Of cancel-all comes `-> cancelled 3`, a
number of orders. What is read:

    order ID -> open 4, filled 6                 (or `unknown`)
    position A [on NAME] -> net 6, cost 606, realised -1.5, unrealised 2, fees 0.12
    book [on NAME]                               then its levels, asks above bids as on a ladder:
      ask 102 5
      ask 101 1
      bid 100 7

`book` with no lines below is an empty book. Of a position, what is left out is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

DEFAULT_INSTRUMENT: Final = "BTC-USD"
# What the words are in the engine and on the wire.
SIDES: Final = {"": 0, "buy": 1, "sell": 2}
TIMES: Final = {"": 0, "gtc": 1, "ioc": 2, "fok": 3}
MODES: Final = {"": 0, "none": 1, "newest": 2, "oldest": 3, "both": 4, "decrement": 5}


@dataclass(frozen=True)
class Terms:
    """An instrument to be listed. None: as wide as can be; fees are rates."""

    name: str
    tick: str | None = None
    lot: str | None = None
    quantity_min: str | None = None
    quantity_max: str | None = None
    price_min: str | None = None
    price_max: str | None = None
    maker_fee: str = "0"
    taker_fee: str = "0"
    self_trade_prevention: str = "none"


@dataclass(frozen=True)
class Place:
    """A new order."""

    client: str
    side: str
    quantity: str
    price: str | None
    """None: a market order."""
    instrument: str
    time_in_force: str = ""
    """gtc, ioc, fok; empty: not given."""
    post_only: bool = False
    self_trade_prevention: str = ""
    order_id: str = ""
    key: str = ""
    reference: str = ""


@dataclass(frozen=True)
class Replace:
    """Another price and/or total quantity."""

    client: str
    order_id: str
    quantity: str | None = None
    price: str | None = None
    key: str = ""


@dataclass(frozen=True)
class Cancel:
    """The end of one order."""

    client: str
    order_id: str
    key: str = ""


@dataclass(frozen=True)
class CancelAll:
    """The end of all open orders of a client, or some."""

    client: str
    side: str = ""
    instrument: str = ""


@dataclass(frozen=True)
class ReadOrder:
    """An order by its id."""

    order_id: str


@dataclass(frozen=True)
class ReadPosition:
    """A client's position in one instrument."""

    client: str
    instrument: str


@dataclass(frozen=True)
class ReadBook:
    """All levels of a book."""

    instrument: str


Action = Place | Replace | Cancel | CancelAll | ReadOrder | ReadPosition | ReadBook


@dataclass(frozen=True)
class Refused:
    """The reason, in lower case, and the field without its unit; empty: not told or not checked."""

    reason: str
    field: str = ""


@dataclass(frozen=True)
class Trade:
    """One fill of the order in question."""

    quantity: Decimal
    price: Decimal
    other_order_id: str


@dataclass(frozen=True)
class Standing:
    """How an order stands."""

    filled: Decimal = Decimal(0)
    remaining: Decimal = Decimal(0)
    cancelled: Decimal = Decimal(0)
    rejected: bool = False
    reason: str | None = None
    """In lower case; None in an expectation: not checked."""
    trades: tuple[Trade, ...] | None = None
    """None in an expectation: not checked."""


@dataclass(frozen=True)
class Cancelled:
    """Number of orders that a cancel-all ended."""

    count: int


@dataclass(frozen=True)
class Ladder:
    """Levels as (price, quantity), best first."""

    bids: tuple[tuple[Decimal, Decimal], ...] = ()
    asks: tuple[tuple[Decimal, Decimal], ...] = ()


Numbers = dict[str, Decimal]
"""Of a position, by the words of the format."""

Expected = Refused | Standing | Cancelled | Ladder | Numbers | None
"""None: the order is unknown."""


@dataclass(frozen=True)
class Step:
    """One line: what is done, and what must come of it."""

    line: int
    text: str
    action: Action
    expected: Expected


@dataclass
class Case:
    """The steps under one title."""

    file: str
    title: str
    terms: list[Terms] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def name(self) -> str:
        """For the test's id."""
        return f"{self.file}:{re.sub('[^a-z0-9]+', '-', self.title.lower()).strip('-')}"

    @property
    def instrument(self) -> str:
        """The one that is meant where none is named."""
        return self.terms[0].name if self.terms else DEFAULT_INSTRUMENT

    @property
    def needs(self) -> frozenset[str]:
        """What a door must be able to do: verbs, and `stp`, `reference` where an order has one."""
        found = set()
        for step in self.steps:
            found.add(_VERBS[type(step.action)])
            if isinstance(step.action, Place):
                if step.action.self_trade_prevention:
                    found.add("stp")
                if step.action.reference:
                    found.add("reference")
        return frozenset(found)


_VERBS: Final[dict[type[Action], str]] = {
    Place: "place",
    Replace: "replace",
    Cancel: "cancel",
    CancelAll: "cancel-all",
    ReadOrder: "order",
    ReadPosition: "position",
    ReadBook: "book",
}


class CaseError(Exception):
    """A line that is not of the format."""


class Words:
    """The words of a line, taken from the left."""

    def __init__(self, text: str) -> None:
        self.left = text.split()

    def take(self) -> str:
        """The next word."""
        if not self.left:
            raise CaseError("the line ends too early")
        return self.left.pop(0)

    def options(self, flags: dict[str, str], values: dict[str, str]) -> Iterator[tuple[str, str]]:
        """What is left, as (field, value): words that stand alone, and words with a value."""
        while self.left:
            word = self.take()
            if word in flags:
                yield flags[word], word
            elif word in values:
                yield values[word], self.take()
            else:
                raise CaseError(f"{word!r} is not understood here")


_TIMES: Final = dict.fromkeys(("gtc", "ioc", "fok"), "time_in_force")
_SIDES: Final = dict.fromkeys(("buy", "sell"), "side")
_PLACE_VALUES: Final = {
    "stp": "self_trade_prevention",
    "as": "order_id",
    "key": "key",
    "ref": "reference",
    "on": "instrument",
}
_TERMS: Final = {
    "tick": "tick",
    "lot": "lot",
    "min": "quantity_min",
    "max": "quantity_max",
    "price-min": "price_min",
    "price-max": "price_max",
    "stp": "self_trade_prevention",
}


def cases(directory: Path) -> list[Case]:
    """All cases of a directory's files, in the order of their names."""
    return [case for path in sorted(directory.glob("*.book")) for case in parse(path)]


def parse(path: Path) -> list[Case]:
    """The cases of one file."""
    found: list[Case] = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = raw.partition("#")[0].rstrip()
        if not text:
            continue
        try:
            _line(path.stem, found, number, text)
        except (CaseError, IndexError, ArithmeticError) as error:
            raise CaseError(f"{path.name}:{number}: {error or 'not understood'}: {raw}") from error
    return found


def _line(file: str, found: list[Case], number: int, text: str) -> None:
    if text.startswith("case "):
        found.append(Case(file, text.removeprefix("case ").strip()))
        return
    case = found[-1]
    if text[0].isspace():
        case.steps[-1] = _with_level(case.steps[-1], text)
        return
    if text.startswith("instrument "):
        case.terms.append(_terms(Words(text.removeprefix("instrument "))))
        return
    done, _, outcome = text.partition("->")
    words = Words(done)
    verb = words.take()
    if verb not in _PARSERS:
        raise CaseError(f"there is no {verb!r}")
    action = _PARSERS[verb](words, case.instrument)
    case.steps.append(Step(number, text, action, _expected(action, outcome.strip())))


def _terms(words: Words) -> Terms:
    name = words.take()
    fees: dict[str, str] = {}
    if "fees" in words.left:
        at = words.left.index("fees")
        _, fees["maker_fee"], fees["taker_fee"] = words.left[at : at + 3]
        del words.left[at : at + 3]
    return Terms(name, **fees, **dict(words.options({}, _TERMS)))


def _place(words: Words, instrument: str) -> Place:
    client, side, quantity = words.take(), words.take(), words.take()
    price = None if (word := words.take()) == "market" else words.take()
    if price is not None and word != "@":
        raise CaseError(f"{word!r} in place of @ or market")
    post_only = "post-only" in words.left
    if post_only:
        words.left.remove("post-only")
    options = {"instrument": instrument} | dict(words.options(_TIMES, _PLACE_VALUES))
    return Place(client, side, quantity, price, post_only=post_only, **options)


def _replace(words: Words, _instrument: str) -> Replace:
    values = {"to": "quantity", "@": "price", "key": "key"}
    return Replace(words.take(), words.take(), **dict(words.options({}, values)))


def _cancel(words: Words, _instrument: str) -> Cancel:
    return Cancel(words.take(), words.take(), **dict(words.options({}, {"key": "key"})))


def _cancel_all(words: Words, _instrument: str) -> CancelAll:
    return CancelAll(words.take(), **dict(words.options(_SIDES, {"on": "instrument"})))


def _read_order(words: Words, _instrument: str) -> ReadOrder:
    return ReadOrder(words.take())


def _read_position(words: Words, instrument: str) -> ReadPosition:
    client = words.take()
    return ReadPosition(client, dict(words.options({}, {"on": "on"})).get("on", instrument))


def _read_book(words: Words, instrument: str) -> ReadBook:
    return ReadBook(dict(words.options({}, {"on": "on"})).get("on", instrument))


_PARSERS: Final[dict[str, Callable[[Words, str], Action]]] = {
    "place": _place,
    "replace": _replace,
    "cancel": _cancel,
    "cancel-all": _cancel_all,
    "order": _read_order,
    "position": _read_position,
    "book": _read_book,
}


def _expected(action: Action, text: str) -> Expected:
    if isinstance(action, ReadBook):
        return Ladder()
    if not text:
        raise CaseError("what must come of it is missing")
    if text == "unknown":
        return None
    if text.startswith("refused "):
        return Refused(*text.split()[1:3])
    if isinstance(action, CancelAll):
        return Cancelled(int(text.removeprefix("cancelled ")))
    if isinstance(action, ReadPosition):
        return {word: Decimal(number) for word, number in map(str.split, text.split(","))}
    return _standing(text)


def _standing(text: str) -> Standing:
    quantities, _, trades = text.partition(";")
    reason: str | None = None
    if "(" in quantities:
        quantities, _, rest = quantities.partition("(")
        reason = rest.strip().removesuffix(")")
    numbers = {word: Decimal(number) for word, number in map(str.split, quantities.split(","))}
    if not numbers or numbers.keys() - {"filled", "open", "cancelled", "rejected"}:
        raise CaseError(f"{quantities!r} is not how an order stands")
    return Standing(
        filled=numbers.get("filled", Decimal(0)),
        remaining=numbers.get("open", Decimal(0)),
        cancelled=numbers.get("cancelled", numbers.get("rejected", Decimal(0))),
        rejected="rejected" in numbers,
        reason=reason,
        trades=tuple(_trades(trades)) if trades else None,
    )


def _trades(text: str) -> Iterator[Trade]:
    for part in text.strip().removeprefix("trades").split(","):
        quantity, at, price, with_, other = part.split()
        if (at, with_) != ("@", "with"):
            raise CaseError(f"{part!r} is not `QUANTITY @ PRICE with ORDER`")
        yield Trade(Decimal(quantity), Decimal(price), other)


def _with_level(step: Step, text: str) -> Step:
    ladder = step.expected
    if not isinstance(ladder, Ladder):
        raise CaseError("levels stand below a book only")
    side, price, quantity = text.split()
    level = (Decimal(price), Decimal(quantity))
    if side == "ask":
        ladder = Ladder(ladder.bids, (level, *ladder.asks))
    elif side == "bid":
        ladder = Ladder((*ladder.bids, level), ladder.asks)
    else:
        raise CaseError(f"{side!r} in place of ask or bid")
    return Step(step.line, step.text, step.action, ladder)
