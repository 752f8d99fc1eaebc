"""Commands applied and recorded without a disk: what a follower is given, and the state."""

from server.core.commands import Command
from server.core.engine import Engine
from server.core.events import Event
from server.followers.postgres import PostgresFollower
from server.journal.record import BATCH, Record
from tests.journal.site import START_NS, applied

JOURNAL = b"j" * 16
NAME = "BTC-USD"


class Written:
    """An engine, and the records of all that it took."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.records: list[Record] = []

    def commit(self, *commands: Command, time_ns: int = 0) -> list[list[Event]]:
        """Apply the commands and record them; all must be accepted."""
        first = self.engine.sequence + 1
        time_ns = time_ns or START_NS + first * 1_000
        events, payload = applied(self.engine, commands, time_ns)
        record = Record(
            BATCH, first, 0, JOURNAL, 0, 1, 1, b"", first, len(commands), time_ns, b"", payload
        )
        self.records.append(record)
        return events

    async def fill(self, database: str, *, but: int = 0) -> None:
        """Have a follower write all records but the last ones."""
        follower = PostgresFollower(database)
        await follower.open()
        await follower.take(self.records[: len(self.records) - but])
        await follower.close()
