"""A recorder: every trade of the exchange into Parquet files, without a gap, across restarts.

A file is named after what it covers: `trades-A-B.parquet` holds every trade after sequence A up to
sequence B, so the files of a directory are complete where each begins with the sequence that ended
the one before. On a start the recorder goes on after the last one; what the exchange can no longer
give (it says `restarted`) shows as a gap between two names, and is said.

A file is written under another name and renamed when it is whole. It ends only where the stream is
complete, never inside a command, so that no trade is in two files. Prices, quantities and fees are
decimals of eight places, times are in UTC to the microsecond.

Parquet needs pyarrow, which is not installed with the exchange.
"""

import asyncio
import re
import sys
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clients.client import ExchangeClient
from clients.examples.command_line import FAILED, parser, run, say_interruption
from clients.types import Trade, TradesMessage

if TYPE_CHECKING:
    import pyarrow

ROWS_MAX = 100_000  # trades of a file: some 5 MB, and 40 MB while they wait to be written
AGE_S = 60.0  # a file is written at the latest so long after its first trade
NAME = re.compile(r"trades-(\d{20})-(\d{20})\.parquet")


class TradeRecorder:
    """Writes the trades of an instrument, or of all for an empty name, to a directory."""

    def __init__(
        self,
        exchange: ExchangeClient,
        directory: Path,
        instrument: str = "",
        *,
        rows_max: int = ROWS_MAX,
    ) -> None:
        self.exchange = exchange
        self.directory = directory
        self.instrument = instrument
        self.rows_max = rows_max
        self.after = 0
        """Everything up to this sequence is in files."""
        self._rows: list[Trade] = []
        self._complete = 0
        self._first_row_s = 0.0

    async def run(self) -> None:
        """Records until it is cancelled; what is complete by then is written."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.after = self._complete = max((end for _, end in files(self.directory)), default=0)
        stream = self.exchange.follow_trades(
            self.instrument, self.after, on_interruption=say_interruption
        )
        try:
            async with aclosing(stream) as messages:
                async for message in messages:
                    self._take(message)
                    if self._is_due():
                        self.write()
        finally:
            self.write()

    def _take(self, message: TradesMessage) -> None:
        if message.restarted:
            self.write()
            print(
                f"the exchange no longer has all trades after sequence {self._complete}: there is "
                f"a gap up to {message.sequence}",
                flush=True,
            )
            self._rows.clear()
            self.after = message.sequence
        if message.trades and not self._rows:
            self._first_row_s = asyncio.get_running_loop().time()
        self._rows += message.trades
        self._complete = message.sequence

    def _is_due(self) -> bool:
        age_s = asyncio.get_running_loop().time() - self._first_row_s
        return bool(self._rows) and (len(self._rows) >= self.rows_max or age_s >= AGE_S)

    def write(self) -> None:
        """Write what waits, as far as it is complete."""
        import pyarrow.parquet

        whole = [trade for trade in self._rows if trade.sequence <= self._complete]
        if not whole:
            return
        path = self.directory / f"trades-{self.after:020d}-{self._complete:020d}.parquet"
        unfinished = path.with_suffix(".unfinished")
        pyarrow.parquet.write_table(table_of(whole), unfinished, compression="zstd")
        unfinished.rename(path)
        print(f"{len(whole)} trades in {path}", flush=True)
        del self._rows[: len(whole)]
        self.after = self._complete


def files(directory: Path) -> list[tuple[int, int]]:
    """What the files of a directory cover, in order."""
    matches = (NAME.fullmatch(path.name) for path in directory.iterdir())
    return sorted((int(match[1]), int(match[2])) for match in matches if match)


def table_of(trades: list[Trade]) -> "pyarrow.Table":
    """The trades as columns."""
    import pyarrow

    decimal, word = pyarrow.decimal128(38, 8), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    columns = {
        "trade_id": pyarrow.string(),
        "sequence": pyarrow.int64(),
        "index": pyarrow.int32(),
        "time": pyarrow.timestamp("us", tz="UTC"),
        "instrument": word,
        "price": decimal,
        "quantity": decimal,
        "aggressor_side": word,
        "maker_order_id": pyarrow.string(),
        "maker_client_id": word,
        "taker_order_id": pyarrow.string(),
        "taker_client_id": word,
        "maker_fee": decimal,
        "taker_fee": decimal,
    }
    rows = [{name: getattr(trade, name) for name in columns} for trade in trades]
    return pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(columns.items()))


def main(arguments: list[str] | None = None) -> int:
    """Run it from a terminal."""
    own = parser(__doc__ or "", instrument="")
    own.add_argument("directory", type=Path, help="where the files go")
    options = own.parse_args(arguments)
    if find_spec("pyarrow") is None:
        print(
            "Parquet files need pyarrow, which is not installed:"
            f" {sys.executable} -m pip install pyarrow",
            file=sys.stderr,
        )
        return FAILED
    return run(
        lambda exchange: TradeRecorder(exchange, options.directory, options.instrument).run(),
        options,
    )


if __name__ == "__main__":
    sys.exit(main())
