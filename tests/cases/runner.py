"""Runs a case against any door, step by step.

A door is what a test writes for each way into the exchange: it does what it is told and says what
it saw, in the plain values of `parser`. It holds no rule and no expectation. What a door can't do
is missing from its `verbs`, and cases that need it are not for it.

Cases may share one running exchange: `prefix` (such as `7.`) is put before every client, id and
key, and each instrument is listed under a name of its own.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from tests.cases.parser import (
    Action,
    Cancel,
    CancelAll,
    Cancelled,
    Case,
    Ladder,
    Numbers,
    Place,
    ReadBook,
    ReadOrder,
    ReadPosition,
    Refused,
    Replace,
    Standing,
    Step,
    Terms,
    Trade,
)


class Door(Protocol):
    """A way into the exchange."""

    @property
    def verbs(self) -> frozenset[str]:
        """What it can do: words of `Case.needs`."""

    async def list_instrument(self, terms: Terms) -> None:
        """List an instrument."""

    async def place(self, order: Place) -> Standing | Refused:
        """Place an order; trades with it as maker or taker of this call, in order."""

    async def replace(self, change: Replace) -> Standing | Refused:
        """Replace an order."""

    async def cancel(self, cancel: Cancel) -> Standing | Refused:
        """Cancel an order."""

    async def cancel_all(self, cancel: CancelAll) -> Cancelled | Refused:
        """Cancel several."""

    async def order(self, order_id: str) -> Standing | None:
        """Read an order; None if it is unknown. Trades are not asked for."""

    async def book(self, instrument: str) -> Ladder:
        """Read all levels."""

    async def position(self, client: str, instrument: str) -> Numbers:
        """Read a position: net, cost, realised, unrealised, fees; all 0 where there is none."""


class Runner:
    """One case at one door."""

    def __init__(self, door: Door, case: Case, prefix: str = "") -> None:
        self.door = door
        self.case = case
        self.prefix = prefix

    async def run(self) -> None:
        """List what the case needs and do its steps; the first that differs fails."""
        named = {_instrument_of(step.action) or self.case.instrument for step in self.case.steps}
        listed = {terms.name for terms in self.case.terms}
        for terms in (*self.case.terms, *(Terms(name) for name in sorted(named - listed))):
            await self.door.list_instrument(replace(terms, name=self._market(terms.name)))
        for step in self.case.steps:
            seen = await self._do(step.action)
            self._compare(step, seen)

    async def _do(self, action: Action) -> Standing | Refused | Cancelled | Ladder | Numbers | None:
        door = self.door
        match action:
            case Place():
                return await door.place(
                    replace(
                        action,
                        client=self._name(action.client),
                        instrument=self._market(action.instrument),
                        order_id=self._name(action.order_id),
                        key=self._name(action.key),
                        reference=self._name(action.reference),
                    )
                )
            case Replace():
                return await door.replace(
                    replace(
                        action,
                        client=self._name(action.client),
                        order_id=self._name(action.order_id),
                        key=self._name(action.key),
                    )
                )
            case Cancel():
                return await door.cancel(
                    replace(
                        action,
                        client=self._name(action.client),
                        order_id=self._name(action.order_id),
                        key=self._name(action.key),
                    )
                )
            case CancelAll():
                return await door.cancel_all(
                    replace(
                        action,
                        client=self._name(action.client),
                        instrument=self._market(action.instrument),
                    )
                )
            case ReadOrder():
                return await door.order(self._name(action.order_id))
            case ReadPosition():
                return await door.position(
                    self._name(action.client), self._market(action.instrument)
                )
            case ReadBook():
                return await door.book(self._market(action.instrument))

    def _name(self, name: str) -> str:
        if not name or name == "-":
            return ""
        return name[1:] if name.startswith("!") else self.prefix + name

    def _market(self, name: str) -> str:
        letters = "".join(filter(str.isalnum, self.prefix)).upper()
        return f"{letters}{name}" if name else ""

    def _compare(
        self, step: Step, seen: Standing | Refused | Cancelled | Ladder | Numbers | None
    ) -> None:
        expected = step.expected
        match expected, seen:
            case Standing(), Standing():
                seen = replace(
                    seen,
                    reason=seen.reason if expected.reason is not None else None,
                    trades=self._own(seen) if expected.trades is not None else None,
                )
            case Refused(), Refused() if not expected.field:
                seen = Refused(seen.reason)
            case dict(), dict():
                seen = {word: seen.get(word, Decimal("NaN")) for word in expected}
            case _:
                pass
        where = f"{self.case.file}.book:{step.line}: {step.text}"
        assert seen == expected, f"{where}\n  expected {expected}\n  seen     {seen}"

    def _own(self, seen: Standing) -> tuple[Trade, ...]:
        return tuple(
            replace(trade, other_order_id=trade.other_order_id.removeprefix(self.prefix))
            for trade in seen.trades or ()
        )


def _instrument_of(action: Action) -> str:
    return getattr(action, "instrument", "")
