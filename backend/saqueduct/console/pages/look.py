"""How pages look: theme and time zone, kept in a cookie."""

from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency

from saqueduct.console.answers import THEMES, ZONES
from saqueduct.console.view import View


@post("/look")
async def set_look(view: NamedDependency[View]) -> Response[Any]:
    """Keep the theme and the zone of times that a viewer chose."""
    form = await view.form()
    theme, zone = view.look()
    theme, zone = form.text("theme", theme), form.text("zone", zone)
    cookie = view.looks(theme if theme in THEMES else THEMES[0], zone if zone in ZONES else ZONES[0])
    return view.go(form.text("back"), [cookie])
