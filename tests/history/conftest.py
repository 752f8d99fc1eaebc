"""The same real PostgreSQL as the followers' tests have."""

from tests.followers.conftest import database, fetch, postgres

__all__ = ["database", "fetch", "postgres"]
