"""SAQ's own tests of queue, worker and job, run with the engine's classes in place of SAQ's; `make conformance`."""
