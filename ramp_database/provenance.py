"""What an attempt was evaluated with, as hashes: by them its scores can be verified later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

#: The parts of a bundle, in the order in which they are told.
PARTS = ("kit", "data", "folds", "environment")


@dataclass(frozen=True)
class Provenance:
    """The hashes of everything that a score depends on; None where one is not known."""

    bundle: str  #: name of the bundle that the folds were trained with
    kit: str | None
    data: str | None
    folds: str | None
    environment: str | None  #: of the lock of its installed packages
    submission: str | None  #: over names and contents of its files
    engine: str | None  #: version of ramp that recorded the attempt

    @classmethod
    def of_bundle(
        cls, bundle: str, hashes: Mapping[str, str], *, submission: str, engine: str
    ) -> Self:
        """Describe an attempt by the bundle that it is evaluated with.

        Parameters
        ----------
        bundle : str
            Its name.
        hashes : mapping
            Those of its manifest.
        submission : str
            `ramp_database.submissions.content_hash` of the files.
        engine : str
            The version of ramp.
        """
        return cls(
            bundle=bundle,
            kit=hashes.get("kit"),
            data=hashes.get("data"),
            folds=hashes.get("folds"),
            environment=hashes.get("environment"),
            submission=submission,
            engine=engine,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave, perhaps in another release: unknown keys are left out."""
        known: dict[str, Any] = {name: value.get(name) for name in cls.__dataclass_fields__}
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """Give what is stored."""
        return asdict(self)

    def changed_parts(self, other: Provenance) -> tuple[str, ...]:
        """Name the parts of the bundle that are others in `other`; ``bundle`` if only its name is.

        Empty when both are of the same bundle.
        """
        if self.bundle == other.bundle:
            return ()
        changed = tuple(name for name in PARTS if getattr(self, name) != getattr(other, name))
        return changed or ("bundle",)
