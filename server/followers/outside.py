"""Which outside parts are kept in step: those that the settings name."""

from collections.abc import Callable

from server.followers.following import Follower
from server.settings import Settings


def followers_of(settings: Settings, say: Callable[[str], None]) -> list[Follower]:
    """A follower for each, which says what is wrong while it goes on; what is not asked for costs
    nothing, not even its library."""
    parts: list[Follower] = []
    if settings.postgres_url:
        from server.followers.postgres import PostgresFollower

        parts.append(PostgresFollower(settings.postgres_url, settings.history, say=say))
    if settings.kafka_brokers:
        from server.followers.kafka import KafkaFollower

        as_json = settings.kafka_format == "json"
        brokers, limits = settings.kafka_brokers, settings.kafka
        parts.append(KafkaFollower(brokers, settings.data_dir, limits=limits, as_json=as_json))
    if settings.redis_url:
        from server.followers.redis import RedisFollower

        parts.append(RedisFollower(settings.redis_url, settings.data_dir))
    return parts
