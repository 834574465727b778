"""The place where the submissions of an event run, as a whole: what its workers have in common.

Plugins find these in `ramp_engine.base.BaseWorker`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["IsLive", "WorkerPlace"]

#: Tells whether somebody answers for what (dispatcher, submission, attempt) name; see `reap`.
IsLive = Callable[[int, int, int], bool]


class WorkerPlace:
    """The part of a worker class that no single submission is asked with."""

    @classmethod
    @contextlib.contextmanager
    def open_shared(cls, config: Mapping[str, Any]) -> Iterator[Any]:  # noqa: ARG003
        """Hold what all workers of one dispatcher share, such as a client of a cluster.

        Entered once per dispatcher; the value becomes the attribute ``shared`` of each worker.

        Parameters
        ----------
        config : mapping
            As for a worker, without what belongs to one submission; ``deployment`` is missing where
            the class `begins_early`.
        """
        yield None

    @classmethod
    def warm_up(cls, config: Mapping[str, Any], shared: Any) -> None:  # noqa: ARG003
        """Have ready what runs will soon need; called once, in the background of a dispatcher.

        Parameters
        ----------
        config : mapping
            As for `open_shared`, and ``bundle_dir``.
        shared : object
            What `open_shared` gave.
        """
        return

    @classmethod
    def give_up_waiting(cls, shared: Any) -> None:  # noqa: ARG003
        """Have calls end that wait for what is not there yet, such as a cluster that is away.

        Called when the dispatcher ends, before its runs have; returns at once. What is there goes
        on.

        Parameters
        ----------
        shared : object
            What `open_shared` gave.
        """
        return

    @classmethod
    def reap(cls, config: Mapping[str, Any], shared: Any, is_live: IsLive) -> None:  # noqa: ARG003
        """End what workers of this event have left and nobody answers for; here, nothing.

        Called where `reaps` is set: by each dispatcher when it starts and about once a minute, in
        a thread of its own, and by the daemon for events that have none. So it may be called by
        several at once, while workers run, and must end nothing of which it is not sure. An error
        is logged, and it is called again.

        Parameters
        ----------
        config : mapping
            As for `open_shared`, and ``deployment`` in any case; ``dispatcher_id`` is that of the
            caller, None when it is no dispatcher.
        shared : object
            What `open_shared` gave; None when the caller is no dispatcher.
        is_live : callable
            Told dispatcher, submission and attempt that something was started by and for (see
            ``config`` of a worker), whether somebody may still answer for it. Asks the database: to
            be asked after one has looked at what there is, never before, since what is started in
            between would look dead. It raises `DatabaseUnavailableError` when nobody knows, which
            ends the call. A dispatcher's number that there is not, such as 0, asks whether the
            run of the attempt can be adopted.
        """
        return

    @classmethod
    def check_online(cls, config: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG003
        """Look for what would keep submissions from running where they are to run; here, nothing.

        For ``ramp config check --online``: the place is asked, nothing is started, nothing costs.

        Parameters
        ----------
        config : mapping
            As for `open_shared`; ``deployment`` may be missing.

        Returns
        -------
        sequence of str
            A problem each, with what to do about it.

        Raises
        ------
        WorkerError
            The place cannot be asked: a problem as well.
        """
        return ()

    @classmethod
    def usage(cls, config: Mapping[str, Any]) -> str | None:  # noqa: ARG003
        """Tell what the event has used of its budget, and when that will be spent; here, None.

        For ``ramp status``, where the section ``worker`` has ``max_instance_hours`` or
        ``max_cost``: from files, never by asking a service. The parameters are those of
        `check_online`.
        """
        return None

    @classmethod
    def fold_environment(cls, config: Mapping[str, Any], shared: Any) -> str:  # noqa: ARG003
        """Name what folds depend on beside bundle, files and the keys of the worker.

        Such as the packages on the nodes; with another answer no fold is kept for the next attempt.
        The parameters are those of `warm_up`.
        """
        return ""
