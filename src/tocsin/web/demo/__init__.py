"""The demo page: a browser subscribes, shows what is sent to it, and posts signed receipts.

In: a GET under /demo/. Out: three static files. They hold no secret: the key is in the fragment of the page's address.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse

from tocsin.terms.errors import Refused

HERE: Final = Path(__file__).parent
FILES: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    "app.js": ("app.js", "text/javascript; charset=utf-8"),
    "sw.js": ("sw.js", "text/javascript; charset=utf-8"),
}
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> APIRouter:
    """The router of the page; wiring adds it where the setting `demo` is on."""
    router = APIRouter(include_in_schema=False)

    @router.get("/demo")
    async def without_slash() -> RedirectResponse:
        """The fragment of the address survives this redirect."""
        return RedirectResponse("/demo/", status_code=308)

    @router.get("/demo/{name}")
    async def file(name: str) -> FileResponse:
        """A file of the page; 404 for any other name."""
        if name not in FILES:
            raise Refused("not_found", f"There is no {name!r} in the demo page.")
        return _answer(name)

    @router.get("/demo/")
    async def page() -> FileResponse:
        """The page itself."""
        return _answer("")

    return router


def _answer(name: str) -> FileResponse:
    file, media_type = FILES[name]
    return FileResponse(HERE / file, media_type=media_type, headers=HEADERS)
