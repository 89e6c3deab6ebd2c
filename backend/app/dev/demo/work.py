"""What the application of the demo does all day: its tasks, how often they run, how long they take, how they fail."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, NamedTuple

Arguments = dict[str, Any]

NAMES: Final = ("ada", "grace", "linus", "margaret", "alan", "barbara", "dennis", "frances", "guido", "hedy")
SUBJECTS: Final = ("Your invoice", "Reset your password", "Your order has shipped", "Welcome back", "Security notice")
PLANS: Final = ("active", "inactive", "suspended")


class Failure(NamedTuple):
    """An error that ends a job.

    Attributes:
        error: its last line; with the arguments of the job, `{to}` and a random `{number}`.
        where: file, line and function that raised it.
        retried: True when the attempts before failed with it as well.
    """

    error: str
    where: str
    retried: bool = True


class Work(NamedTuple):
    """A task that people or other jobs enqueue.

    Attributes:
        task: its name.
        an_hour: jobs in a busy hour.
        wait, run: medians in seconds.
        arguments, result: of a job.
        failures: how its jobs fail.
        share: of all jobs that fail.
        slow: share of jobs that take twenty times as long.
    """

    task: str
    an_hour: int
    wait: float
    run: float
    arguments: Callable[[Random], Arguments]
    result: Callable[[Arguments], Any]
    failures: Sequence[Failure] = ()
    share: float = 0.0
    slow: float = 0.01


MAILBOX = Failure(
    "app.emails.errors.PermanentMailError: 550 5.1.1 <{to}>: mailbox unavailable",
    'app/emails/mailers.py", line 96, in send',
    retried=False,
)
MAIL_SERVER = Failure(
    "app.emails.errors.MailServerAway: cannot connect to smtp.example.com:587: timed out",
    'app/emails/mailers.py", line 71, in connect',
)
GATEWAY = Failure(
    "app.payments.errors.GatewayUnavailable: the gateway answered 503 for payment {payment_id}",
    'app/payments/gateway.py", line 58, in capture',
)
NO_PAYMENT = Failure(
    "app.payments.errors.PaymentNotFound: there is no payment {payment_id}",
    'app/payments/capturing.py", line 41, in capture',
    retried=False,
)
REFUSED = Failure(
    "app.emails.errors.TemporaryMailError: {number} of the recipients were refused for now",
    'app/campaigns/tasks.py", line 60, in send_campaign_chunk',
)
NO_USER = Failure(
    "app.users.errors.UserNotFound: there is no user {user_id}",
    'app/users/service.py", line 120, in change_status',
    retried=False,
)


def _mail(random: Random) -> Arguments:
    subject = random.choice(SUBJECTS)
    return {"to": f"{random.choice(NAMES)}@example.com", "subject": subject, "body": f"{subject}: see your account."}


def _user(random: Random) -> Arguments:
    return {"user_id": random.randint(1, 900)}


def _chunk(random: Random) -> Arguments:
    first = random.randint(0, 40) * 100 + 1
    return {"campaign_id": random.randint(1, 12), "first": first, "last": first + 99}


WORK: Final = (
    Work(
        "send_email", 70, 0.04, 0.3, _mail, lambda a: {"status": "sent", "to": a["to"]}, (MAILBOX, MAIL_SERVER), 0.02
    ),
    Work("capture_payment", 35, 0.02, 0.7, lambda r: {"payment_id": r.randint(1000, 9000)},
         lambda a: {**a, "status": "captured"}, (GATEWAY, NO_PAYMENT), 0.03, 0.05),
    Work("send_campaign_chunk", 25, 3.0, 8.0, _chunk, lambda a: {"sent": 100, "failed": 0, "delayed": 0},
         (REFUSED,), 0.03),
    Work("my_task", 20, 0.01, 0.02, _user, lambda a: {"status": "success", **a}),
    Work("send_welcome_email", 12, 0.05, 0.4, _user, lambda a: {"status": "sent"}, (MAILBOX,), 0.02),
    Work("update_user_status", 5, 0.02, 0.03, lambda r: {**_user(r), "status": r.choice(PLANS)}, lambda a: a,
         (NO_USER,), 0.08),
    Work("send_campaign", 2, 0.03, 1.2, lambda r: {"campaign_id": r.randint(1, 12)},
         lambda a: {**a, "chunks": 12}),
)  # fmt: skip
"""Work by day; at night there is less."""

SCHEDULED: Final[dict[str, tuple[float, Any]]] = {
    "ping": (0.001, {"result": "pong"}),
    "check_status": (0.2, {"settled": 2, "open": 1}),
    "resume_campaigns": (0.05, {"campaigns": 0}),
    "batch_process": (4.0, {"checked": 420, "dropped": 0}),
    "cleanup_old_records": (11.0, {"deleted_count": 37}),
    "cleanup_sessions": (6.0, {"deleted_count": 212}),
    "cleanup_emails": (8.0, {"deleted_count": 96}),
    "todo.cleanup": (2.0, {"deleted_count": 14}),
    "weekly_report": (9.0, {"status": "sent", "campaigns": 5}),
}
"""Median of the run time in seconds, and result, of scheduled tasks."""

BUSY: Final = (2, 1, 1, 1, 1, 2, 4, 6, 9, 10, 10, 9, 8, 9, 10, 10, 9, 8, 7, 6, 6, 5, 4, 3)
"""Tenths of WORK in each hour of the day, in UTC."""
