"""The command line, `python -m app.cli`: jobs, dead letters, tasks, schedules and queues. A module a noun."""
