"""Addresses of the console that only take forms, such as those of actions: opened as a page, they lead back."""

from collections.abc import Iterable, Iterator

from litestar import Controller, Response, get
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

DETAIL = "this address takes a form of another page: go back there, and use its button"


def post_only_pages(pages: Iterable[ControllerRouterHandler]) -> HTTPRouteHandler:
    """The page of an error at each address that has handlers for forms alone, where the application would answer with
    JSON."""
    methods: dict[str, set[str]] = {}
    for path, handler in _handlers(pages):
        methods.setdefault(path, set()).update(handler.http_methods)

    @get(sorted(path for path, known in methods.items() if "GET" not in known))
    async def form_only() -> Response[str]:
        raise MethodNotAllowedException(DETAIL, headers={"Allow": "POST"})

    return form_only


def _handlers(pages: Iterable[ControllerRouterHandler]) -> Iterator[tuple[str, HTTPRouteHandler]]:
    """Each path, with a handler that it has."""
    for page in pages:
        if isinstance(page, HTTPRouteHandler):
            yield from ((path, page) for path in page.paths)
        elif isinstance(page, type) and issubclass(page, Controller):
            # Its `path` is a slot to a type checker.
            begin = str(vars(page).get("path", "")).rstrip("/")
            for handler in vars(page).values():
                if isinstance(handler, HTTPRouteHandler):
                    yield from ((begin + path.rstrip("/"), handler) for path in handler.paths)
