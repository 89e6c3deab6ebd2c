"""What PostgreSQL remembers of jobs: the outbox, durable jobs, job records and dead letters."""
