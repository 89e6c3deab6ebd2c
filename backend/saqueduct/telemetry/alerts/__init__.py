"""Alerts for applications without Prometheus: what is wrong is noticed, and said once."""

from saqueduct.telemetry.alerts.alert import Alert

__all__ = ["Alert"]
