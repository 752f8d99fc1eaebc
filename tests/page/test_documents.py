"""The documents of the API are sent, are well-formed, and each of their examples works."""

import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate

from gateway.documents.examples import GRPC_EXAMPLES, HTTP_EXAMPLES
from gateway.routes import GRPC_FILES, JSON_FILES, services
from gateway.static_files import DOCUMENTS
from tests.running import Everything

Operation = dict[str, Any]
DEADLINE_S = 30.0
WITHOUT_DATABASE = {"AdminService.SettleDay": grpc.StatusCode.UNIMPLEMENTED}
"""What calls that need PostgreSQL answer to an exchange that has none, as the one here."""


@pytest.fixture(scope="module")
def openapi(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").raise_for_status().json()
    return found


def operations(document: dict[str, Any]) -> dict[str, tuple[str, str, Operation]]:
    """Verb, path and operation by the operation's id."""
    return {
        operation["operationId"]: (verb.upper(), path, operation)
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
    }


def test_openapi_document_is_valid_and_names_every_route(
    http: httpx.Client, openapi: dict[str, Any]
) -> None:
    validate(openapi)
    named = {f"{verb} {path}" for verb, path, _ in operations(openapi).values()}
    assert named == set(http.get("/", headers={"accept": "*/*"}).json()["endpoints"])


def test_what_a_request_needs_and_where_it_may_stand_is_told(
    http: httpx.Client, openapi: dict[str, Any]
) -> None:
    for name, (verb, path, operation) in operations(openapi).items():
        if verb == "POST":
            empty = http.post(re.sub(r"\{.*\}", "none", path), json={})
            needed = operation["requestBody"].get("required", False)
            assert needed == (empty.status_code == 400), name
    _, path, operation = operations(openapi)["CreateSnapshot"]
    assert [(each["name"], each["in"]) for each in operation["parameters"]] == [
        ("instrument", "query")
    ]
    assert http.post(path, params={"instrument": "ETH-USD"}).json()["instrument"] == "ETH-USD"


def test_each_call_has_an_example() -> None:
    http_names = {method.name for service in services(JSON_FILES) for method in service.methods}
    assert set(HTTP_EXAMPLES) == http_names
    grpc_names = {
        f"{service.name}.{method.name}"
        for service in services(GRPC_FILES)
        for method in service.methods
    }
    assert set(GRPC_EXAMPLES) == grpc_names


def test_http_examples_work_and_replies_are_as_described(
    http: httpx.Client, openapi: dict[str, Any]
) -> None:
    # With ids of its own: the collection places and cancels the same orders.
    known = operations(json.loads(json.dumps(openapi).replace("docs-", "own-")))
    for name in HTTP_EXAMPLES:
        verb, path, operation = known[name]
        path, query, body = example_of(path, operation)
        with http.stream(verb, path, params=query, json=body) as reply:
            (status,) = (each for each in operation["responses"] if each.startswith("2"))
            text = next(reply.iter_lines()) if "stream" in path else reply.read().decode()
        assert reply.status_code == int(status), f"{name}: {text}"
        (kind, content), *_ = operation["responses"][status]["content"].items()
        if kind == "application/json":
            conforms(openapi, content["schema"], json.loads(text))
    refused = http.get("/orders/none")
    assert refused.status_code == 404
    conforms(openapi, {"$ref": "#/components/schemas/Error"}, refused.json())


def test_each_call_names_the_statuses_that_it_can_have(openapi: dict[str, Any]) -> None:
    known = operations(openapi)
    common = {"400", "404", "409", "429", "431", "500", "503", "504"}
    sent = {"403", "408", "413", "501"}
    for name, own in (
        ("GetOrder", {"200", "501"}),
        ("ListInstruments", {"200"}),
        ("PlaceOrder", {"201"} | sent),
        ("CancelOrder2", {"200"} | sent),
        ("GetAnalytics", {"200", "501"}),
    ):
        assert set(known[name][2]["responses"]) == common | own
    down = known["GetHealth"][2]["responses"]["503"]["content"]["application/json"]["schema"]
    assert [each["$ref"].rpartition("/")[2] for each in down["oneOf"]] == [
        "GetHealthResponse",
        "Error",
    ]
    assert set(known["GetIndex"][2]["responses"]["200"]["content"]) == {
        "application/json",
        "text/html",
    }


def example_of(path: str, operation: Operation) -> tuple[str, dict[str, str], Any]:
    query = {}
    for each in operation.get("parameters", []):
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", each["example"])
        elif "example" in each:
            query[each["name"]] = each["example"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return path, query, body.get("example")


def conforms(openapi: dict[str, Any], schema: dict[str, Any], content: Any) -> None:
    """Judged strictly: a field that the schema does not name is an error too."""
    judge = {"components": closed(openapi["components"])} | schema
    errors = [
        f"{list(error.path)}: {error.message}"
        for error in Draft202012Validator(judge).iter_errors(content)
    ]
    assert errors == []


def closed(part: Any) -> Any:
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: closed(value) for key, value in part.items()}
    if isinstance(part.get("properties"), dict) and part.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def test_collection_can_be_run(http: httpx.Client) -> None:
    collection = http.get("/docs/collection.json").raise_for_status().json()
    ran = 0
    for entry in (entry for folder in collection["item"] for entry in folder["item"]):
        request = entry["request"]
        url = request["url"]["raw"].removeprefix("{{base}}")
        for each in request["url"]["variable"]:
            url = url.replace(f":{each['key']}", each["value"])
        assert ":" not in url
        assert "{" not in url
        content = request["body"]["raw"].encode() if "body" in request else None
        headers = {each["key"]: each["value"] for each in request["header"]}
        with http.stream(request["method"], url, content=content, headers=headers) as reply:
            # A cancelled order can't be cancelled again under the call's other names.
            allowed = {200, 201} | ({409} if "Cancel" in str(entry) or "DELETE" in url else set())
            allowed |= {409} if request["method"] == "DELETE" or url.endswith("/cancel") else set()
            assert reply.status_code in allowed, f"{entry['name']}: {reply.read().decode()}"
        ran += 1
    assert ran == len(http.get("/", headers={"accept": "*/*"}).json()["endpoints"])


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/docs", "put the address of your exchange there"),
        ("/docs/grpc", "on port 3000, unless set otherwise"),
        ("/docs/collection.json", "set it to the address of yours"),
        ("/asyncapi.yaml", "may be set to another"),
    ],
)
def test_a_document_that_names_the_usual_port_says_that_it_may_be_another(
    http: httpx.Client, path: str, says: str
) -> None:
    text = http.get(path).raise_for_status().text
    assert "3000" in text
    assert says in text


