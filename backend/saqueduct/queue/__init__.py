"""The queue on top of the broker: enqueue, read, pause, settle."""
