"""Snapshots: the engine's whole state at one place of the journal, so that a start is short.

A file `snapshots/snapshot-<sequence, 20 digits>` in the data directory, integers little-endian:

    header   magic (8) | CRC32C of the rest of the header (4) | format, 1 (2) | zero (2) |
             rules version (4) | journal (16) | position (8) | shard (4) | epoch (8) | owner (16) |
             last sequence (8) | time (8) | chain (16) | state hash (32)
    section  length (4, never 0) | CRC32C (4) | msgpack [name, rows], as the engine's `dump` gives
             them: any number of sections
    end      0 (4) | number of sections (4) | blake2b-128 of everything before (16)

`position`, epoch, owner, sequence, time and chain are the fence after the last record that the
state holds: reading goes on there. The loader checks all of it, and that the rows hash as the
header says. That the engine made of them holds the same is for `journal verify` to check, which has
the time. Both ways go section by section, so that memory holds one of them besides the engine.

A file is written under another name, read back, synced and only then renamed; then older good
ones beyond the newest `KEPT` are deleted. A damaged one is never deleted: it is passed over with
the reason, the one before it is used, and a longer tail is re-applied.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple

from google_crc32c import value

from server import collector
from server.core.dump import Chunk, StateHash, dump, load, state_hash
from server.core.engine import RULES_VERSION, Engine
from server.journal.fence import Fence
from server.journal.log import Mark
from server.journal.payload import PayloadInvalid, document, pack
from server.journal.storage import Storage, create, publish, sync_directory, write_all

DIRECTORY_NAME: Final = "snapshots"
MAGIC: Final = b"\xf5\xffSNAPSH"
FORMAT: Final = 1
KEPT: Final = 2
"""Good snapshots that are kept: the newest, and one to fall back to."""
SECTION_BYTES_MAX: Final = 1 << 28
"""256 MiB: some hundred times what `dump` puts into one; bounds what a damaged length can ask."""

_PREFIX: Final = "snapshot-"
_HEADER: Final = Struct("<8sIHHI16sQIQ16sQQ16s32s")
_SECTION: Final = Struct("<II")
_DIGEST_BYTES: Final = 16


OnSection = Callable[[int, int], None]
"""Told how many bytes of how many are loaded."""


class SnapshotBad(Exception):
    """The file can't be used, because of this."""


class SnapshotHeader(NamedTuple):
    """What a snapshot says about itself."""

    rules_version: int
    mark: Mark
    state_hash: bytes


class PassedOver(NamedTuple):
    """A snapshot that was not used, and why."""

    path: Path
    reason: str


class Found(NamedTuple):
    """The newest good snapshot, if there is one, and those newer than it that are not good."""

    header: SnapshotHeader | None
    engine: Engine | None
    passed_over: list[PassedOver]


def write_snapshot(directory: Path, engine: Engine, mark: Mark) -> Path:
    """Write the state of `engine`, which stands exactly at `mark`, into the data directory; what
    `mark` covers is durable in the journal. Raises `OSError` or `SnapshotBad`, and then leaves
    the older ones as they are."""
    assert engine.sequence == mark.fence.last_sequence, (engine.sequence, mark)
    folder = directory / DIRECTORY_NAME
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name_of(engine.sequence)
    temporary = folder / f"{path.name}.{os.getpid()}.new"
    temporary.unlink(missing_ok=True)
    storage = create(temporary)
    try:
        _write(storage, engine, mark)
        check(storage)
        publish(storage, path)
    except BaseException:
        storage.path.unlink(missing_ok=True)
        raise
    finally:
        storage.close()
    sync_directory(directory)
    _drop_old(folder, path)
    return path


def name_of(sequence: int) -> str:
    """The file of the snapshot at a sequence."""
    return f"{_PREFIX}{sequence:020}"


def snapshot_paths(directory: Path) -> list[Path]:
    """All snapshot files, the newest first."""
    folder = directory / DIRECTORY_NAME
    names = [path for path in folder.glob(f"{_PREFIX}*") if path.name[len(_PREFIX) :].isdigit()]
    return sorted(names, reverse=True)


def drop_unfinished(directory: Path) -> None:
    """Remove what a writer that was killed left behind."""
    for path in (directory / DIRECTORY_NAME).glob(f"{_PREFIX}*.new"):
        path.unlink(missing_ok=True)


def newest_good(directory: Path, on_section: OnSection | None = None) -> Found:
    """Load the newest snapshot that is good in every respect."""
    passed_over = []
    for path in snapshot_paths(directory):
        try:
            header, engine = load_snapshot(path, on_section)
        except (SnapshotBad, OSError) as error:
            passed_over.append(PassedOver(path, str(error)))
        else:
            return Found(header, engine, passed_over)
    return Found(None, None, passed_over)


def load_snapshot(path: Path, on_section: OnSection | None = None) -> tuple[SnapshotHeader, Engine]:
    """The header and the engine; raises `SnapshotBad` or `OSError`."""
    with closing(Storage.open(path, writable=False)) as storage, collector.paused():
        header = _header(storage)
        engine, rows_hash = _engine(storage, on_section)
    if engine.sequence != header.mark.fence.last_sequence:
        raise SnapshotBad(f"its state is of sequence {engine.sequence}, its header says otherwise")
    if rows_hash != header.state_hash:
        raise SnapshotBad("its state doesn't hash as the header says")
    return header, engine


