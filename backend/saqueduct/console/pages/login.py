"""The login page, which browsers get instead of a question of their own; and signing out."""

from typing import Any, Final

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, TooManyRequestsException

from saqueduct.console.view import View

MOST_BYTES: Final = 16 * 1024
"""Bytes of the form, which everybody may send."""

# For middleware of the application: who signs in is not signed in.
OPEN: Final[dict[str, Any]] = {"role": None, "exclude_from_auth": True}
"""Handler options of what needs no role."""

WRONG: Final = "The name or the password is wrong."

STALE: Final = "This form was too old, or the browser keeps no cookies. Try again."


class LoginPages(Controller):
    """Signing in and out."""

    path = "/"

    @get("/login", opt={**OPEN, "query": ("next",)})
    async def show(self, view: NamedDependency[View]) -> Response[Any]:
        """The form; where nobody signs in by password, the page behind it."""
        goal = view.request.query_params.get("next", "")
        return _form(view, goal) if view.console.entry.sign_in.takes_passwords else view.go(goal)

    @post("/login", opt=OPEN, request_max_body_size=MOST_BYTES)
    async def sign_in(self, view: NamedDependency[View]) -> Response[Any]:
        """Begin a session, and lead to the page that was asked for."""
        entry, form = view.console.entry, await view.fields()
        goal, name = form.text("next"), form.exact("name")
        if not entry.sign_in.takes_passwords:
            raise PermissionDeniedException("nobody signs in here with a password")
        if not entry.tokens.is_visitor_token(view.request, form.text("token")):
            return _form(view, goal, 403, name, STALE)
        try:
            person = await entry.sign_in.sign_in(view.request, name, form.exact("password"))
        except NotAuthorizedException:
            # 401 would make the browser ask, too.
            return _form(view, goal, 403, name, WRONG)
        except TooManyRequestsException as error:
            return _form(view, goal, 429, name, f"{error.detail[:1].upper()}{error.detail[1:]}.", error.headers)
        return view.go(goal, [entry.tokens.begin(view.request, person)])

    @post("/logout")
    async def sign_out(self, view: NamedDependency[View]) -> Response[Any]:
        """End the session of this browser."""
        await view.form()
        return view.go(view.url("login"), [view.console.entry.tokens.end(view.request)])


def _form(
    view: View, goal: str, status: int = 200, name: str = "", problem: str = "", headers: Any = None
) -> Response[Any]:
    token, cookie = view.console.entry.tokens.visitor(view.request)
    return view.lone_page(
        "login.html",
        status,
        [cookie],
        headers,
        action=view.url("login"),
        goal=goal,
        token=token,
        name=name,
        problem=problem,
    )
