"""The metadata service of an instance, as IMDSv2 answers, on a loopback address."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Imds", "running_imds"]

_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"
_SPOT = "/latest/meta-data/spot/instance-action"


class Imds:
    """What the instance is told; from any thread.

    Attributes
    ----------
    url : str
        For RAMP_INSTANCE_METADATA.
    asked : Counter
        How often each path was asked for with a valid token; ``"refused"``: without one.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: Counter[str] = Counter()
        self._tokens: set[str] = set()
        self._notice: dict[str, str] | None = None
        self._lock = threading.Lock()

    def interrupt(self, action: str = "terminate", at: str = "2030-01-01T00:00:00Z") -> None:
        """Give the spot notice: the instance is taken away at `at`."""
        with self._lock:
            self._notice = {"action": action, "time": at}

    def withdraw(self) -> None:
        """Take the notice back: the next instance has none."""
        with self._lock:
            self._notice = None

    def expire_tokens(self) -> None:
        """Have those who ask need a new token."""
        with self._lock:
            self._tokens.clear()

    def token(self) -> str:
        with self._lock:
            self.asked["token"] += 1
            token = f"token-{self.asked['token']}"
            self._tokens.add(token)
            return token

    def answer(self, path: str, token: str | None) -> tuple[int, str]:
        """Give status and content for a path below ``/latest``."""
        with self._lock:
            if token not in self._tokens:
                self.asked["refused"] += 1
                return 401, "401 - Unauthorized"
            self.asked[path] += 1
            if path == _SPOT and self._notice is not None:
                return 200, json.dumps(self._notice)
            return 404, "404 - Not Found"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    imds: Imds


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *args: object) -> None:
        return

    def do_PUT(self) -> None:
        if self.path != "/latest/api/token":
            self._reply(404, "404 - Not Found")
        elif not self.headers.get(_TTL, "").isdigit():
            self._reply(400, "400 - Bad Request")
        else:
            self._reply(200, self.server.imds.token())

    def do_GET(self) -> None:
        self._reply(*self.server.imds.answer(self.path, self.headers.get(_TOKEN)))

    def _reply(self, status: int, content: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())


@contextmanager
def running_imds(host: str = "127.0.0.1") -> Iterator[Imds]:
    """Serve on a port that the system chose, inside the block."""
    server = _Server((host, 0), _Handler)
    server.imds = Imds(f"http://{host}:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.imds
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