def read_snapshot_header(path: Path) -> SnapshotHeader:
    """The header alone; raises `SnapshotBad` or `OSError`."""
    with closing(Storage.open(path, writable=False)) as storage:
        return _header(storage)


def known_marks(directory: Path) -> list[Mark]:
    """What the snapshots with an intact header say, whether or not the rest of them is good."""
    marks = []
    for path in snapshot_paths(directory):
        try:
            marks.append(read_snapshot_header(path).mark)
        except (SnapshotBad, OSError):
            continue
    return marks


def check(storage: Storage) -> None:
    """Check every checksum of the file, without making an engine or even rows of it: the server
    does so too, beside its loop, and a section's rows would hold that for 10 ms."""
    _header(storage)
    for _ in _sections(storage):
        pass


def _write(storage: Storage, engine: Engine, mark: Mark) -> None:
    fence = mark.fence
    rest = _HEADER.pack(
        MAGIC,
        0,
        FORMAT,
        0,
        RULES_VERSION,
        mark.journal,
        mark.position,
        fence.shard,
        fence.epoch,
        fence.owner,
        fence.last_sequence,
        fence.time_ns,
        fence.chain,
        state_hash(engine),
    )[12:]
    digest = blake2b(digest_size=_DIGEST_BYTES)
    count = 0

    def put(data: bytes) -> None:
        digest.update(data)
        write_all(storage, data)

    put(MAGIC + value(rest).to_bytes(4, "little") + rest)
    for name, rows in dump(engine):
        section = pack((name, rows))
        assert len(section) <= SECTION_BYTES_MAX, (name, len(section))
        put(_SECTION.pack(len(section), value(section)) + section)
        count += 1
    put(_SECTION.pack(0, count))
    write_all(storage, digest.digest())


def _header(storage: Storage) -> SnapshotHeader:
    data = storage.read(0, _HEADER.size)
    if len(data) < _HEADER.size:
        raise SnapshotBad(f"{len(data)} bytes are no header, which has {_HEADER.size}")
    magic, checksum, file_format, zero, rules_version, journal, position, *fence, state = (
        _HEADER.unpack(data)
    )
    if magic != MAGIC:
        raise SnapshotBad(f"no snapshot begins with {magic.hex()}")
    if value(data[12:]) != checksum:
        raise SnapshotBad("the checksum of the header is wrong")
    if (file_format, zero) != (FORMAT, 0):
        raise SnapshotBad(f"format {file_format}, this release reads {FORMAT}")
    return SnapshotHeader(rules_version, Mark(journal, position, Fence(*fence)), state)


def _sections(storage: Storage, on_section: OnSection | None = None) -> Iterator[bytes]:
    """Each section as it lies; raises `SnapshotBad`, at the latest when it ends."""
    offset = _HEADER.size
    digest = blake2b(storage.read(0, offset), digest_size=_DIGEST_BYTES)
    count = 0
    while True:
        prefix = storage.read(offset, _SECTION.size)
        if len(prefix) < _SECTION.size:
            raise SnapshotBad(f"it ends at offset {offset}, before its end mark")
        length, check_value = _SECTION.unpack(prefix)
        digest.update(prefix)
        offset += _SECTION.size
        if length == 0:
            break
        if length > SECTION_BYTES_MAX:
            raise SnapshotBad(f"a section of {length} bytes at offset {offset}")
        section = storage.read(offset, length)
        if len(section) != length or value(section) != check_value:
            raise SnapshotBad(f"the checksum of the section at offset {offset} is wrong")
        digest.update(section)
        offset += length
        count += 1
        yield section
        if on_section is not None:
            on_section(offset, storage.size())
    if check_value != count:
        raise SnapshotBad(f"{count} sections, {check_value} announced")
    if storage.read(offset, _DIGEST_BYTES + 1) != digest.digest():
        raise SnapshotBad("the digest of the whole file is wrong")


def _named(section: bytes) -> tuple[str, Any]:
    """Read a section's name and rows."""
    try:
        name, rows = document(section, 2)
    except PayloadInvalid as error:
        raise SnapshotBad(str(error)) from error
    return name, rows


def _engine(storage: Storage, on_section: OnSection | None) -> tuple[Engine, bytes]:
    """Load the engine, and hash its rows. An intact file whose state this release can't take is
    passed over like a damaged one."""
    rows_hash = StateHash()

    def chunks() -> Iterator[Chunk]:
        for section in _sections(storage, on_section):
            name, rows = _named(section)
            rows_hash.add(name, rows)
            yield name, rows

    try:
        return load(chunks()), rows_hash.digest()
    except (AssertionError, KeyError, IndexError, TypeError, ValueError) as error:
        raise SnapshotBad(f"its state can't be loaded: {error!r}") from error


def _drop_old(folder: Path, newest: Path) -> None:
    good = 1
    for path in snapshot_paths(folder.parent):
        if path >= newest or not _intact(path):
            continue
        if good < KEPT:
            good += 1
        else:
            path.unlink()
    sync_directory(folder)


def _intact(path: Path) -> bool:
    try:
        with closing(Storage.open(path, writable=False)) as storage:
            check(storage)
    except (SnapshotBad, OSError):
        return False
    return True
