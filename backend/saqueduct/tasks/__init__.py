"""Tasks: the decorators, their options, what they accept, and the handles that calls return."""
