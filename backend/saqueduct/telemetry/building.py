"""Builds the metrics and alerts that a SaqueductConfig asks for."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from saqueduct.common.secret import Secret
from saqueduct.config import SaqueductConfig
from saqueduct.errors import ConfigurationError
from saqueduct.queue.metering import Meter
from saqueduct.queue.queues import Queues
from saqueduct.telemetry.counters import JobCounters
from saqueduct.telemetry.reporter import MetricsReporter

if TYPE_CHECKING:
    from saqueduct.postgres.store import PostgresStore
    from saqueduct.telemetry.alerts.watcher import AlertWatcher


def build_metrics(config: SaqueductConfig, queues: Queues, store: "PostgresStore | None") -> MetricsReporter | None:
    """Counts the jobs of these queues from now on; None: metrics are off, and nothing is counted.

    Raises:
        ConfigurationError: a package is missing.
    """
    if config.has_metrics:
        _check_prometheus()
    if not (config.has_metrics or config.opentelemetry):
        return None
    sessions, records = (None, None) if store is None else (store.sessions, store.recorder)
    if not config.opentelemetry:
        return MetricsReporter(queues, sessions, records)
    try:
        from saqueduct.telemetry.opentelemetry import OpenTelemetryMetrics
    except ModuleNotFoundError as error:
        raise ConfigurationError("opentelemetry=True needs its API: pip install 'saqueduct[otel]'") from error
    twins = OpenTelemetryMetrics(config.meter_provider)
    wrap: Callable[[JobCounters], Meter] = twins.wrap
    reporter = MetricsReporter(queues, sessions, records, wrap)
    twins.observe(reporter)
    return reporter


def build_alerts(config: SaqueductConfig, queues: Queues, store: "PostgresStore | None") -> "AlertWatcher | None":
    """What reports when something is wrong; None: the settings name no channel for it."""
    if not (config.alert_webhook or config.alert_mail_to or config.alert_function):
        return None
    # Here: few applications use them.
    from saqueduct.telemetry.alerts.channels import channels_of
    from saqueduct.telemetry.alerts.watcher import AlertWatcher
    from saqueduct.telemetry.system_state import SystemReader

    system = SystemReader(queues, None if store is None else store.sessions)
    return AlertWatcher(queues, system, channels_of(config), config.environment)


def metrics_port(config: SaqueductConfig, reporter: MetricsReporter | None) -> AbstractContextManager[object]:
    """Serves the metrics of a worker process during a `with` block, if the settings ask for it.

    Raises:
        ConfigurationError: the port cannot be opened.
    """
    if reporter is None or config.metrics_port is None:
        return nullcontext()
    from saqueduct.telemetry.metrics_port import MetricsPort

    return MetricsPort(reporter, config.metrics_host, config.metrics_port, Secret(config.metrics_token))


def _check_prometheus() -> None:
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "metrics for Prometheus need prometheus-client: pip install 'saqueduct[prometheus]'"
        ) from error
