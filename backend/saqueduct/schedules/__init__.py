"""Cron and interval declarations, and their time zones."""
