"""Each call of the contract can be made with the client."""

import ast
from pathlib import Path
from typing import Final

from clients import client
from exchange.v1 import (
    account_service_pb2,
    admin_service_pb2,
    market_data_pb2,
    order_service_pb2,
    part_service_pb2,
)

STUBS: Final = {
    "_orders": order_service_pb2.DESCRIPTOR.services_by_name["OrderService"],
    "_market": market_data_pb2.DESCRIPTOR.services_by_name["MarketData"],
    "_accounts": account_service_pb2.DESCRIPTOR.services_by_name["AccountService"],
    "_admin": admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
    "_parts": part_service_pb2.DESCRIPTOR.services_by_name["PartService"],
}
"""The services, by the client's attribute for their stub."""
LEFT_OUT: Final = {
    "AdminService.StreamJournal": "for followers, which read the journal's records themselves",
    "AdminService.ReportFollower": "for followers",
    "PartService.ReportParts": "for the process that has the parts",
}


def test_each_call_of_the_contract_has_a_method() -> None:
    source = ast.parse(Path(client.__file__).read_text(encoding="utf-8"))
    called = {
        f"{STUBS[node.value.attr].name}.{node.attr}"
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in STUBS
    }
    files = {service.file.name: service.file for service in STUBS.values()}
    known = {
        f"{service.name}.{method.name}"
        for file in files.values()
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert known - called == LEFT_OUT.keys()
    assert called <= known
