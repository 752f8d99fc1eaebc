from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListPositionsRequest(_message.Message):
    __slots__ = ("client_id",)
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    def __init__(self, client_id: _Optional[str] = ...) -> None: ...

class ListPositionsResponse(_message.Message):
    __slots__ = ("positions", "sequence")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    sequence: int
    def __init__(self, positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("instrument", "net_quantity_e8", "total_cost", "average_price", "realised_pnl", "unrealised_pnl", "fees", "updated_time_ns")
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    NET_QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COST_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    REALISED_PNL_FIELD_NUMBER: _ClassVar[int]
    UNREALISED_PNL_FIELD_NUMBER: _ClassVar[int]
    FEES_FIELD_NUMBER: _ClassVar[int]
    UPDATED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    instrument: str
    net_quantity_e8: int
    total_cost: str
    average_price: str
    realised_pnl: str
    unrealised_pnl: str
    fees: str
    updated_time_ns: int
    def __init__(self, instrument: _Optional[str] = ..., net_quantity_e8: _Optional[int] = ..., total_cost: _Optional[str] = ..., average_price: _Optional[str] = ..., realised_pnl: _Optional[str] = ..., unrealised_pnl: _Optional[str] = ..., fees: _Optional[str] = ..., updated_time_ns: _Optional[int] = ...) -> None: ...

class ListFeeAccountsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFeeAccountsResponse(_message.Message):
    __slots__ = ("accounts", "sequence")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[FeeAccount]
    sequence: int
    def __init__(self, accounts: _Optional[_Iterable[_Union[FeeAccount, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class FeeAccount(_message.Message):
    __slots__ = ("currency", "balance")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    currency: str
    balance: str
    def __init__(self, currency: _Optional[str] = ..., balance: _Optional[str] = ...) -> None: ...
