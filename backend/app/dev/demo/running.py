"""Where the demo may be filled in: a `make dev` of this checkout, never production."""

import httpx

from app.dev.ready import base_url
from app.settings import Settings
from saqueduct.embedded.services import Services

ANSWER_SECONDS = 10.0
"""How long the web process gets to answer."""


class NotRunningError(Exception):
    """There is nothing to fill: this is production, or `make dev` does not run."""


def require_running(settings: Settings, services: Services) -> None:
    """Refuse anything but a running `make dev`.

    Args:
        settings: of the checkout.
        services: its servers.

    Raises:
        NotRunningError: says what to do.
    """
    if settings.production:
        raise NotRunningError("ENVIRONMENT is production: the demo adds invented jobs, for development only")
    url = base_url(settings)
    if not (services.in_use() and _answers(url)):
        raise NotRunningError(
            f"no `make dev` of this checkout answers at {url}: start `make dev` in another terminal first, with the "
            "same WEB_PORT"
        )


def _answers(url: str) -> bool:
    try:
        # trust_env: a proxy of the environment is not for this machine.
        with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS) as client:
            return client.get(f"{url}/health/live").is_success
    except httpx.HTTPError:
        return False
