"""`/menu`: what the menu shows of the present state, for pages of which nothing else is updated."""

from litestar import Response, get
from litestar.di import NamedDependency

from saqueduct.console.view import View


@get("/menu")
async def menu(view: NamedDependency[View]) -> Response[str]:
    """The parts of the menu that change: a page of its own would be read every few seconds for them."""
    return await view.page("menu.html")
