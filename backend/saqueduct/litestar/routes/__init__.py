"""The queue over HTTP: tasks, jobs, records, dead letters, queues, schedules and health."""
