"""The errors of workers, plugins and confinement, beside those of `ramp_database.errors`.

::

    RampError
      WorkerError
        WorkerSetupError              where it should run cannot be made ready
        ResourceUnavailableError      no room just now; trying again may help
        WorkerLostError               the place where it ran is gone; trying again may help
        TransportError                a command, or a file on its way, failed
          ConnectionLostError         no connection, or it broke; trying again may help
          HostKeyError                the host is not the one that it should be
          AuthenticationError         the host refuses the key
        CollectError                  the results could not be fetched
        WorkerStateError              a method was called in the wrong state
      EvaluationError                 a trusted step (prepare, score) failed
      SandboxError                    confinement was asked for and cannot be had
      PluginError                     unknown type of worker or hook, or one that fails to load
      HookError                       a hook could not do its part; no submission depends on it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ramp_database.errors import (
    AlreadyExistsError,
    ClaimLostError,
    ConfigError,
    ConfigErrors,
    DatabaseError,
    DatabaseUnavailableError,
    NotFoundError,
    RampError,
    SchemaError,
    SubmissionRejectedError,
    TransitionError,
    nearest,
)

__all__ = [
    "AlreadyExistsError",
    "AuthenticationError",
    "ClaimLostError",
    "CollectError",
    "ConfigError",
    "ConfigErrors",
    "ConnectionLostError",
    "DatabaseError",
    "DatabaseUnavailableError",
    "EvaluationError",
    "HookError",
    "HostKeyError",
    "NotFoundError",
    "PluginError",
    "RampError",
    "ResourceUnavailableError",
    "SandboxError",
    "SchemaError",
    "SubmissionRejectedError",
    "TransitionError",
    "TransportError",
    "WorkerError",
    "WorkerLostError",
    "WorkerSetupError",
    "WorkerStateError",
    "nearest",
]


class WorkerError(RampError):
    """A worker could not do its part: ours, never the participant's.

    Parameters
    ----------
    reason : str
        What happened, to what.
    hint : str
        What to do about it.
    """

    #: Whether another attempt may well succeed.
    is_retryable: ClassVar[bool] = False

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason = reason
        self.hint = hint
        super().__init__(reason + (f". {hint}" if hint else ""))


class WorkerSetupError(WorkerError):
    """The place where the submission should run cannot be made ready.

    To do: what the message says, mostly about the event's environment; ``ramp doctor`` tries it.
    """


class ResourceUnavailableError(WorkerError):
    """There is no room for the submission just now.

    To do: nothing: the submission goes back to the queue, uncounted, and is tried again. Where it
    lasts, give more room, or ask for less in the section ``worker``.
    """

    is_retryable = True


class WorkerLostError(WorkerError):
    """The place where the submission ran is gone.

    To do: nothing: the submission is run again, up to ``max_attempts`` times, and only the folds
    that are missing. Where it happens often, see why machines or processes end there.
    """

    is_retryable = True


class TransportError(WorkerError):
    """A command, or a file on its way, failed.

    To do: see that the disk at the other end has room and that its machine is well; the submission
    is tried again.

    Parameters
    ----------
    reason, hint : str
        As for any `WorkerError`.
    is_full : bool
        Whether the disk at the other end has no room for the file.
    """

    is_retryable = True

    def __init__(self, reason: str, hint: str = "", *, is_full: bool = False) -> None:
        self.is_full = is_full
        super().__init__(reason, hint)


class ConnectionLostError(TransportError):
    """There is no connection: refused, reset, closed, or silent for longer than was allowed.

    To do: see that the machine runs and can be reached by SSH; the submission is tried again.
    """


class HostKeyError(TransportError):
    """The host shows another key than the one it is known by.

    To do: find out why the key is another one. Where the machine was rightly replaced, make the new
    key known; else somebody may be listening.

    Parameters
    ----------
    host : str
        The host, with the port.
    found : str
        Kind and fingerprint of the key that it shows.
    expected : sequence of str
        Kind and fingerprint of the keys that it may show.
    """

    is_retryable = False

    def __init__(self, host: str, found: str, expected: Sequence[str]) -> None:
        self.host = host
        self.found = found
        self.expected = tuple(expected)
        super().__init__(
            f"{host} shows the host key {found}, and is known by {' or '.join(expected)}",
            "It is another machine than before, or somebody stands between: nothing was sent to it",
        )


class AuthenticationError(TransportError):
    """The host refuses the key.

    To do: put the public half of the key into ``authorized_keys`` of that user, or correct user
    and key in the section ``worker``.

    Parameters
    ----------
    user, host : str
        Who wanted to log in, and where (with the port).
    key_path : str
        The private key's file.
    reason : str
        What the host said.
    """

    is_retryable = False

    def __init__(self, user: str, host: str, key_path: str, reason: str) -> None:
        self.user = user
        self.host = host
        self.key_path = key_path
        super().__init__(
            f"{host} does not let {user!r} in with the key {key_path}: {reason}",
            f"Its public half must stand in ~{user}/.ssh/authorized_keys there",
        )


class CollectError(WorkerError):
    """The results of a finished submission could not be fetched.

    To do: read the submission's log (``ramp logs ID``); predictions may be missing, or their disk
    be full. ``ramp retry ID`` evaluates it again.
    """


class WorkerStateError(WorkerError):
    """A method of a worker was called in a state that does not allow it.

    To do: mend the worker: its methods call ``super()``, which moves the status, and are called in
    the order of `BaseWorker`. It is a bug of the worker, never of a submission.

    Parameters
    ----------
    method : str
        The method.
    status : str
        The status that the worker has.
    expected : sequence of str
        The statuses in which the method may be called.
    """

    def __init__(self, method: str, status: str, expected: Sequence[str]) -> None:
        self.method = method
        self.status = status
        self.expected = tuple(expected)
        allowed = " or ".join(repr(item) for item in self.expected)
        super().__init__(f"{method}() needs the status {allowed}, the worker is {status!r}")


class EvaluationError(RampError):
    """A trusted step of the evaluation failed: the kit, the data or the environment is at fault.

    To do: read what the step said; it mostly names a line of problem.py. When it is mended, deploy
    with ``ramp setup deploy-event --force``, then ``ramp retry --failed``.

    Parameters
    ----------
    step : str
        ``prepare``, ``score`` or ``blend``.
    reason : str
        What happened; the last lines of the step's output.
    hint : str
        What to do about it.
    """

    def __init__(self, step: str, reason: str, hint: str = "") -> None:
        self.step = step
        self.reason = reason
        super().__init__(f"{step} failed: {reason}" + (f". {hint}" if hint else ""))


class SandboxError(RampError):
    """Confinement was asked for and cannot be had on this machine.

    To do: what the message says: install or allow it, or ask for less by ``sandbox``.
    ``ramp doctor`` tells what this machine offers.

    Parameters
    ----------
    reason : str
        What is missing.
    hint : str
        How to get it.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason = reason
        self.hint = hint
        super().__init__(reason + (f". {hint}" if hint else ""))


