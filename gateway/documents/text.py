"""How the documents are written down."""

import json
from typing import Any


def json_text(content: Any) -> str:
    """The same text each time, readable in a diff."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
