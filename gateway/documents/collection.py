"""A collection of requests for API tools, in Postman's format 2.1, which most of them import."""

import json
import re
from typing import Any, Final

from gateway.documents.examples import BASE

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
BASE_MEANING: Final = "Where the exchange is: set it to the address of yours, if that is another."


def collection(openapi: dict[str, Any]) -> dict[str, Any]:
    """The examples of the OpenAPI document as requests, in its order, in a folder for each tag."""
    return {
        "info": {
            "name": openapi["info"]["title"],
            "description": openapi["info"]["description"],
            "schema": SCHEMA,
        },
        "variable": [{"key": "base", "value": BASE, "description": BASE_MEANING}],
        "item": [
            {
                "name": tag["name"],
                "item": [
                    request(verb, path, operation)
                    for path, operations in openapi["paths"].items()
                    for verb, operation in operations.items()
                    if tag["name"] in operation["tags"]
                ],
            }
            for tag in openapi["tags"]
        ],
    }


def request(verb: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    examples = {
        each["name"]: str(each["example"])
        for each in operation.get("parameters", [])
        if "example" in each
    }
    variables = set(re.findall(r"\{(\w+)\}", path))
    query = [
        {"key": key, "value": value} for key, value in examples.items() if key not in variables
    ]
    plain = re.sub(r"\{(\w+)\}", r":\1", path)
    text = "&".join(f"{each['key']}={each['value']}" for each in query)
    built: dict[str, Any] = {
        "method": verb.upper(),
        "description": operation["description"],
        "header": [],
        "url": {
            "raw": f"{{{{base}}}}{plain}{'?' if text else ''}{text}",
            "host": ["{{base}}"],
            "path": plain.strip("/").split("/"),
            "query": query,
            "variable": [
                {"key": key, "value": examples[key]} for key in sorted(variables & set(examples))
            ],
        },
    }
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        built["header"] = [{"key": "Content-Type", "value": "application/json"}]
        built["body"] = {
            "mode": "raw",
            "raw": json.dumps(content.get("example", {}), indent=2),
            "options": {"raw": {"language": "json"}},
        }
    return {"name": f"{verb.upper()} {path}", "request": built}
