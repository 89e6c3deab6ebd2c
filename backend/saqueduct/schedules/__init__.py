"""Cron and interval declarations, and the time zones they are read in."""
