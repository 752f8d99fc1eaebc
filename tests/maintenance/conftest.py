"""The same server for each test as the tests of its services have."""

from tests.rpc.conftest import served

__all__ = ["served"]
