"""The command line, `saqueduct`: jobs, dead letters, tasks, schedules, queues and workers. A module a noun."""
