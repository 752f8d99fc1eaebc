"""The documents of the API, made from the contract: what is sent under `/docs` and beside it.

`make generate` writes them and `make check` proves them current. They are made of the descriptor
image with its comments, never of generated code, so that they can be made together with it.
"""

import json
from typing import Any

from gateway.documents.collection import collection
from gateway.documents.contract import Contract
from gateway.documents.examples import GRPC_EXAMPLES, HTTP_EXAMPLES
from gateway.documents.openapi import openapi
from gateway.documents.reading import grpc_page, http_page


def documents(image: bytes) -> dict[str, str]:
    """The text of each document, by the name of its file."""
    contract = Contract(image)
    described = openapi(contract, HTTP_EXAMPLES)
    return {
        "openapi.json": _json_text(described),
        "collection.json": _json_text(collection(described)),
        "docs.html": http_page(described),
        "grpc.html": grpc_page(contract, GRPC_EXAMPLES),
    }


def _json_text(content: Any) -> str:
    """Write the same text each time, readable in a diff."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
