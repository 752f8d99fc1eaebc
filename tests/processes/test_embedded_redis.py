"""The embedded Redis: one program, for its owner only, that keeps nothing."""

import stat
from pathlib import Path

import pytest
from redis import AuthenticationError, Redis

from server.settings import Settings
from server.supervisor.configuration import load
from server.supervisor.embedded import redis as embedded_redis
from server.supervisor.setting_values import ConfigurationWrong
from tests.followers.redis_site import Site
from tests.processes.test_embedded_kafka import ODD_NAME
from tests.running import free_port


def test_serves_who_knows_the_password_and_forgets(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.start()
    try:
        with site.client() as client:
            client.set("a", "b")
            assert client.config_get("save") == {"save": ""}
            assert int(client.config_get("maxmemory")["maxmemory"]) > 0
        host = site.url.rpartition("@")[2]
        with Redis.from_url(f"redis://{host}") as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        site.kill()
        site.start()
        with site.client() as client:
            assert client.get("a") is None
    finally:
        site.kill()


def test_its_directory_may_have_any_name(tmp_path: Path) -> None:
    site = Site(tmp_path / ODD_NAME)
    site.start()
    try:
        with site.client() as client:
            client.set("a", "b")
    finally:
        site.kill()
    assert (tmp_path / ODD_NAME / "redis" / "redis.log").exists()


def test_address_and_password_are_their_owner_s(tmp_path: Path) -> None:
    chosen = embedded_redis.ADDRESS.assign(tmp_path)
    configuration = embedded_redis.prepare(tmp_path, free_port())
    files = ("redis.url", "redis.password", "redis/redis.conf")
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in files} == {0o600}
    password = (tmp_path / embedded_redis.PASSWORD_FILE_NAME).read_text("ascii")
    assert password in chosen
    assert f"requirepass {password}" in configuration.read_text("utf-8")
    again = embedded_redis.ADDRESS.assign(tmp_path)
    assert password in again
    assert embedded_redis.ADDRESS.port(Settings(tmp_path)) == int(
        again.rpartition(":")[2].split("/")[0]
    )


def test_single_variables_make_an_address() -> None:
    variables = {"REDIS_HOST": "::1", "REDIS_PASSWORD": "p@/", "REDIS_DB": "2"}
    assert load({}, variables).redis_url == "redis://:p%40%2F@[::1]:6379/2"
    assert load({}, {"REDIS_HOST": "r", "REDIS_PORT": "7"}).redis_url == "redis://r:7/0"
    assert load({}, {**variables, "REDIS_URL": "redis://a"}).redis_url == "redis://a"
    for wrong in ({"REDIS_PORT": "70000"}, {"REDIS_PORT": "0"}, {"REDIS_DB": "-1"}):
        with pytest.raises(ConfigurationWrong, match=f"variable {next(iter(wrong))}"):
            load({}, {**variables, **wrong})


def test_says_what_to_do_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lock = tmp_path / "full.lock"
    lock.write_text("other==1 \\\n    --hash=sha256:0\n", encoding="utf-8")
    monkeypatch.setattr(embedded_redis, "LOCK", lock)
    with pytest.raises(embedded_redis.RedisMissing, match="name a server with --redis-url"):
        embedded_redis.install(print)
