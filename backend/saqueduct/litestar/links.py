"""Addresses of jobs, with a token that gives its holder access to the job's result and error."""

import base64
import copy
import hmac
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from saq import Job

from saqueduct.common.secret import Secret
from saqueduct.tasks.job import own_fields

_RANDOM: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

TOKEN_BYTES: Final = 24


def is_random(key: str) -> bool:
    """True for a key that the queue made: a UUID of version 7 (by earlier releases of version 4), which cannot be
    guessed."""
    return _RANDOM.fullmatch(key) is not None


def address_of(key: str, prefix: str = "") -> str:
    """The address of a job without a token.

    Args:
        key: of the job.
        prefix: path of the router, such as "/queue"; empty for "/".
    """
    return f"{prefix}/jobs/{quote(key, safe=':')}"


class JobLinks:
    """Makes and reads the tokens, which are signatures of queue and key: nothing is stored.

    Args:
        secret: SECRET_KEY; another one makes all earlier tokens invalid.
        prefix: path of the router of the jobs, such as "/queue"; empty for "/".
    """

    def __init__(self, secret: Secret, prefix: str = "") -> None:
        key = hmac.digest(secret.reveal().encode(), b"tokens of jobs", "sha256")
        # Copied for each token: `hmac.digest` would prepare the key every time.
        self._keyed = hmac.new(key, digestmod="sha256")
        self._prefix = prefix
        self.secret_id = self.signature(b"")[:16]
        """Says which signatures can be compared: those of another secret cannot."""

    def under(self, root_path: str) -> "JobLinks":
        """The same for an application that is mounted under a path."""
        mounted = copy.copy(self)
        mounted._prefix = root_path.rstrip("/") + self._prefix
        return mounted

    def location(self, job: Job) -> str:
        """The address of a job, with its token if this call has made the job.

        A job that existed before belongs to another caller, whose result must not be visible to everyone who chooses
        its key.
        """
        return self.address(job.get_queue().name, job.key, created=own_fields(job).created)

    def address(self, queue: str, key: str, *, created: bool) -> str:
        """As `location`, by the names."""
        address = self.plain(key)
        return f"{address}?token={self.token(queue, key)}" if created else address

    def plain(self, key: str) -> str:
        """The address of a job without a token, which shows its status only."""
        return address_of(key, self._prefix)

    def token(self, queue: str, key: str) -> str:
        """The token of a job."""
        keyed = self._keyed.copy()
        keyed.update(f"{queue}\0{key}".encode())
        return base64.urlsafe_b64encode(keyed.digest()[:TOKEN_BYTES]).decode("ascii")

    def signature(self, content: bytes) -> str:
        """The signature of a request, which nobody without the secret can compare with others."""
        keyed = self._keyed.copy()
        # No name of a queue begins so.
        keyed.update(b"\0request\0" + content)
        return keyed.hexdigest()

    def queue_of(self, queues: Iterable[str], key: str, token: str) -> str | None:
        """The queue in which the token opens the job with that key; None: none."""
        given = token.encode()
        return next((name for name in queues if hmac.compare_digest(self.token(name, key).encode(), given)), None)
