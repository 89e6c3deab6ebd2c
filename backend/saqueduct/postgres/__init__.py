"""What PostgreSQL keeps: outbox, durable jobs, job records, dead letters."""
