"""Alert: what its receivers get."""

import dataclasses
import datetime as dt
from typing import Any, Literal

Severity = Literal["critical", "warning"]


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """Something is wrong, or is no longer.

    Attributes:
        name: of the condition, such as "no_workers"; see `conditions`.
        subject: the queue, schedule or server that it is about.
        severity: "critical": jobs do not run; "warning": somebody should look.
        summary: what is wrong, in one sentence.
        remedy: what to do about it.
        since: when it began, in epoch seconds by the clock of Redis.
        resolved: True: it is over, and was reported before.
        environment: of the application, "development" or "production".
    """

    name: str
    subject: str
    severity: Severity
    summary: str
    remedy: str
    since: float
    resolved: bool
    environment: str

    @property
    def title(self) -> str:
        """One line for people."""
        state = "resolved" if self.resolved else self.severity
        return f"[{self.environment}] {state}: {self.summary}"

    @property
    def text(self) -> str:
        """The title, and what to do while it lasts."""
        return self.title if self.resolved else f"{self.title}\n{self.remedy}"

    def fields(self) -> dict[str, Any]:
        """As JSON: the attributes, the time in ISO 8601, and `text`, which Slack and its likes show."""
        since = dt.datetime.fromtimestamp(self.since, dt.UTC).isoformat(timespec="seconds")
        status = "resolved" if self.resolved else "firing"
        values = {name: getattr(self, name) for name in ("name", "subject", "severity", "summary", "remedy")}
        return {"text": self.text, "status": status, **values, "since": since, "environment": self.environment}
