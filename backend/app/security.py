"""The admin of this application: who may see and change jobs, mails, payments and campaigns."""

from app.settings import Settings
from saqueduct.litestar.attempts import Attempts
from saqueduct.litestar.guards import ADMIN, ADMIN_SECURITY, AdminCredentials, AdminGuard

__all__ = ["ADMIN", "ADMIN_SECURITY", "admin_guard"]


def admin_guard(settings: Settings, attempts: Attempts) -> AdminGuard:
    """Lets pass whoever sends ADMIN_USERNAME and ADMIN_PASSWORD, or ADMIN_TOKEN."""
    admin = settings.admin
    credentials = AdminCredentials(username=admin.username, password=admin.password, token=admin.token)
    return AdminGuard(credentials, attempts, production=settings.production)
