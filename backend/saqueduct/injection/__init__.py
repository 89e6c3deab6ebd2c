"""Injection: fills the parameters of a task that are not part of the payload, from one scope per job."""
