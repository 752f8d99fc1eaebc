"""Every setting, with its unit, its bounds and the reason for its default.

Plain values: nothing here reads a file or the environment (`server/supervisor/configuration.py`
does, and checks). `Settings(data_dir=...)` is a whole configuration with the defaults.
Limits that nobody sets stand in the modules that enforce them.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from server.core.instruments import Instrument, Limits

DEFAULT_INSTRUMENTS: Final = (Instrument("BTC-USD"), Instrument("ETH-USD"), Instrument("SOL-USD"))
"""Every price and quantity of up to 8 decimals; realistic ticks are in `deploy/realistic.toml`."""

MIB: Final = 1024 * 1024

KAFKA_FORMATS: Final = ("protobuf", "json")
"""How the values of Kafka messages are encoded."""

KAFKA_FILLS: Final = ("beginning", "snapshot")
"""From where emptied Kafka topics are filled again."""

POSTGRES_CHOICES: Final = ("embedded", "off")
"""What `exchange up` does where no PostgreSQL is named."""

SWITCHES: Final = ("on", "off")

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
"""From a line for each call to nothing but failures."""
LOG_FORMATS: Final = ("text", "json")
"""Sentences for people where a part starts, stops or is missing, or JSON everywhere."""

KEEP: Final = "keep"
ARCHIVE: Final = "archive"
RETENTIONS: Final = (KEEP, ARCHIVE, "drop")
"""Of the journal's files."""


OWN_STREAMS: Final = 100
"""That there has to be room for, in all, on one connection and of the feed: the WebSocket bridge
opens four for each instrument that somebody looks at, on the connection of its clients' orders, and
each follower one, on that of its reports. With fewer, parts of an exchange wait for each other."""


def bounded(default: int, low: int, high: int) -> Any:
    """A number with its default and the least and the greatest that a configuration may give."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Section `[engine]`: of the engine's memory. They become state by a command when they change,
    so that every replay forgets at the same place."""

    keys_max: int = bounded(4_000_000, 1, 100_000_000)
    """Idempotency keys guaranteed to be remembered within the window: an hour of 1,100 a second."""
    closed_orders_max: int = bounded(200_000, 1, 100_000_000)
    """Closed orders, and with them their ids, likewise; older ones are in PostgreSQL."""
    window_s: int = bounded(3_600, 1, 7 * 86_400)
    """Seconds after which a key or a closed order may be forgotten: longer than anyone retries."""
    instruments_max: int = bounded(1_000, 1, 100_000)
    """Instruments that can be listed: each has a book, and streams that somebody may open."""

    @property
    def limits(self) -> Limits:
        """The same as the engine takes them."""
        window_ns = self.window_s * 1_000_000_000
        return Limits(self.keys_max, self.closed_orders_max, window_ns, self.instruments_max)


