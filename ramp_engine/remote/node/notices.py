"""Notices that a spot instance is about to be taken away, from the metadata of the instance.

References
----------
Amazon EC2 User Guide, "Spot Instance interruption notices": ``spot/instance-action`` appears two
minutes before; asked for with a session token (IMDSv2).
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

__all__ = ["watch"]

logger = logging.getLogger(__name__)

#: Where the metadata is; empty: nobody is asked.
ENDPOINT = "http://169.254.169.254"
VARIABLE = "RAMP_INSTANCE_METADATA"
#: For an answer, and between two questions, in seconds.
ANSWER_SECONDS, POLL_SECONDS = 1.0, 5.0

_TOKEN_SECONDS = 21600
_MAX_ANSWER = 10_000


def watch(tell: Callable[[str], None], poll_seconds: float = POLL_SECONDS) -> None:
    """Watch in a thread of its own, if metadata answers at all.

    Parameters
    ----------
    tell : callable
        Called once, with the notice in words.
    poll_seconds : float
        Between two questions.
    """
    endpoint = os.environ.get(VARIABLE, ENDPOINT)
    if endpoint:
        arguments = (urlsplit(endpoint).netloc, tell, poll_seconds)
        threading.Thread(target=_watch, args=arguments, daemon=True).start()


def _watch(host: str, tell: Callable[[str], None], poll_seconds: float) -> None:
    wait = threading.Event().wait
    token = _token(host)
    while token:
        status, said = _ask(host, "GET", "spot/instance-action", token)
        if status == http.client.OK:
            logger.warning("this instance is about to be taken away: %s", said)
            tell(f"the instance is taken away: {said}")
            return
        if status == http.client.UNAUTHORIZED:
            token = _token(host) or token
        wait(poll_seconds)


def _token(host: str) -> str:
    """Get a token; empty where nobody answers."""
    status, said = _ask(host, "PUT", "", "")
    return said if status == http.client.OK else ""


def _ask(host: str, method: str, name: str, token: str) -> tuple[int, str]:
    """Ask for a token, or with one for an item; (0, "") without an answer."""
    path = f"/latest/meta-data/{name}" if name else "/latest/api/token"
    lasting = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
    connection = http.client.HTTPConnection(host, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        try:
            headers = {"X-aws-ec2-metadata-token": token} if token else lasting
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_MAX_ANSWER).decode(errors="replace").strip()
        except (OSError, http.client.HTTPException):
            return 0, ""
