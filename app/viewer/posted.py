"""posted(): the JSON that a page has sent, bounded and checked."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request

LARGEST = 64_000  # bytes


async def posted(request: "Request", known: Mapping[str, type]) -> dict[str, Any]:
    """The values of a POST, of the types `known` names; what is left out or null is not there. Raises InputError."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > LARGEST:
            raise InputError(f"expected at most {LARGEST} bytes")
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        raise InputError("expected JSON") from None
    if not isinstance(found, dict):
        raise InputError("expected a mapping")
    values = {name: value for name, value in found.items() if value is not None}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"unknown key {name!r}; known: {', '.join(known)}")
        if type(value) is not known[name]:
            raise InputError(f"{name}: expected {known[name].__name__}, got {type(value).__name__}")
    return values
