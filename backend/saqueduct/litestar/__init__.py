"""Saqueduct in Litestar: the plugin and its configuration."""

from saqueduct.common.sole_router import SoleRouter
from saqueduct.config import SaqueductConfig
from saqueduct.litestar.plugin import SaqueductPlugin

__all__ = ["SaqueductConfig", "SaqueductPlugin", "SoleRouter"]
