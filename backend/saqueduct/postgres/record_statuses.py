"""The statuses of job records: of the table as well as of filters, which need no SQL."""

STATUSES = ("queued", "complete", "failed", "aborted")
"""Statuses of a record; "queued" is a job that waits for another attempt."""
