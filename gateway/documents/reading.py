"""The pages for people: the HTTP interface from the OpenAPI document, gRPC from the contract.

Plain HTML without a script. Everything that comes from a comment is escaped; text between
backquotes is shown as code.
"""

import json
import re
from html import escape
from typing import Any

from gateway.documents.contract import GRPC_PACKAGE, Contract, Enum, Field, Message, Method
from gateway.documents.examples import BASE
from gateway.documents.numbers import IN_REPLIES, IN_REQUESTS, NUMBERS


def page(title: str, contents: list[tuple[str, str]], *parts: str) -> str:
    links = "".join(
        f'<li><a href="#{escape(name)}">{escape(text)}</a></li>' for name, text in contents
    )
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/style.css">
<link rel="stylesheet" href="/page/docs.css">
</head>
<body>
<header><h1>{escape(title)}</h1>
<nav aria-label="Documents"><a href="/">Market</a>
<a href="/docs">HTTP</a> <a href="/docs/grpc">gRPC</a>
<a href="/openapi.json">OpenAPI</a> <a href="/asyncapi.yaml">AsyncAPI (WebSocket)</a>
<a href="/docs/collection.json">Collection</a></nav></header>
<div class="reading">
<nav aria-label="On this page"><ul>{links}</ul></nav>
<div class="text">
{body}
</div></div>
</body>
</html>
"""


def text(comment: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(comment, quote=False))


def code(content: str) -> str:
    return f'<pre tabindex="0"><code>{escape(content, quote=False)}</code></pre>'


def rows(entries: list[tuple[str, str, str]]) -> str:
    lines = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th>'
        f"<td>{kind}</td><td>{text(said)}</td></tr>"
        for name, kind, said in entries
    )
    return f'<div class="scroll" tabindex="0"><table>{lines}</table></div>' if lines else ""


def http_page(openapi: dict[str, Any]) -> str:
    """Write the page `/docs`."""
    schemas = openapi["components"]["schemas"]
    contents = [("Numbers", "Numbers")]
    parts = [
        f"<p>{text(openapi['info']['description'])}</p>",
        f"<p>The examples call <code>{BASE}</code>: put the address of your exchange there.</p>",
        numbers_text(),
    ]
    for tag in openapi["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2><p>{text(tag['description'])}</p>")
        for path, operations in openapi["paths"].items():
            for verb, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    contents.append((operation["operationId"], f"{verb.upper()} {path}"))
                    parts.append(operation_text(verb, path, operation))
    parts.append("<h2>Schemas</h2>")
    for name, schema in schemas.items():
        contents.append((name, name))
        parts.append(schema_text(name, schema))
    return page("Exchange: HTTP", contents, *parts)


def numbers_text() -> str:
    """Write the table of what each figure is."""
    lines = "".join(
        f'<tr><th scope="row">{each.kind}</th><td>{each.form}</td>'
        f"<td>{text(', '.join(f'`{field}`' for field in each.fields))}. {text(each.note)}</td></tr>"
        for each in NUMBERS
    )
    return (
        f'<section id="Numbers"><h2>Numbers</h2><p>{text(IN_REQUESTS)}</p><p>{IN_REPLIES}</p>'
        f'<div class="scroll" tabindex="0"><table>{lines}</table></div></section>'
    )


def operation_text(verb: str, path: str, operation: dict[str, Any]) -> str:
    parts = [
        f'<section id="{operation["operationId"]}">',
        f"<h3><code>{verb.upper()} {escape(path)}</code></h3>",
        f"<p>{text(operation['description'])}</p>",
        rows(
            [
                (each["name"], each["in"], each["description"])
                for each in operation.get("parameters", [])
            ]
        ),
        code(curl(verb, path, operation)),
    ]
    if "requestBody" in operation:
        wanted = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(f"<p>Takes {link(wanted)}.</p>")
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            given = " or ".join(link(each["schema"]) for each in response["content"].values())
            parts.append(f"<p>{status}: {given}. {text(response['description'])}</p>")
    return "".join(parts) + "</section>"


def curl(verb: str, path: str, operation: dict[str, Any]) -> str:
    """The example as a command line."""
    query = []
    for each in operation.get("parameters", []):
        if "example" not in each:
            continue
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", str(each["example"]))
        else:
            query.append(f"{each['name']}={each['example']}")
    url = f"{BASE}{path}{'?' if query else ''}{'&'.join(query)}"
    command = f"curl -X {verb.upper()} '{url}'" if verb != "get" else f"curl '{url}'"
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"].get("example", {})
        command += f" \\\n  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(body)}'"
    return command


def schema_text(name: str, schema: dict[str, Any]) -> str:
    entries = [
        (field, link(content), content.get("description", ""))
        for field, content in schema["properties"].items()
    ]
    return (
        f'<section id="{name}"><h3>{name}</h3><p>{text(schema["description"])}</p>'
        f"{rows(entries)}</section>"
    )


def link(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if schema.get("type") == "array":
        return f"list of {link(schema['items'])}"
    kind = schema.get("type", "object")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def grpc_page(contract: Contract, examples: dict[str, dict[str, Any]]) -> str:
    """Write the page `/docs/grpc`."""
    contents = []
    parts = [
        (
            "<p>On port 50051 and, but for what followers say, through the gateway on port 3000, "
            "unless set otherwise; with standard health and reflection. Fields ending in "
            "<code>_e8</code> are units of 10<sup>-8</sup>, fields ending in <code>_ns</code> "
            "nanoseconds since 1970 in UTC. Examples are in the JSON form of the messages, "
            "as generic clients take them.</p>"
        )
    ]
    for service in contract.of(GRPC_PACKAGE):
        name = service.name.rpartition(".")[2]
        parts.append(f"<h2>{escape(service.name)}</h2><p>{text(service.comment)}</p>")
        for method in service.methods:
            contents.append((f"{name}.{method.name}", f"{name}.{method.name}"))
            parts.append(method_text(name, method, examples.get(f"{name}.{method.name}")))
    parts.append("<h2>Messages</h2>")
    parts += [
        message_text(message)
        for message in contract.messages.values()
        if message.name.startswith(f"{GRPC_PACKAGE}.")
    ]
    parts.append("<h2>Enumerations</h2>")
    parts += [enum_text(enum) for enum in contract.enums.values()]
    return page("Exchange: gRPC", contents, *parts)


def method_text(service: str, method: Method, example: dict[str, Any] | None) -> str:
    takes = f"{'stream of ' if method.client_streams else ''}{named(method.request)}"
    gives = f"{'stream of ' if method.server_streams else ''}{named(method.reply)}"
    shown = code(json.dumps(example, indent=2)) if example is not None else ""
    return (
        f'<section id="{service}.{method.name}"><h3>{method.name}</h3>'
        f"<p>{text(method.comment)}</p><p>Takes {takes}, gives {gives}.</p>{shown}</section>"
    )


def message_text(message: Message) -> str:
    entries = [(field.name, kind(field), field.comment) for field in message.fields]
    return (
        f'<section id="{message.name}"><h3>{message.name.rpartition(".")[2]}</h3>'
        f"<p>{text(message.comment)}</p>{rows(entries)}</section>"
    )


def enum_text(enum: Enum) -> str:
    entries = [(name, str(number), comment) for name, number, comment in enum.values]
    return (
        f'<section id="{enum.name}"><h3>{enum.name.rpartition(".")[2]}</h3>'
        f"<p>{text(enum.comment)}</p>{rows(entries)}</section>"
    )


def kind(field: Field) -> str:
    built = named(field.type)
    if field.repeated:
        built = f"list of {built}"
    if field.choice:
        built += f", one of {escape(field.choice)}"
    return f"{built}, optional" if field.optional else built


def named(name: str) -> str:
    if name.startswith(f"{GRPC_PACKAGE}."):
        return f'<a href="#{name}">{name.rpartition(".")[2]}</a>'
    return escape(name)