class PluginError(RampError):
    """A type of worker or hook is unknown, or its plugin fails to load.

    Mend the name, or what the reason says of the plugin; ``ramp workers`` and ``ramp hooks`` list
    those that there are.

    To do: correct ``worker_type``; install the package that brings it into the environment of ramp;
    or mend its import, which the message quotes.

    Parameters
    ----------
    name : str
        The type as configured.
    reason : str
        What is wrong with it.
    known : sequence of str
        The types that there are.
    key : str
        Of an event's file, that names it: ``worker_type`` or ``hook_type``.
    """

    def __init__(
        self, name: str, reason: str, known: Sequence[str] = (), key: str = "worker_type"
    ) -> None:
        self.name = name
        self.key = key
        self.reason = reason
        self.known = tuple(known)
        text = f"{key} {name!r}: {reason}"
        suggestion = nearest(name, known)
        if suggestion is not None:
            text += f"; did you mean {suggestion!r}?"
        if known:
            text += " (known: " + ", ".join(sorted(known)) + ")"
        super().__init__(text)


class HookError(RampError):
    """A hook could not do its part, which is told in the dispatcher's log and changes nothing else.

    Hooks may raise it with a sentence for the log; other errors stand there with their traceback.

    To do: what the sentence says, or mend the hook; no submission is the worse for it.
    """
