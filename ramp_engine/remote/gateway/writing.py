"""What takes long to write is written beside the core: a slow disk keeps no lease from renewal."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ramp_engine.remote.gateway.nodes import Post

__all__ = ["Writer"]

#: With so much waiting no more folds are begun.
MAX_WAITING = 8


class Writer:
    """One thread that writes; in the order in which it is asked to.

    Parameters
    ----------
    post : callable
        Has the core go on.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._pool = ThreadPoolExecutor(1, "writing")
        self._n_waiting = 0

    @property
    def is_behind(self) -> bool:
        """Whether so much waits that no more should come."""
        return self._n_waiting >= MAX_WAITING

    def do(self, write: Callable[[], None], then: Callable[[], None]) -> None:
        """Have something written, and the core go on afterwards, also where that has failed."""
        self._n_waiting += 1

        def go_on() -> None:
            self._n_waiting -= 1
            then()

        self._pool.submit(write).add_done_callback(lambda _: self._post(go_on))
