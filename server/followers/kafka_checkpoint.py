"""Where the Kafka follower may begin again: books of a sequence, and where the topics ended then.

The file `kafka.checkpoint` in the data directory: SHA-256 of what follows, then a msgpack document
of what `Checkpoint` names. It is written under another name first, so that it is there whole or not
at all. What is damaged, of another Kafka, or ahead of the topics (which were emptied then) is no
checkpoint: the follower takes the journal from its beginning.
"""

import hashlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgpack

from server.journal.storage import write_file

FILE_NAME: Final = "kafka.checkpoint"
_DIGEST_BYTES: Final = 32


class Checkpoint(NamedTuple):
    """Everything up to a sequence is in the topics."""

    journal: str
    cluster: str
    """Identity of the Kafka."""
    sequence: int
    time_ns: int
    ends: dict[str, list[int]]
    """Offset of the last message of each partition, by topic; -1 for none."""
    orders: list[tuple[int, str, int, int, int]]
    """Of the books: placing sequence, instrument, side, price, what remains."""
    updated: dict[str, int]
    """Sequence of the newest book update of each instrument."""

    def fits(self, cluster: str, ends: dict[str, list[int]]) -> bool:
        """Whether the topics, which now end there, still hold all that it says."""
        return (
            self.cluster == cluster
            and self.ends.keys() == ends.keys()
            and all(len(ends[topic]) == len(then) for topic, then in self.ends.items())
            and all(
                now >= before
                for topic, then in self.ends.items()
                for now, before in zip(ends[topic], then, strict=True)
            )
        )


NOTHING: Final = Checkpoint("", "", 0, 0, {}, [], {})
"""The journal's beginning."""


def read(directory: Path) -> Checkpoint:
    """The one that is there; `NOTHING` where there is none to be used."""
    try:
        data = (directory / FILE_NAME).read_bytes()
    except OSError:
        return NOTHING
    digest, document = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(document).digest() != digest:
        return NOTHING
    fields: dict[str, Any] = msgpack.unpackb(document, use_list=False)
    if fields.keys() != set(Checkpoint._fields):
        return NOTHING
    ends = {topic: list(each) for topic, each in fields.pop("ends").items()}
    return Checkpoint(**fields, ends=ends)._replace(orders=list(fields["orders"]))


def write(directory: Path, checkpoint: Checkpoint) -> None:
    """Put it in the place of the one before; raises `OSError`."""
    document = msgpack.packb(checkpoint._asdict())
    write_file(directory / FILE_NAME, hashlib.sha256(document).digest() + document)


def forget(directory: Path) -> None:
    """Begin at the journal's beginning."""
    (directory / FILE_NAME).unlink(missing_ok=True)
