"""The page of the OpenAPI document at /schema: Swagger UI from an installed package, with no external resources."""

from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

from litestar import Request, Router
from litestar.openapi.plugins import OpenAPIRenderPlugin

from saqueduct.litestar import SoleRouter
from saqueduct.litestar.static_files import read, serve_files

PACKAGE: Final = "litestar-offline-docs"

ASSETS: Final = ("swagger-ui-bundle.js", "swagger-ui.css")

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE: Final = """<!DOCTYPE html>
<html lang="en">
    <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>{title}</title>
        <link rel="stylesheet" href="{path}/assets/swagger-ui.css">
    </head>
    <body>
        <div id="page"></div>
        <script src="{path}/assets/swagger-ui-bundle.js"></script>
        <script src="{path}/assets/start.js"></script>
    </body>
</html>
"""

START: Final = """SwaggerUIBundle({
    url: "PATH/openapi.json",
    dom_id: "#page",
    deepLinking: true,
    validatorUrl: null,
})
"""


class ApiPage(OpenAPIRenderPlugin):
    """Renders the page, and serves its files.

    Args:
        path: where the OpenAPI router is.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path="/swagger")
        self._path = path

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page; it fetches the document itself."""
        return PAGE.format(title=openapi_schema["info"]["title"], path=self._path).encode()

    def receive_router(self, router: Router) -> None:
        """Serve the files of the page."""
        static = Path(str(distribution(PACKAGE).locate_file("litestar_offline_docs/static")))
        files = {name: read(static / name) for name in ASSETS} | {
            "start.js": START.replace("PATH", self._path).encode()
        }
        router.register(serve_files("/assets", files, cache_control="public, max-age=86400"))


def schema_router(path: str) -> Router:
    """The router of the document and its page."""
    return SoleRouter(
        path, route_handlers=[], include_in_schema=False, response_headers={"Content-Security-Policy": POLICY}
    )
