"""The limits of an application: their state, and changes of them by hand."""

import dataclasses

from saqueduct.broker.outage import answering
from saqueduct.queue.limit_states import Declared, LimitState, LimitStates, changed, declared_limits, find_limit
from saqueduct.queue.queues import Queues
from saqueduct.tasks import newest


class Limits:
    """The limits of all tasks of some queues.

    A change by hand is valid at once, also for jobs that wait already. It survives restarts and deploys, until `reset`
    or until the code declares other numbers for this limit.

        await Limits(queues).change("stripe", limit=45, by="ada", why="the provider is slow")

    Args:
        queues: connected.
    """

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def states(self) -> list[LimitState]:
        """All limits, by name.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        by_queue: dict[str, dict[str, Declared]] = {}
        for name, each in sorted(declared_limits(self._queues.tasks.get_all_tasks()).items()):
            by_queue.setdefault(each.queue, {})[name] = each
        async with answering(self._queues.answer_timeout):
            found = [state for queue, limits in by_queue.items() for state in await self._of(queue).states(limits)]
        return sorted(found, key=lambda state: state.name)

    async def state(self, name: str) -> LimitState:
        """One limit.

        Raises:
            UnknownLimit: no task has it.
            QueueUnavailable: Redis did not answer.
        """
        declared = self._find(name)
        async with answering(self._queues.answer_timeout):
            [state] = await self._of(declared.queue).states({name: declared})
        return state

    async def change(
        self,
        name: str,
        *,
        limit: int | None = None,
        per: float | None = None,
        burst: int | None = None,
        by: str = "",
        why: str = "",
    ) -> LimitState:
        """Set other numbers; those that are left out stay.

        Args:
            name: of the limit.
            limit: jobs that run at once, or that start in `per` seconds.
            per: seconds, of a rate.
            burst: jobs that may start at once after a quiet time, of a rate.
            by: who changes it.
            why: the reason, shown with the limit.

        Raises:
            ValueError: no number, one out of range, one that this limit does not have, or the limit of a task whose
                newest job wins; names it.
            UnknownLimit: no task has it.
            QueueUnavailable: Redis did not answer.
        """
        declared = self._find(name)
        self._check_changeable(name)
        current = dataclasses.asdict((await self.state(name)).numbers)
        changed(declared.limit, given := {"limit": limit, "per": per, "burst": burst})
        others = {each: value for each, value in given.items() if value is not None}
        wanted = changed(declared.limit, current | others)
        async with answering(self._queues.answer_timeout):
            await self._of(declared.queue).change(name, declared.limit, wanted, by, why)
        return await self.state(name)

    async def reset(self, name: str) -> bool:
        """End a change by hand; returns False if there was none.

        Raises:
            UnknownLimit: no task has it.
            QueueUnavailable: Redis did not answer.
        """
        declared, was = self._find(name), (await self.state(name)).changed
        async with answering(self._queues.answer_timeout):
            await self._of(declared.queue).change(name, declared.limit, None)
        return was is not None

    def _check_changeable(self, name: str) -> None:
        tasks = self._queues.tasks.get_all_tasks()
        if any(newest.is_its_limit(name, task.name, task.defaults) for task in tasks):
            raise ValueError(
                f'limit: {name!r} is 1, as on_conflict="cancel" needs it: two of its jobs never run at once'
            )

    def _find(self, name: str) -> Declared:
        return find_limit(self._queues.tasks.get_all_tasks(), name)

    def _of(self, queue: str) -> LimitStates:
        return LimitStates(self._queues.get(queue).core)