def test_grpc_examples_work(exchange: Everything) -> None:
    methods = {
        f"{service.name}.{method.name}": method
        for service in services(GRPC_FILES)
        for method in service.methods
    }
    with grpc.insecure_channel(exchange.grpc) as channel:
        for name, example in GRPC_EXAMPLES.items():
            method = methods[name]
            request = json_format.ParseDict(example, GetMessageClass(method.input_type)())
            path = f"/{method.containing_service.full_name}/{method.name}"
            serialize = GetMessageClass(method.input_type).SerializeToString
            parse = GetMessageClass(method.output_type).FromString
            if method.client_streaming:
                call = channel.stream_stream(path, serialize, parse)
                with_one = call(iter([request]), timeout=DEADLINE_S)
                assert next(iter(with_one)) is not None
                with_one.cancel()
            elif name in WITHOUT_DATABASE:
                lone = channel.unary_stream(path, serialize, parse)(request, timeout=DEADLINE_S)
                with pytest.raises(grpc.RpcError):
                    next(iter(lone))
                assert lone.code() is WITHOUT_DATABASE[name]
            elif method.server_streaming:
                stream = channel.unary_stream(path, serialize, parse)(request, timeout=DEADLINE_S)
                assert next(iter(stream)) is not None
                stream.cancel()
            else:
                channel.unary_unary(path, serialize, parse)(request, timeout=DEADLINE_S)


@pytest.mark.parametrize("path", ["/docs", "/docs/grpc"])
def test_links_of_readable_page_lead_somewhere(http: httpx.Client, path: str) -> None:
    text = http.get(path).raise_for_status().text
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert {link for link in anchors(text) if link not in ids} == set()
    for link in set(re.findall(r'(?:href|src)="(/[^"]*)"', text)):
        assert http.get(link).status_code == 200, link


def anchors(text: str) -> Iterator[str]:
    return iter(re.findall(r'href="#([^"]+)"', text))


def test_readable_page_shows_every_call(http: httpx.Client, openapi: dict[str, Any]) -> None:
    text = http.get("/docs").text
    for name in operations(openapi):
        assert f'<section id="{name}">' in text
    assert (DOCUMENTS / "grpc.html").read_text(encoding="utf-8") == http.get("/docs/grpc").text
