"""Settings from file, environment and options, and what is said of wrong ones."""

import json
import os
import re
from pathlib import Path

import pytest

from clients.retries import Retries
from server.core.instruments import Instrument, Limits
from server.redis_client import redis_client
from server.settings import Settings, reachable
from server.supervisor.configuration import CONFIG_VARIABLE, NAMED, Named, load
from server.supervisor.setting_values import (
    REDIS_PARAMETERS,
    REDISS_PARAMETERS,
    ConfigurationWrong,
)

ROOT = Path(__file__).resolve().parents[2]


def write(path: Path, text: str) -> str:
    file = path / "exchange.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_defaults() -> None:
    assert load({}, {}) == Settings()
    assert [instrument.name for instrument in Settings().instruments] == [
        "BTC-USD",
        "ETH-USD",
        "SOL-USD",
    ]


def test_option_wins_over_variable_over_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'http_port = 1001\ngrpc_port = 1002\nhost = "127.0.0.2"\n')
    environment = {"EXCHANGE_CONFIG": file, "PORT": "2001", "GRPC_PORT": "2002"}
    settings = load({"http_port": "3001"}, environment)
    assert (settings.http_port, settings.grpc_port, settings.host) == (3001, 2002, "127.0.0.2")


@pytest.mark.parametrize(
    ("text", "is_true"),
    [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("No", False), ("false", False)],
)
def test_a_truth_may_be_said_in_several_words(text: str, is_true: bool) -> None:
    assert load({}, {"EXCHANGE_FULL": text}).full is is_true


THREE_VALUES = {
    "data_dir": ("a", "b", "c"),
    "http_port": (1, 2, 3),
    "grpc_port": (1, 2, 3),
    "host": ("127.0.0.2", "127.0.0.3", "127.0.0.4"),
    "server": ("a:1", "b:2", "c:3"),
    "websocket": ("a:1", "b:2", "c:3"),
    "insecure_public": (True, False, True),
    "niceness": (1, 2, 3),
    "kafka_brokers": ("a:1", "b:2", "c:3"),
    "kafka_format": ("json", "protobuf", "json"),
    "postgres_url": ("postgresql://a", "postgresql://b", "postgresql://c"),
    "redis_url": ("redis://a", "redis://b", "redis://c"),
    "rate_limits": ("off", "on", "off"),
    "full": (True, False, True),
    "postgres": ("off", "embedded", "off"),
    "log_level": ("debug", "error", "warning"),
    "log_format": ("json", "text", "json"),
}
"""Of the file, the environment and the options, each no default but where there are only two."""


@pytest.mark.parametrize("named", NAMED, ids=lambda named: named.name)
def test_each_setting_comes_from_the_file_then_the_environment_then_the_options(
    tmp_path: Path, named: Named
) -> None:
    in_file, in_environment, in_options = THREE_VALUES[named.name]
    file = write(tmp_path, f"{named.name} = {json.dumps(in_file)}\n")

    def found(options: dict[str, object], environment: dict[str, str]) -> object:
        settings = load({"config": file, **options}, environment)
        value = getattr(settings, named.name)
        return str(value) if isinstance(value, Path) else value

    variable = {named.variable: str(in_environment)}
    assert found({}, {}) == in_file
    assert found({}, variable) == in_environment
    assert found({named.name: in_options}, variable) == in_options
    assert found({named.name: in_options}, {}) == in_options


def test_the_sample_of_the_environment_names_each_variable_that_is_read() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = re.findall(r"^#?([A-Z][A-Z_]+)=", text, re.M)
    assert len(set(listed)) == len(listed)
    assert set(listed) >= {CONFIG_VARIABLE, *(named.variable for named in NAMED)}
    # Those of the documented load test, which are for `exchange load`.
    assert set(listed) >= {
        "BASE_URL", "CONCURRENT_REQUESTS", "TOTAL_REQUESTS", "DURATION_SECONDS",
    }  # fmt: skip
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("server", "clients", "gateway")
        for path in (ROOT / folder).rglob("*.py")
    ]
    for variable in listed:
        assert any(f'"{variable}"' in source for source in sources), f"nobody reads {variable}"


