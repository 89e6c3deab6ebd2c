"""What every answer of the console has: its policy and headers; and pages outside the frame with the menu."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from litestar import Request, Response
from litestar.datastructures import Cookie

from saqueduct.console.assets import name_of
from saqueduct.console.rendering import environment

LOOK: Final = "saqueduct_console_look"
"""Cookie with the chosen theme and zone, such as "dark.utc"."""

THEMES: Final = ("auto", "light", "dark")
ZONES: Final = ("local", "utc")

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}

AnyRequest = Request[Any, Any, Any]


def rendered(
    template: str, status: int, cookies: Sequence[Cookie], content: Mapping[str, Any], headers: Any = None
) -> Response[str]:
    """A page."""
    page = environment().get_template(template).render(content)
    return Response(
        page,
        status_code=status,
        media_type="text/html",
        headers={**HEADERS, "Cache-Control": "no-store", **(headers or {})},
        cookies=list(cookies),
    )


def led_to(address: str, cookies: Sequence[Cookie] = ()) -> Response[None]:
    """A redirect to a page."""
    headers = {**HEADERS, "Cache-Control": "no-store", "Location": address}
    return Response(None, status_code=303, headers=headers, cookies=list(cookies))


def lone_page(
    prefix: str,
    request: AnyRequest,
    template: str,
    status: int = 200,
    cookies: Sequence[Cookie] = (),
    headers: Any = None,
    **content: Any,
) -> Response[str]:
    """A page without menu, which shows nothing of the application."""
    root = root_of(request) + prefix
    theme = request.cookies.get(LOOK, "").partition(".")[0]
    shared = {
        "asset": lambda name: f"{root}/static/{name_of(name)}",
        "home": root or "/",
        "theme": theme if theme in THEMES else THEMES[0],
        "status": status,
    }
    return rendered(template, status, cookies, {**shared, **content}, headers)


def root_of(request: AnyRequest) -> str:
    """The path under which a server or a proxy serves the application; empty for none."""
    return (request.scope.get("root_path") or "").rstrip("/")
