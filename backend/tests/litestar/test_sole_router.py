"""Applications are built without copies of their routers, and share no handler all the same."""

import copy
from typing import Any

import pytest
from litestar import Litestar, Request, get
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
