"""Applications are built without copies of their routers, and share no handler all the same."""

import copy
from typing import Any

import pytest
from litestar import Litestar, Request, Router, get
from litestar.exceptions import ImproperlyConfiguredException
from litestar.testing import TestClient

from app.main import create_app
from app.settings import Settings
from saqueduct.common.sole_router import SoleRouter


def test_no_router_of_an_application_is_copied(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []

    def deepcopy(value: Any) -> Any:
        if (made := copy.deepcopy(value)) is not value:
            copied.append(value.path)
        return made

    monkeypatch.setattr("litestar.router.deepcopy", deepcopy)
    create_app(settings)
    assert copied == []


@get("/", opt={"of": "a module"})
async def owner(request: Request[Any, Any, Any]) -> str:
    return str(request.route_handler.opt["router"])


def test_a_handler_serves_the_routers_of_two_applications() -> None:
    first, second = (
        Litestar([SoleRouter("/", route_handlers=[owner], opt={"router": name})], openapi_config=None)
        for name in ("first", "second")
    )
    with TestClient(first) as one, TestClient(second) as two:
        assert (one.get("/").text, two.get("/").text) == ("first", "second")
    assert owner.opt == {"of": "a module"}


def test_inside_another_router_it_belongs_to_the_application_as_well() -> None:
    inner = SoleRouter("/inner", route_handlers=[SoleRouter("/most", route_handlers=[owner], opt={"router": "inner"})])
    app = Litestar([Router("/outer", route_handlers=[inner])], opt={"app": "it"}, openapi_config=None)
    with TestClient(app) as client:
        assert client.get("/outer/inner/most").text == "inner"
    [route] = [route for route in app.routes if route.path == "/outer/inner/most"]
    [handler] = [each for each in route.route_handlers if "GET" in each.http_methods]  # type: ignore[union-attr]
    assert [type(layer) for layer in handler.ownership_layers[:-1]] == [Litestar, Router, SoleRouter, SoleRouter]
    assert handler.opt == {"of": "a module", "router": "inner", "app": "it"}


def test_it_is_registered_once() -> None:
    router = SoleRouter("/inner", route_handlers=[owner], opt={"router": "inner"})
    Litestar([router], openapi_config=None)
    with pytest.raises(ImproperlyConfiguredException, match="the router of /inner is registered twice"):
        Litestar([Router("/outer", route_handlers=[router])], openapi_config=None)
