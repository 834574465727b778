"""A server in front of moto that is as unkind as AWS may be, and counts what is asked.

It answers by rules, which tests add while whatever they test runs, in this process or in another.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

__all__ = ["Answer", "FaultProxy", "Rule", "Times"]

Params = Mapping[str, str]

_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<{root}>{before}<Error><Code>{code}</Code><Message>{message}</Message></Error>{after}\
<{id}>00000000-0000</{id}></{root}>"""
_ACCESS_KEY = re.compile(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/")


@dataclass(frozen=True)
class Answer:
    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/xml"})

    @classmethod
    def refusal(cls, service: str, code: str, message: str, status: int) -> Answer:
        """An error as EC2, STS or one of the services that speak JSON words it."""
        if service == "ec2":
            parts = {"root": "Response", "before": "<Errors>", "after": "</Errors>"}
        elif service == "sts":
            parts = {"root": "ErrorResponse", "before": "", "after": ""}
        else:
            body = f'{{"__type": "{code}", "message": "{message}"}}'.encode()
            return cls(status, body, {"Content-Type": "application/x-amz-json-1.1"})
        name = "RequestID" if service == "ec2" else "RequestId"
        body = _ERROR.format(**parts, code=code, message=escape(message), id=name).encode()
        return cls(status, body)


class Times:
    """Counts down; None: for ever."""

    def __init__(self, n: int | None) -> None:
        self.left = n
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if self.left is None:
                return True
            self.left -= 1
            return self.left >= 0


@dataclass
class Rule:
    """What becomes of the calls of an action."""

    action: str  #: ``RunInstances``; ``*``: all
    times: Times
    before: Callable[[str, Params], Answer | None] | None = None  #: answers in place of moto
    after: Callable[[Params, Answer], Answer | None] | None = None  #: None: the answer is lost


class FaultProxy:
    """Listen on a port that the system chose, in front of the server at `upstream`."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        #: How often each action was asked for, such as ``ec2:RunInstances``.
        self.calls: Counter[str] = Counter()
        #: What was asked, in order.
        self.log: list[tuple[str, dict[str, str]]] = []
        self.changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def clear(self) -> None:
        """Forget rules and counts."""
        with self.changed:
            self.rules.clear()
            self.calls.clear()
            self.log.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, rule: Rule) -> Rule:
        with self.changed:
            self.rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        with self.changed:
            if rule in self.rules:
                self.rules.remove(rule)

    def wait_for(self, condition: Callable[[], bool], timeout_seconds: float = 60) -> None:
        """Wait until a call has made `condition` true."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout_seconds), dict(self.calls)

    def answer(self, handler: _Handler, body: bytes) -> Answer | None:
        """Find the answer to a request; None: the connection is dropped."""
        service, action, params = _what_is_asked(handler, body)
        with self.changed:
            self.calls[f"{service}:{action}"] += 1
            self.log.append((action, params))
            rules = [rule for rule in self.rules if rule.action in (action, "*")]
            self.changed.notify_all()
        for rule in rules:
            if rule.before is not None and rule.times.take():
                answer = rule.before(service, params)
                if answer is not None:
                    return answer
        answer = self._forwarded(handler, body)
        for rule in rules:
            if rule.after is not None and answer is not None and rule.times.take():
                answer = rule.after(params, answer)
        return answer

    def _forwarded(self, handler: _Handler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        headers = {key: value for key, value in handler.headers.items() if key != "Expect"}
        connection.request(handler.command, handler.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        kept = {key: value for key, value in response.getheaders() if key == "Content-Type"}
        return Answer(response.status, content, kept)


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # one may hang, as it was told to
    proxy: FaultProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: object) -> None:
        return

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.proxy.answer(self, body)
        self.close_connection = answer is None
        if answer is None:
            return
        with suppress(ConnectionError):  # they may have waited long enough
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)


def _what_is_asked(handler: _Handler, body: bytes) -> tuple[str, str, dict[str, str]]:
    signed = _ACCESS_KEY.search(handler.headers.get("Authorization", ""))
    service = signed[2] if signed else ""
    target = handler.headers.get("X-Amz-Target")
    params = {"access_key": signed[1] if signed else ""}
    if target is not None:
        return service, target.rpartition(".")[2], params | {"body": body.decode()}
    params |= dict(parse_qsl(body.decode(), keep_blank_values=True))
    return service, params.get("Action", ""), params
