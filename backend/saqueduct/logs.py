"""Parts for the logging of an application: which job a line is about, and no values that a task redacts.

structlog.configure(processors=[add_job, structlog.processors.JSONRenderer()])
"""

from saqueduct.common.text import loggable, printable
from saqueduct.tasks.job_log import keep_line
from saqueduct.tasks.log_context import FIELDS, JobLogFilter, add_job
from saqueduct.tasks.redaction import AbridgedJobs, scrub_event, scrub_line

__all__ = [
    "FIELDS",
    "AbridgedJobs",
    "JobLogFilter",
    "add_job",
    "keep_line",
    "loggable",
    "printable",
    "scrub_event",
    "scrub_line",
]
