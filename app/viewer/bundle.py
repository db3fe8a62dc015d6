"""Bundle: the prebuilt page that ships in `static/`, each file gzipped; unpacked for clients that take it only so."""

import gzip
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from ...core.errors import InputError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from starlette.requests import Request
    from starlette.responses import Response

PAGE = "index.html"
TYPES = {
    "html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8",
    "wasm": "application/wasm", "svg": "image/svg+xml", "json": "application/json", "txt": "text/plain",
}  # fmt: skip
KEEP = "public, max-age=31536000, immutable"  # names of assets have a hash of their content


@cache
def _names() -> "dict[str, Traversable]":
    """Each file of the bundle without its .gz, as `index.html` and `assets/main-1234.js`."""
    home = files("polyclinic.app.viewer") / "static"
    folders = [("", home), ("assets/", home / "assets")]
    return {
        f"{prefix}{item.name.removesuffix('.gz')}": item
        for prefix, folder in folders
        if folder.is_dir()
        for item in folder.iterdir()
        if item.is_file() and item.name.endswith(".gz")
    }


def require_bundle() -> None:
    """Raises InputError where the page was not built, as in a checkout that lacks it."""
    if PAGE not in _names():
        raise InputError(
            "the viewer's page is not built; expected app/viewer/static/index.html.gz: run app/viewer/web/build.sh"
        )


def serve(request: "Request", name: str) -> "Response":
    """The answer to a GET of a file of the bundle; 404 for any other name."""
    from starlette.responses import PlainTextResponse, Response

    if name not in _names():
        return PlainTextResponse("no such file\n", 404)
    content = _names()[name].read_bytes()
    headers = {"Cache-Control": KEEP if name.startswith("assets/") else "no-store", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        content = gzip.decompress(content)
    kind = TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    return Response(content, headers=headers, media_type=kind)
