"""Telemetry: what operators see of queues and workers."""
