"""Connecting to an instance: as soon as its SSH server answers, and to no other machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.haste import Haste
from ramp_engine.aws.instances import ENDED, Instance
from ramp_engine.errors import (
    AuthenticationError,
    ConnectionLostError,
    ResourceUnavailableError,
    WorkerError,
    WorkerSetupError,
)
from ramp_engine.transports.ssh import HostKey, SshConnection, SshTarget

__all__ = ["reach"]

logger = logging.getLogger(__name__)

#: The longest time between two tries, in seconds.
MAX_BACK_OFF_SECONDS = 5.0
#: So long after its SSH server has begun to answer, a new instance may not know its user yet.
SETTLING_SECONDS = 30.0


def reach(
    instance: Instance,
    settings: AWSWorkerConfig,
    state: Callable[[], str],
    haste: Haste,
    clock: Callable[[], float] = time.monotonic,
) -> SshConnection:
    """Connect to an instance that runs, and remember by which key it is known.

    Parameters
    ----------
    instance : Instance
        Its ``host_key`` is held to, where it has one already; set, where it has not.
    settings : AWSWorkerConfig
    state : callable
        Gives the state of the instance as EC2 told it last.
    haste : Haste
        Ends the waiting.
    clock : callable
        Monotonic seconds.

    Returns
    -------
    SshConnection
        Connected; to be closed by the caller.

    Raises
    ------
    ResourceUnavailableError
        The instance has ended meanwhile, or the dispatcher stops.
    WorkerSetupError
        It does not let us in, does not answer within ``start_timeout``, or does not tell its keys.
    HostKeyError
        What answers has another key.
    """
    return _Reaching(instance, settings, state, haste, clock).connection()


class _Reaching:
    def __init__(
        self,
        instance: Instance,
        settings: AWSWorkerConfig,
        state: Callable[[], str],
        haste: Haste,
        clock: Callable[[], float],
    ) -> None:
        self._instance = instance
        self._settings = settings
        self._state = state
        self._haste = haste
        self._clock = clock
        self._give_up_at = clock() + settings.start_timeout
        self._is_new = instance.host_key is None
        self._answers_since: float | None = None

    def connection(self) -> SshConnection:
        known = self._known_keys()
        back_off = 0.5
        while True:
            try:
                return self._connected(known)
            except (ConnectionLostError, AuthenticationError) as error:
                self._weigh(error)
            self._pause(back_off)
            back_off = min(2 * back_off, MAX_BACK_OFF_SECONDS)

    def _connected(self, known: Collection[HostKey]) -> SshConnection:
        settings = self._settings
        user, port = settings.ami_user_name, settings.ssh_port
        target = SshTarget(self._instance.address, user, settings.key_path, port)
        connection = SshConnection(target, known)
        with self._haste.bound(connection.close):
            connection.connect()
        self._instance.host_key = str(connection.host_key)
        return connection

    def _weigh(self, error: ConnectionLostError | AuthenticationError) -> None:
        """Give up where another try cannot help."""
        now, which = self._clock(), self._instance
        self._check_state()
        if isinstance(error, AuthenticationError):
            self._answers_since = self._answers_since or now
            if not self._is_new or now - self._answers_since > SETTLING_SECONDS:
                hint = "Correct ami_user_name, key_name and key_path"
                raise WorkerSetupError(f"the instance {which.id}: {error.reason}", hint) from error
        if now > self._give_up_at:
            seconds = self._settings.start_timeout
            reason = f"the instance {which.id} runs, and cannot be reached after {seconds:g} s"
            hint = (
                "Let this machine in at the SSH port by security_group, or set use_private_ip; "
                "start_timeout allows more"
            )
            raise WorkerSetupError(f"{reason}: {error.reason}", hint) from error

    def _pause(self, seconds: float) -> None:
        if self._haste.wish.wait(seconds):
            raise ResourceUnavailableError("the run is to end: no instance is waited for")

    def _check_state(self) -> None:
        state = self._state()
        if state in ENDED:
            raise ResourceUnavailableError(f"the instance {self._instance.id} has ended: {state}")

    def _known_keys(self) -> Collection[HostKey]:
        """Give the keys by which the instance is known; none: its first one is taken."""
        if self._instance.host_key is not None:
            return (HostKey.parse(self._instance.host_key),)
        while True:
            keys = self._console_keys()
            if keys or self._settings.host_key_check == "first-use":
                return keys
            if self._clock() > self._give_up_at:
                seconds = self._settings.start_timeout
                which = self._instance.id
                reason = f"the console of {which} shows no SSH host keys after {seconds:g} s"
                hint = "Does the image run cloud-init? Without it, set host_key_check: first-use"
                raise WorkerSetupError(reason, hint)
            self._check_state()
            self._pause(MAX_BACK_OFF_SECONDS)

    def _console_keys(self) -> Collection[HostKey]:
        try:
            return tuple(map(HostKey.parse, self._instance.console_keys()))
        except (WorkerError, ValueError) as error:
            if self._settings.host_key_check == "console" and not getattr(
                error, "is_retryable", True
            ):
                raise
            logger.debug("the console of %s tells no keys: %s", self._instance.id, error)
            return ()
