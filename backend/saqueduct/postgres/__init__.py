"""What PostgreSQL stores: outbox, durable jobs, job records, dead letters."""
