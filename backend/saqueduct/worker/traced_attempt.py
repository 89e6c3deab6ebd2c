"""TracedAttempt: an attempt with a span."""

from typing import Any

from saqueduct.queue.outcomes import Outcome
from saqueduct.queue.tracing import AttemptTrace
from saqueduct.worker.attempt import Attempt


class TracedAttempt(Attempt):
    """An attempt in whose span the task runs; only for jobs that are sampled."""

    _trace: AttemptTrace | None = None
    _error: BaseException | None = None

    async def _run(self) -> None:
        if (tracer := self._runtime.core.tracer) is not None:
            self._trace = tracer.attempt(self.job)
        await super()._run()

    def _failed(self, context: Any, error: BaseException) -> Outcome:
        self._error = error
        return super()._failed(context, error)

    def _settle(self, outcome: Outcome | None) -> None:
        if self._trace is not None and not self._settled:
            self._trace.end(outcome, self._error)
        super()._settle(outcome)
