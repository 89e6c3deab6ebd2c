"""The reference application; `create_app` builds it; Litestar's command line finds it here."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Not imported with the package: most of its modules need no web application.
    if name == "create_app":
        from app.main import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
