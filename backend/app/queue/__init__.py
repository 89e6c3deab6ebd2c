"""The application's queue: its registry, its configuration and the tasks of nobody else."""
