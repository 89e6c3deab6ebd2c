"""The admin of this application: who may see and change jobs, mails, payments and campaigns."""

from saqueduct.litestar.guards import ADMIN, ADMIN_SECURITY

__all__ = ["ADMIN", "ADMIN_SECURITY"]
