"""Injection: fills the parameters of a task that do not travel with its jobs, from one scope a job."""
