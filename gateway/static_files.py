"""The web page and the documents of the API, sent by Envoy itself out of files.

Envoy reads the files at its start and needs no other process to send them, so the page opens also
while the server is away, and says so. `/` is the page for whoever accepts HTML, which browsers say,
and stays JSON for everybody else. Everything that is shown in a browser has strict headers: nothing
is loaded from, framed by or told to another host, and no string ever becomes markup or a script
(trusted types, of which the page has none).
"""

from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
PAGE: Final = HERE / "page"
DOCUMENTS: Final = HERE / "documents"
FILE_BYTES_MAX: Final = 1024 * 1024
"""The bound of a file: five times the largest, the charts. Envoy keeps each in memory."""

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".yaml": "application/yaml",
    "": "text/plain; charset=utf-8",
}
"""The content types that are sent, by the end of a file's name; other files stay at home."""
UNCHANGING: Final = "vendor"
"""A folder whose files keep their content under their name."""

POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
HEADERS_OF_HTML: Final = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def static_routes(filters: dict[str, Any]) -> list[dict[str, Any]]:
    """Make a route for each file; `filters` leave out what acts on JSON."""
    routes = [file_route(path, file) for path, file in files().items()]
    index = file_route("/", PAGE / "index.html")
    index["match"]["headers"].append(
        {"name": "accept", "string_match": {"contains": "text/html", "ignore_case": True}}
    )
    return [route | {"typed_per_filter_config": filters} for route in (index, *routes)]


def files() -> dict[str, Path]:
    """Give what is sent, by its path."""
    page = {
        f"/page/{file.relative_to(PAGE).as_posix()}": file
        for file in sorted(PAGE.rglob("*"))
        if file.is_file() and file.suffix in TYPES
    }
    documents = {
        "/docs": "docs.html",
        "/docs/grpc": "grpc.html",
        "/docs/collection.json": "collection.json",
        "/openapi.json": "openapi.json",
    }
    made = {path: DOCUMENTS / name for path, name in documents.items()}
    return page | made | {"/asyncapi.yaml": HERE / "asyncapi.yaml"}


def file_route(path: str, file: Path) -> dict[str, Any]:
    fresh = "max-age=86400" if file.parent.name == UNCHANGING else "no-cache"
    headers = HEADERS | {"content-type": TYPES[file.suffix], "cache-control": fresh}
    if file.suffix == ".html":
        headers |= HEADERS_OF_HTML
    if path == "/":
        headers["vary"] = "accept"
    return {
        "match": {
            "path": path,
            "headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}],
        },
        "direct_response": {"status": 200, "body": {"filename": str(file)}},
        "response_headers_to_add": [
            {
                "header": {"key": key, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for key, value in headers.items()
        ],
    }