def test_sections_and_instruments(tmp_path: Path) -> None:
    text = """
        [engine]
        keys_max = 10
        window_s = 60
        [grpc]
        reflection = false
        [sequencer]
        commands_waiting_max = 7
        [[instruments]]
        name = "DOGE-EUR"
        tick = "0.0001"
        lot = "1"
        price_max = "92233720368.54775807"
        maker_fee = "-0.0001"
        self_trade_prevention = "cancel_both"
    """
    settings = load({"config": write(tmp_path, text)}, {})
    assert settings.engine.limits == Limits(keys_max=10, window_ns=60_000_000_000)
    assert settings.grpc.reflection is False
    assert settings.sequencer.commands_waiting_max == 7
    assert settings.instruments == (
        Instrument(
            "DOGE-EUR",
            tick_e8=10_000,
            lot_e8=100_000_000,
            maker_fee_e6=-100,
            self_trade_prevention=4,
        ),
    )


def test_limits_that_no_file_names_are_those_of_the_engine() -> None:
    """Where they are written down twice."""
    assert Settings().engine.limits == Limits()


def test_samples_are_right() -> None:
    settings = load({"config": str(ROOT / "deploy" / "realistic.toml")}, {})
    assert settings.instruments[0].tick_e8 == 1_000_000
    assert settings.instruments[0].maker_fee_e6 == -100
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert load({}, variables) == Settings()


@pytest.mark.parametrize(
    ("options", "environment", "says"),
    [
        ({"http_port": "x"}, {}, "http_port is 'x' (option --http-port)"),
        ({"http_port": "0"}, {}, "from 1 to 65535"),
        ({"http_port": "65536"}, {}, "from 1 to 65535"),
        ({"http_port": "٣"}, {}, "from 1 to 65535"),
        ({}, {"PORT": "-1"}, "http_port is '-1' (variable PORT)"),
        ({}, {"GRPC_PORT": "3000"}, "another port than grpc_port (3000)"),
        ({"host": "example.org"}, {}, "an IP address such as 127.0.0.1, or localhost"),
        ({"host": "0.0.0.0"}, {}, "add --insecure-public"),
        ({"host": "::"}, {}, "add --insecure-public"),
        ({}, {"EXCHANGE_INSECURE_PUBLIC": "maybe"}, "true or false"),
        ({"server": "nowhere"}, {}, "HOST:PORT"),
        ({"server": "127.0.0.1:70000"}, {}, "HOST:PORT"),
        ({"data_dir": "a\0b"}, {}, "the path of a directory"),
        ({"config": "no/such/file"}, {}, "configuration file no/such/file: No such file"),
        ({"config": "a\0b"}, {}, "the path of a file"),
        ({"data_dir": "~nobody-here/data"}, {}, "data_dir is '~nobody-here/data'"),
        ({}, {"EXCHANGE_CONFIG": "~nobody-here/c"}, "'~nobody-here/c' (variable EXCHANGE_CONFIG)"),
        ({}, {"REDIS_URL": "redis://127.0.0.1:abc"}, "redis_url is '(not shown)'"),
        ({}, {"REDIS_URL": "redis://127.0.0.1:65536"}, "redis_url is '(not shown)'"),
        ({}, {"REDIS_URL": "redis://127.0.0.1:6379/first"}, "redis_url is '(not shown)'"),
        ({}, {"REDIS_URL": "redis://a?db=abc"}, "a URL whose db is the number of a database"),
        ({}, {"REDIS_URL": "redis://a?health_check_interval=abc"}, "is a whole number of seconds"),
        ({}, {"REDIS_URL": "redis://a/1?socket_timeout="}, "socket_timeout is a number of seconds"),
        ({}, {"REDIS_URL": "rediss://a?db=1&ssl_cert_reqs=no"}, "one of none, optional, required"),
        ({}, {"REDIS_URL": "redis://a?timeout=5"}, "a URL without timeout, whose parameters are"),
        ({}, {"REDIS_URL": "redis://a?ssl_cert_reqs=none"}, "one that begins with rediss://"),
        ({}, {"POSTGRES_URL": "postgresql://a:5432,b:0/x"}, "postgres_url is '(not shown)'"),
        ({}, {"POSTGRES_URL": "postgresql://[::1/x"}, "postgres_url is '(not shown)'"),
        ({}, {"POSTGRES_URL": "postgresql://a/x?sslmode=on"}, "sslmode is one of disable, allow"),
        ({}, {"POSTGRES_URL": "postgresql://a/x?require_auth=md5"}, "a URL without require_auth"),
        (
            {},
            {"POSTGRES_URL": "postgresql://a?connect_timeout=9;sslmode=require"},
            "separated by &",
        ),
        ({}, {"POSTGRES_URL": "postgresql://a?user=b&sslmode=verify_ca"}, "verify-ca, verify-full"),
        ({}, {"POSTGRES_URL": "postgresql://a/x?gssencmode=require"}, "one of disable, prefer"),
        ({}, {"POSTGRES_URL": "postgresql://a?target_session_attrs=x"}, "one of any, primary, s"),
        ({}, {"POSTGRES_HOST": "/run/postgresql"}, "postgres_host is '/run/postgresql'"),
    ],
)
def test_wrong_option_or_variable_is_named(
    options: dict[str, object], environment: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationWrong) as wrong:
        load(options, environment)
    assert says in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("= 1", "is not TOML"),
        (f"http_port = {'9' * 5_000}", "is not TOML"),
        (f"host = {'[' * 5_000}", "is not TOML"),
        ('[journal]\narchive_dir = "~nobody-here"', "journal.archive_dir is '~nobody-here'"),
        ('[journal]\nretention = "archive"', "journal.archive_dir is ''"),
        ("htp_port = 1", "htp_port is not a setting"),
        ("http_port = true", "http_port is True"),
        ("http_port = 3000.0", "http_port is 3000.0"),
        ("data_dir = 7", "the path of a directory"),
        ("engine = 1", "engine is 1"),
        ("[engine]\nkeys = 1", "a setting that exists: closed_orders_max, instruments_max"),
        ("[engine]\nkeys_max = 0", "engine.keys_max is 0"),
        ("[engine]\nwindow_s = 604801", "a whole number from 1 to 604800"),
        ('[grpc]\nreflection = "perhaps"', "true or false"),
        ("[feed]\nsubscribers_max = 99", "from 100 to 100000"),
        ("[grpc]\ncalls_max = 99", "from 100 to 100000"),
        ("[grpc]\ncalls_per_connection_max = 99", "from 100 to 100000"),
        ("[grpc]\ndeadline_max_s = 4", "grpc.deadline_s is 5; it must be at most"),
        ("instruments = []", "[[instruments]]"),
        ('[[instruments]]\ntick = "1"', "instruments.name is ''"),
        ('[[instruments]]\nname = "btc"', "instruments.name is 'btc'"),
        ('[[instruments]]\nname = "A-B"\n[[instruments]]\nname = "A-B"', "each name once"),
        ('[[instruments]]\nname = "A-B"\ntick = 0.01', "instruments.tick is 0.01"),
        ('[[instruments]]\nname = "A-B"\ntick = "0"', "instruments.tick is '0'"),
        ('[[instruments]]\nname = "A-B"\ntick = "1e2"', "instruments.tick is '1e2'"),
        ('[[instruments]]\nname = "A-B"\ntick = "0.000000001"', "at most 8 decimals"),
        ('[[instruments]]\nname = "A-B"\nprice_max = "92233720368.54775808"', "92233720368.54"),
        ('[[instruments]]\nname = "A-B"\ntaker_fee = "1.1"', "from -1 to 1"),
        ('[[instruments]]\nname = "A-B"\ntaker_fee = "0.0000001"', "at most 6 decimals"),
        ('[[instruments]]\nname = "A-B"\nself_trade_prevention = "x"', "one of none, cancel_n"),
        ('[[instruments]]\nname = "A-B"\nprice_min = "3"\nprice_max = "2"', "which is 2"),
        ('[[instruments]]\nname = "A-B"\nquantity_min = "3"\nquantity_max = "2"', "which is 2"),
    ],
)
def test_wrong_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationWrong) as wrong:
        load({"config": write(tmp_path, text)}, {})
    assert says in str(wrong.value)


