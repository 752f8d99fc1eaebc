from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListPartsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPartsResponse(_message.Message):
    __slots__ = ("parts",)
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[PartStatus]
    def __init__(self, parts: _Optional[_Iterable[_Union[PartStatus, _Mapping]]] = ...) -> None: ...

class PartStatus(_message.Message):
    __slots__ = ("name", "state", "events_behind", "behind_ns", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_BEHIND_FIELD_NUMBER: _ClassVar[int]
    BEHIND_NS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    events_behind: int
    behind_ns: int
    problem: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., events_behind: _Optional[int] = ..., behind_ns: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class ReportPartsRequest(_message.Message):
    __slots__ = ("parts",)
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[PartReport]
    def __init__(self, parts: _Optional[_Iterable[_Union[PartReport, _Mapping]]] = ...) -> None: ...

class PartReport(_message.Message):
    __slots__ = ("name", "sequence", "problem", "takes_journal")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    TAKES_JOURNAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    sequence: int
    problem: str
    takes_journal: bool
    def __init__(self, name: _Optional[str] = ..., sequence: _Optional[int] = ..., problem: _Optional[str] = ..., takes_journal: _Optional[bool] = ...) -> None: ...

class ReportPartsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
