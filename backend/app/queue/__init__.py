"""The application's queue: its registry, its configuration and the tasks that belong to no domain."""