@dataclass(frozen=True, slots=True)
class SequencerLimits:
    """Section `[sequencer]`."""

    commands_waiting_max: int = bounded(20_000, 1, 1_000_000)
    """Commands that wait for their turn in the journal, beside those that are being written: ten
    messages of 1,000 from each of two clients; a few MB, and well under a second of work. More are
    refused until some are durable; where none waits, a message of any size is taken."""
    quiet_ms: int = bounded(100, 1, 60_000)
    """Milliseconds without a command after which an empty record vouches for the last one."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Section `[grpc]`: of the server's own port. The gateway has bounds of its own, fit for these
    as they are by default, which do not follow them (`gateway/clusters.py`)."""

    message_bytes_max: int = bounded(MIB, 1024, 64 * MIB)
    """Largest request: 1,000 commands with the longest ids fit, and little memory for each call."""
    metadata_bytes_max: int = bounded(16 * 1024, 1024, MIB)
    """Metadata of one call: far more than any real client sends."""
    calls_max: int = bounded(2_000, OWN_STREAMS, 100_000)
    """Calls and streams in flight over all connections: about half a second of unary work."""
    calls_per_connection_max: int = bounded(1_000, OWN_STREAMS, 100_000)
    """Calls and streams in flight on one connection. The gateway uses few connections for many
    callers, so it is well above the hundred that one client needs."""
    window_bytes: int = bounded(64 * 1024, 16 * 1024, MIB)
    """HTTP/2 window and write buffer of a stream: what a reader that doesn't read can hold."""
    keepalive_s: int = bounded(30, 1, 7_200)
    """Seconds without traffic after which a connection is pinged; a dead one is found in 40 s."""
    keepalive_timeout_s: int = bounded(10, 1, 600)
    """Seconds that the answer to the ping may take."""
    deadline_s: int = bounded(5, 1, 30)
    """Seconds for a call that names no deadline: a thousand times what one takes."""
    deadline_max_s: int = bounded(30, 1, 300)
    """Longest deadline that is honoured, so that nothing is held for longer by a waiting caller."""
    session_messages_max: int = bounded(32, 1, 1_024)
    """Messages of one trading session that wait for the journal: enough to keep it busy while the
    next are applied, and little to answer when the client goes."""
    reflection: bool = True
    """Whether a client may ask which services there are."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Section `[rates]`, for each client and, with budgets of its own, for each address."""

    orders_per_s: int = bounded(1_000_000, 1, 100_000_000)
    """Orders placed or replaced in a second: well above what one machine takes, so that by default
    only the bound on waiting commands holds load back; a public exchange sets less."""
    cancels_per_s: int = bounded(1_000_000, 1, 100_000_000)
    """Cancel requests in a second."""
    queries_per_s: int = bounded(1_000_000, 1, 100_000_000)
    """Reads, and streams opened, in a second."""


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """Section `[feed]`."""

    subscribers_max: int = bounded(1_000, OWN_STREAMS, 100_000)
    """Streams at once: each holds at most `subscriber_bytes_max`, so 1 GiB when none reads."""
    subscriber_bytes_max: int = bounded(MIB, 64 * 1024, 64 * MIB)
    """Bytes of trades or order events that wait for one reader: some seconds of a busy market. Past
    it the stream is cut with the sequence to resume from. A book is conflated and holds nothing."""
    connection_bytes_max: int = bounded(8 * MIB, 64 * 1024, 1024 * MIB)
    """The same for all streams of one connection: eight readers that don't read. Past it the one
    for which most waits is cut, so that others behind the same gateway go on."""
    book_changes_max: int = bounded(4_096, 16, 1_000_000)
    """Recently changed levels remembered for each instrument, about 1 MB: what a reconnect, or a
    slow reader, can be behind before it gets a whole snapshot again."""
    resume_sequences_max: int = bounded(1_000_000, 1, 1_000_000_000)
    """How far back trades and order events resume from the journal: seconds of reading."""
    heartbeat_ms: int = bounded(1_000, 10, 5_000)
    """Milliseconds of quiet after which a stream says that it is alive, and how far it is. At most
    half of the silence after which clients, the WebSocket bridge among them, take one for lost
    (`silence_s` in `clients/retries.py`, 10 s)."""


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Section `[journal]`."""

    segment_bytes: int = bounded(16 * MIB, 64 * 1024, 1024 * MIB)
    """Bytes of a file of the journal: some 120,000 orders. Twice as much is reserved on the disk,
    and what is archived or dropped goes by whole files."""
    sync_slow_ms: int = bounded(1_000, 1, 600_000)
    """Milliseconds of an append past which health is NOT_SERVING: a thousand times what one
    takes on a sound disk, and a fifth of a call's deadline."""
    retention: str = field(default=KEEP, metadata={"words": RETENTIONS})
    """What becomes of files that neither snapshots nor followers need: one of `RETENTIONS`."""
    archive_dir: str = field(default="", metadata={"text": "the path of a directory"})
    """Where `archive` moves them; on another disk too."""


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """Section `[snapshots]`: the follower's."""

    interval_s: int = bounded(60, 1, 86_400)
    """Seconds between snapshots while there is anything new: bounds what a start re-applies."""


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Section `[history]`: of the tables in PostgreSQL. Whole months are dropped, by the time of
    the newest command."""

    trades_keep_days: int = bounded(0, 0, 36_500)
    """Days for which trades are kept; 0: for ever, since nothing else lists them one by one."""
    events_keep_days: int = bounded(90, 0, 36_500)
    """The same for order events: the largest table, and the journal has them anyway."""


@dataclass(frozen=True, slots=True)
class FollowerLimits:
    """Section `[followers]`: of the parts outside that are kept in step."""

    retry_max_ms: int = bounded(5_000, 10, 600_000)
    """Longest time between two attempts to reach a part that is away: it is back in step
    within that, and is not disturbed while it starts."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Section `[kafka]`."""

    delivery_ms: int = bounded(5_000, 100, 300_000)
    """Milliseconds without any acknowledgement after which it is begun anew: a leader changes in
    less."""
    checkpoint_s: int = bounded(10, 0, 3_600)
    """Seconds between two checkpoints: what is read again after a failure, and kept of the journal
    for it. One costs about 1 µs for each order that rests."""
    fill_from: str = field(default="beginning", metadata={"words": KAFKA_FILLS})
    """Where topics that lack something are filled from, one of `KAFKA_FILLS`: the journal's
    beginning, which has to be kept; or what is known of the newest state, levels of books first,
    and what was before is left out."""


