"""What a cloud instance is told about itself, such as that it is about to be taken away.

References
----------
Amazon EC2 User Guide, "Spot Instance interruption notices": ``spot/instance-action`` appears two
minutes before; asked for with a session token (IMDSv2).
"""

from __future__ import annotations

import contextlib
import http.client
import os
from urllib.parse import urlsplit

#: Where the metadata is; empty: nobody is asked.
ENDPOINT = "http://169.254.169.254"
VARIABLE = "RAMP_INSTANCE_METADATA"
#: For an answer, in seconds.
ANSWER_SECONDS = 1.0
#: How long a token holds, in seconds.
TOKEN_SECONDS = 21600

_MAX_ANSWER = 10_000


def metadata_host() -> str:
    """Give the host, and port, that is asked; empty: nobody is."""
    return urlsplit(os.environ.get(VARIABLE, ENDPOINT)).netloc


def get_token(host: str) -> str:
    """Get a token; empty where nobody answers."""
    status, said = _ask(host, "PUT", "", "")
    return said if status == http.client.OK else ""


def get_notice(host: str, token: str) -> tuple[int, str]:
    """Ask whether the instance is about to be taken away.

    Returns
    -------
    status : int
        200: it is; 401: the token holds no longer; 0: no answer.
    notice : str
        What was said.
    """
    return _ask(host, "GET", "spot/instance-action", token)


def _ask(host: str, method: str, name: str, token: str) -> tuple[int, str]:
    """Ask for a token, or with one for an item; (0, "") without an answer."""
    path = f"/latest/meta-data/{name}" if name else "/latest/api/token"
    lasting = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
    connection = http.client.HTTPConnection(host, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        try:
            headers = {"X-aws-ec2-metadata-token": token} if token else lasting
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_MAX_ANSWER).decode(errors="replace").strip()
        except (OSError, http.client.HTTPException):
            return 0, ""
