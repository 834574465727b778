"""Know without waiting for a time when every process of a tree is there, and when none is left."""

from __future__ import annotations

import os
import select
import textwrap

#: Longer than anything here takes; a test that waits so long has failed, in seconds.
PATIENCE_SECONDS = 240.0


class Presence:
    """A pipe whose writing end a whole tree inherits: it ends when the last process has.

    Attributes
    ----------
    fd : int
        The writing end, to be passed on.
    """

    def __init__(self) -> None:
        self.reader, self.fd = os.pipe()
        os.set_inheritable(self.fd, True)
        self._text = b""
        self._is_ours = True

    def close_ours(self) -> None:
        """Close our copy of the writing end, once the tree has one."""
        if self._is_ours:
            os.close(self.fd)
            self._is_ours = False

    def wait_for_lines(self, n_lines: int) -> list[str]:
        """Wait until the tree has written so many lines; give them."""
        while self._text.count(b"\n") < n_lines:
            assert self._read(), f"the tree ended after {self._text!r}"
        return self.lines

    @property
    def lines(self) -> list[str]:
        """What the tree has said so far."""
        return self._text.decode().splitlines()

    def wait_for_end(self) -> None:
        """Wait until no process of the tree is left."""
        self.close_ours()
        while self._read():
            pass

    def _read(self) -> bytes:
        ready, _, _ = select.select([self.reader], [], [], PATIENCE_SECONDS)
        assert ready, "something of the tree is still there"
        chunk = os.read(self.reader, 4096)
        self._text += chunk
        return chunk

    def close(self) -> None:
        self.close_ours()
        os.close(self.reader)


#: Python code for the tests' trees: `say` tells the test, `daemon` starts a double-forked process
#: in a session of its own that ignores SIGTERM, `sleep` never returns.
PRELUDE = textwrap.dedent("""\
    import os, signal, sys, time
    FD = int(sys.argv[1])
    def say(word):
        os.write(FD, f"{word} {os.getpid()}\\n".encode())
    def sleep():
        while True:
            time.sleep(60)
    def deaf():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    def daemon():
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            deaf()
            say("daemon")
            sleep()
        os.wait()
    """)
