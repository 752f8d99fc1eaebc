from google.api import annotations_pb2 as _annotations_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetIndexRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetIndexResponse(_message.Message):
    __slots__ = ("name", "version", "endpoints")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., endpoints: _Optional[_Iterable[str]] = ...) -> None: ...

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHealthResponse(_message.Message):
    __slots__ = ("status", "timestamp", "checks", "degraded", "behind")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    status: str
    timestamp: str
    checks: HealthChecks
    degraded: _containers.RepeatedScalarFieldContainer[str]
    behind: HealthBehind
    def __init__(self, status: _Optional[str] = ..., timestamp: _Optional[str] = ..., checks: _Optional[_Union[HealthChecks, _Mapping]] = ..., degraded: _Optional[_Iterable[str]] = ..., behind: _Optional[_Union[HealthBehind, _Mapping]] = ...) -> None: ...

class HealthBehind(_message.Message):
    __slots__ = ("postgres", "kafka", "redis")
    POSTGRES_FIELD_NUMBER: _ClassVar[int]
    KAFKA_FIELD_NUMBER: _ClassVar[int]
    REDIS_FIELD_NUMBER: _ClassVar[int]
    postgres: PartBehind
    kafka: PartBehind
    redis: PartBehind
    def __init__(self, postgres: _Optional[_Union[PartBehind, _Mapping]] = ..., kafka: _Optional[_Union[PartBehind, _Mapping]] = ..., redis: _Optional[_Union[PartBehind, _Mapping]] = ...) -> None: ...

class PartBehind(_message.Message):
    __slots__ = ("events", "seconds")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    events: int
    seconds: float
    def __init__(self, events: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class HealthChecks(_message.Message):
    __slots__ = ("journal", "snapshots", "postgres", "redis", "kafka")
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    POSTGRES_FIELD_NUMBER: _ClassVar[int]
    REDIS_FIELD_NUMBER: _ClassVar[int]
    KAFKA_FIELD_NUMBER: _ClassVar[int]
    journal: str
    snapshots: str
    postgres: str
    redis: str
    kafka: str
    def __init__(self, journal: _Optional[str] = ..., snapshots: _Optional[str] = ..., postgres: _Optional[str] = ..., redis: _Optional[str] = ..., kafka: _Optional[str] = ...) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
