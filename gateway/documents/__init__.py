"""The documents of the API, made from the contract: what is sent under `/docs` and beside it.

`make generate` writes them and `make check` proves them current. They are made of the descriptor
image with its comments, never of generated code, so that they can be made together with it.
"""

from gateway.documents.collection import collection
from gateway.documents.contract import Contract
from gateway.documents.examples import GRPC_EXAMPLES, HTTP_EXAMPLES
from gateway.documents.openapi import openapi
from gateway.documents.reading import grpc_page, http_page
from gateway.documents.text import json_text


def documents(image: bytes) -> dict[str, str]:
    """The text of each document, by the name of its file."""
    contract = Contract(image)
    described = openapi(contract, HTTP_EXAMPLES)
    return {
        "openapi.json": json_text(described),
        "collection.json": json_text(collection(described)),
        "docs.html": http_page(described),
        "grpc.html": grpc_page(contract, GRPC_EXAMPLES),
    }