@dataclass(frozen=True, slots=True)
class StopLimits:
    """Section `[stop]`."""

    server_s: int = bounded(9, 1, 600)
    """Seconds from the signal until the server is ended the hard way: its work in flight takes at
    most a few, and the whole exchange, whose other parts have their time within this, has to be
    gone after ten."""
    part_s: int = bounded(2, 1, 600)
    """Seconds for the gateway and the follower, who have nothing to lose."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One configuration of the exchange."""

    data_dir: Path = Path("data")
    """Journal, snapshots and lock; made with mode 0700."""
    host: str = "127.0.0.1"
    """IP address that both ports are bound to; `localhost` in a configuration is 127.0.0.1, beside
    which the gateway takes its port of ::1 too, where it can."""
    http_port: int = bounded(3000, 1, 65_535)
    """HTTP JSON, gRPC and health, through Envoy."""
    grpc_port: int = bounded(50051, 1, 65_535)
    """gRPC, straight to the server."""
    server: str = ""
    """HOST:PORT at which a follower or a gateway finds the server; empty: on this machine."""
    websocket: str = ""
    """HOST:PORT at which the WebSocket bridge listens, and a gateway finds it; empty: a socket of
    this machine that needs no port."""
    insecure_public: bool = False
    """Allows a host that is not loopback, though there is no authentication."""
    kafka_brokers: str = ""
    """HOST:PORT of one or more Kafka brokers, separated by commas; empty: no Kafka."""
    kafka_format: str = field(default="protobuf", metadata={"words": KAFKA_FORMATS})
    """One of `KAFKA_FORMATS`."""
    postgres_url: str = ""
    """`postgresql://USER@HOST:PORT/DATABASE` that the follower keeps; empty: see `postgres`."""
    postgres: str = field(default="embedded", metadata={"words": POSTGRES_CHOICES})
    """One of `POSTGRES_CHOICES`: whether `exchange up` starts a PostgreSQL of its own."""
    redis_url: str = ""
    """`redis://HOST:PORT` that front ends share; empty: no Redis."""
    rate_limits: str = field(default="on", metadata={"words": SWITCHES})
    """One of `SWITCHES`; off: nobody is limited, whatever `rates` says."""
    full: bool = False
    """Whether `exchange up` starts a Redis and a Kafka of its own where none is named."""
    niceness: int = bounded(19, 0, 19)
    """Of the follower, and of the PostgreSQL, Redis and Kafka that `exchange up` starts: they wait
    while the exchange needs the cores, and catch up afterwards. 0: they are as important as it."""
    log_level: str = field(default="info", metadata={"words": LOG_LEVELS})
    """One of `LOG_LEVELS`; an admin changes it while running."""
    log_format: str = field(default="text", metadata={"words": LOG_FORMATS})
    """One of `LOG_FORMATS`."""
    instruments: tuple[Instrument, ...] = DEFAULT_INSTRUMENTS
    """Listed at start; one that the file no longer has stays listed."""
    engine: EngineLimits = field(default_factory=EngineLimits)
    sequencer: SequencerLimits = field(default_factory=SequencerLimits)
    grpc: GrpcLimits = field(default_factory=GrpcLimits)
    rates: RateLimits = field(default_factory=RateLimits)
    feed: FeedLimits = field(default_factory=FeedLimits)
    journal: JournalSettings = field(default_factory=JournalSettings)
    snapshots: SnapshotSettings = field(default_factory=SnapshotSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    followers: FollowerLimits = field(default_factory=FollowerLimits)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    stop: StopLimits = field(default_factory=StopLimits)

    @property
    def grpc_address(self) -> str:
        """What the server binds."""
        return address(self.host, self.grpc_port)

    @property
    def outside_parts(self) -> list[str]:
        """Names of the outside parts that are asked for."""
        urls = {
            "postgres": self.postgres_url,
            "kafka": self.kafka_brokers,
            "redis": self.redis_url,
        }
        return [name for name, url in urls.items() if url]

    @property
    def websocket_address(self) -> str:
        """Where the WebSocket bridge is: HOST:PORT, or `@` and a name that the kernel keeps."""
        return self.websocket or f"@exchange-websocket-{self.server_address}"

    @property
    def server_address(self) -> str:
        """Where the other parts find the server."""
        return self.server or address(reachable(self.host), self.grpc_port)


def address(host: str, port: int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(endpoint: str) -> tuple[str, int]:
    """The two of HOST:PORT, an IPv6 address without its brackets."""
    host, _, port = endpoint.rpartition(":")
    return "127.0.0.1" if host == "localhost" else host.strip("[]"), int(port)


def meet(endpoint: str, host: str, port: int) -> bool:
    """Whether a process of this machine finds the same at both. Names are not looked up."""
    other, other_port = split(endpoint)
    with suppress(ValueError):
        return port == other_port and reachable(host) == reachable(other)
    return False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    return host == "localhost" or ip_address(host).is_loopback


def reachable(host: str) -> str:
    """Where a process of this machine finds what is bound to `host`."""
    if not ip_address(host).is_unspecified:
        return host
    return "::1" if ip_address(host).version == 6 else "127.0.0.1"
