"""The same real PostgreSQL as the followers' tests have."""

from tests.followers.conftest import database, postgres

__all__ = ["database", "postgres"]
