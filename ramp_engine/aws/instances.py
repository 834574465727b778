"""Instances as a dispatcher holds them, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ramp_engine.aws.ec2 import TAG_PREFIX, Described

__all__ = ["DEPLOYMENT", "DISPATCHER", "ENDED", "EVENT", "SUBMISSION", "Instance", "Owner"]

DEPLOYMENT = f"{TAG_PREFIX}deployment"
EVENT = f"{TAG_PREFIX}event"
DISPATCHER = f"{TAG_PREFIX}dispatcher"
SUBMISSION = f"{TAG_PREFIX}submission"

#: States that lead nowhere: instances of ours are never stopped to be started again.
ENDED = frozenset({"shutting-down", "terminated", "stopping", "stopped"})

#: What cloud-init prints around the public host keys.
_KEY_BLOCK = re.compile(
    r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL
)
_KEY = re.compile(r"\b((?:ssh|ecdsa)-[a-z0-9-]+) (AAAA[A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True)
class Owner:
    """What an instance is for; its tags say so to everybody who looks."""

    deployment: str
    event: str
    dispatcher: int
    submission: int
    attempt: int

    def tags(self) -> dict[str, str]:
        """Give the tags: strings, for EC2 knows no others."""
        submission = f"{self.submission}-{self.attempt}"
        return {
            DEPLOYMENT: self.deployment,
            EVENT: self.event,
            DISPATCHER: str(self.dispatcher),
            SUBMISSION: submission,
            "Name": f"ramp {self.event} {submission}",
        }


class Instance:
    """An instance that this dispatcher holds.

    Parameters
    ----------
    first : Described
        What is known of it when it is made.
    look : callable
        Gives what is known of an instance now, by its id; None: nothing is.
    console : callable
        Gives the console output of an instance, by its id; empty when there is none yet.
    use_private_ip : bool
        Which of its addresses is `address`.

    Attributes
    ----------
    id, kind : str
        Kind is the instance type.
    is_spot : bool
    launched_at : datetime
        Aware, of EC2's clock.
    host_key : str or None
        ``ssh-ed25519 AAAA...``, set by whoever has verified it, and kept while the instance waits
        for the next submission.
    """

    def __init__(
        self,
        first: Described,
        *,
        look: Callable[[str], Described | None],
        console: Callable[[str], str],
        use_private_ip: bool = False,
    ) -> None:
        self.id = first.id
        self.kind = first.kind
        self.is_spot = first.is_spot
        self.launched_at: datetime = first.launched_at
        self.host_key: str | None = None
        self._look = look
        self._console = console
        self._use_private_ip = use_private_ip

    def __repr__(self) -> str:
        return f"Instance({self.id!r}, {self.kind!r}, is_spot={self.is_spot})"

    @property
    def address(self) -> str:
        """Where it is reached, as of the last snapshot; empty while it has no address.

        To be read before each connection: it may change.
        """
        seen = self._look(self.id)
        if seen is None:
            return ""
        return seen.private_address if self._use_private_ip else seen.public_address

    def console_keys(self) -> tuple[str, ...]:
        """Ask for the host keys that the instance told on its console at its first start.

        Returns
        -------
        tuple of str
            Such as ``ssh-ed25519 AAAA...``; empty while the console has not got that far.

        Raises
        ------
        WorkerError
            EC2 does not say.
        """
        return read_host_keys(self._console(self.id))


def read_host_keys(console: str) -> tuple[str, ...]:
    """Find the host keys in the console output of an instance, as cloud-init prints them."""
    blocks = _KEY_BLOCK.findall(console)
    keys = _KEY.findall(blocks[-1]) if blocks else []
    return tuple(dict.fromkeys(f"{kind} {base64}" for kind, base64 in keys))