def test_a_file_that_only_one_can_read_is_refused(tmp_path: Path) -> None:
    """Each part reads it for itself."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for each in (pipe, tmp_path, "/dev/zero"):
        with pytest.raises(ConfigurationWrong, match=f"file {each} is not a regular file: name"):
            load({"config": str(each)}, {})
    assert load({"config": os.devnull}, {}) == Settings()


def test_a_file_may_begin_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    """As some editors write it."""
    assert load({"config": write(tmp_path, "\ufeffhttp_port = 7\n")}, {}).http_port == 7


def test_two_values_of_which_neither_is_greater_are_taken(tmp_path: Path) -> None:
    grpc = "[grpc]\ndeadline_s = 7\ndeadline_max_s = 7\n"
    instrument = '[[instruments]]\nname = "A-B"\nprice_min = "2"\nprice_max = "2"'
    settings = load({"config": write(tmp_path, grpc + instrument)}, {})
    assert settings.grpc.deadline_s == settings.grpc.deadline_max_s == 7
    assert settings.instruments[0].price_min_e8 == settings.instruments[0].price_max_e8


def test_quiet_streams_are_not_taken_for_lost(tmp_path: Path) -> None:
    longest_ms = round(Retries().silence_s * 1_000) // 2
    text = "[feed]\nheartbeat_ms = {}"
    settings = load({"config": write(tmp_path, text.format(longest_ms))}, {})
    assert settings.feed.heartbeat_ms == longest_ms
    with pytest.raises(ConfigurationWrong, match=f"from 10 to {longest_ms}"):
        load({"config": write(tmp_path, text.format(longest_ms + 1))}, {})


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ('redis_ulr = "redis://:hush-hush@h:1"', {}),
        ('[kafka]\npassword = "hush-hush"', {}),
        ("", {"KAFKA_BROKERS": "user:hush-hush@h:9092"}),
        ("", {"EXCHANGE_POSTGRES": "postgresql://user:hush-hush@h/x"}),
        ("", {"POSTGRES_URL": "mysql://user:hush-hush@h/x"}),
        ("", {"POSTGRES_URL": "postgresql://h/x?sslmode=on&password=hush-hush"}),
        ("", {"REDIS_URL": "redis://:hush-hush@h:port"}),
        ("", {"REDIS_URL": "redis://h?db=x&password=hush-hush"}),
        ("", {"REDIS_HOST": "user:hush-hush@h"}),
    ],
)
def test_a_password_in_the_wrong_place_is_not_repeated(
    tmp_path: Path, text: str, environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationWrong) as wrong:
        load({"config": write(tmp_path, text)}, environment)
    assert "hush-hush" not in str(wrong.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss@[::1]:5432/x",
        "postgres://u:p@ss@db_1/x?sslmode=require",
        "postgresql://a:5432,b:5433/x?target_session_attrs=read-write",
        "postgresql:///x?host=/run/postgresql",
        "postgresql://a/x?sslmode=verify-full&sslrootcert=%2Fca.pem&sslnegotiation=direct",
        "postgresql://a/x?search_path=exchange&application_name=connect_timeout",
    ],
)
def test_addresses_of_all_kinds_are_taken_as_they_are(url: str) -> None:
    assert load({}, {"POSTGRES_URL": url}).postgres_url == url


def test_each_parameter_of_redis_is_one_that_its_client_takes() -> None:
    values = {
        "true or false": "true",
        "a number of seconds": "0.5",
        "text": "a%20b",
        "text without blanks": "a",
        "2 or 3": "3",
        "utf-8": "UTF-8",
        "a whole number of 10 or more": "20",
        "one of none, optional, required": "none",
        "771, which is TLS 1.2, or 772, which is TLS 1.3": "772",
    }
    for scheme, taken in (
        ("redis", REDIS_PARAMETERS),
        ("rediss", REDIS_PARAMETERS | REDISS_PARAMETERS),
    ):
        query = "&".join(f"{key}={values.get(words, '7')}" for key, (words, _) in taken.items())
        url = load({}, {"REDIS_URL": f"{scheme}://h:1/0?{query}"}).redis_url
        redis_client(url).connection_pool.make_connection()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("?sslmode=require&channel_binding=require", "?sslmode=require"),
        ("?connect_timeout=10&search_path=x%2Cy&keepalives_idle=30#a", "?search_path=x%2Cy#a"),
        ("?connect%5Ftimeout=10&gssencmode=prefer", ""),
        ("?tcp_user_timeout=5&load_balance_hosts=random&keepalives=1", ""),
    ],
)
def test_what_only_libpq_knows_is_left_out_of_an_address(query: str, left: str) -> None:
    """Providers put it into the addresses that they give out; PostgreSQL would take it for a
    setting of its own, and refuse it."""
    url = "postgresql://u:p@h:5432/x"
    assert load({}, {"POSTGRES_URL": url + query}).postgres_url == url + left


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell expands that, a file of variables for a service or a container doesn't."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, 'data_dir = "~/data"\n[journal]\narchive_dir = "~/archive"\n')
    settings = load({}, {"EXCHANGE_CONFIG": "~/exchange.toml"})
    assert settings.data_dir == tmp_path / "data"
    assert settings.journal.archive_dir == str(tmp_path / "archive")


@pytest.mark.parametrize(
    ("host", "found_at"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.5", "127.0.0.5")],
)
def test_where_the_parts_find_the_server(host: str, found_at: str) -> None:
    assert reachable(host) == found_at


def test_localhost_is_one_address() -> None:
    """Of two, one that somebody else has would be passed over without a word."""
    assert load({"host": "localhost"}, {}).grpc_address == "127.0.0.1:50051"
