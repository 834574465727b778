"""Notices that a spot instance is about to be taken away, from the metadata of the instance."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Callable

from ramp_engine.evaluation.instance_metadata import get_notice, get_token, metadata_host

__all__ = ["watch"]

logger = logging.getLogger(__name__)

#: Between two questions, in seconds.
POLL_SECONDS = 5.0


def watch(tell: Callable[[str], None], poll_seconds: float = POLL_SECONDS) -> None:
    """Watch in a thread of its own, if metadata answers at all.

    Parameters
    ----------
    tell : callable
        Called once, with the notice in words.
    poll_seconds : float
        Between two questions.
    """
    host = metadata_host()
    if host:
        arguments = (host, tell, poll_seconds)
        threading.Thread(target=_watch, args=arguments, daemon=True).start()


def _watch(host: str, tell: Callable[[str], None], poll_seconds: float) -> None:
    wait = threading.Event().wait
    token = get_token(host)
    while token:
        status, said = get_notice(host, token)
        if status == http.client.OK:
            logger.warning("this instance is about to be taken away: %s", said)
            tell(f"the instance is taken away: {said}")
            return
        if status == http.client.UNAUTHORIZED:
            token = get_token(host) or token
        wait(poll_seconds)
