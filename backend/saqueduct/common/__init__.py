"""Small helpers that every room uses; they know nothing of jobs."""
