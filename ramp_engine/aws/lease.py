"""An instance in the hands of one worker, from the fleet and back to it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.fleet import Fleet
from ramp_engine.aws.haste import Haste
from ramp_engine.aws.instances import ENDED, Instance
from ramp_engine.aws.reaching import reach
from ramp_engine.aws.refusals import TakenOverError
from ramp_engine.aws.station import Station
from ramp_engine.errors import (
    RampError,
    ResourceUnavailableError,
    WorkerError,
    WorkerSetupError,
)
from ramp_engine.transports.ssh import SshConnection

__all__ = ["Lease"]

logger = logging.getLogger(__name__)


class Lease:
    """Hold an instance and the connection to it; ended by `give_back` or `let_go`, once.

    Parameters
    ----------
    fleet : Fleet
        Whose it is.
    instance : Instance
    settings : AWSWorkerConfig
    haste : Haste
        Ends whatever waits for the instance.
    """

    def __init__(
        self, fleet: Fleet, instance: Instance, settings: AWSWorkerConfig, haste: Haste
    ) -> None:
        self.instance = instance
        self._fleet = fleet
        self._settings = settings
        self._haste = haste
        self._connection: SshConnection | None = None
        self._station: Station | None = None

    @property
    def state(self) -> str:
        """State of the instance as EC2 told it last."""
        return self._fleet.look(self.instance.id)

    @property
    def station(self) -> Station:
        """Who speaks with the instance, since `connect`."""
        assert self._station is not None  # noqa: S101  connect made it
        return self._station

    def connect(self) -> None:
        """Reach the instance; raises as `ramp_engine.aws.reaching.reach` does."""
        self._connection = reach(self.instance, self._settings, lambda: self.state, self._haste)
        self._station = Station(
            self._connection,
            patience_seconds=self._settings.patience_seconds,
            is_connected=True,
            haste=self._haste,
            check=self._check,
        )

    def _check(self) -> None:
        """Raise `ResourceUnavailableError` when the instance has ended."""
        state = self.state
        if state in ENDED:
            reason = f"the instance {self.instance.id} is gone: EC2 calls it {state}"
            raise ResourceUnavailableError(reason)

    @contextlib.contextmanager
    def judging(self) -> Iterator[None]:
        """Tell failures of an instance that is gone from those of one that does not do.

        Raises
        ------
        ResourceUnavailableError
            It is gone: the next one will do better.
        WorkerSetupError
            It has no room: nor will the next one.
        """
        try:
            yield
        except WorkerError as error:
            self._check()
            if not isinstance(error, ResourceUnavailableError):
                raise
            hint = error.hint or "Take an image with a larger volume"
            raise WorkerSetupError(error.reason, hint) from error

    def give_back(self, keep: Collection[str], *, is_well: bool) -> None:
        """Give the instance to the fleet: wiped for the next submission, or else to be terminated.

        Parameters
        ----------
        keep : collection of str
            Hashes of the archives that stay there.
        is_well : bool
            Whether it may serve others; it is not even asked when it may not.
        """
        is_clean = False
        try:
            is_clean = is_well and self._is_wiped(keep)
        except TakenOverError as error:
            logger.warning("%s may not be ours: %s", self.instance.id, error)
            self._fleet.give_up(self.instance)
        finally:
            self._fleet.give_back(self.instance, is_clean=is_clean)
            self._close()

    def _is_wiped(self, keep: Collection[str]) -> bool:
        """Tell whether the instance is as new; one that is not well is not waited for."""
        station = self._station
        if station is None or station.is_broken:
            return False
        try:
            return station.wipe(keep)
        except TakenOverError:
            raise
        except RampError as error:
            extra = {"instance": self.instance.id}
            logger.warning("an instance is not used again: %s", error, extra=extra)
            return False

    def let_go(self) -> None:
        """Leave the instance to another dispatcher."""
        self._fleet.let_go(self.instance)
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
