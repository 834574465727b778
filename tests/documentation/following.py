"""Following a page: what it says to write is written, what it says to type is run."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.documentation.commands import Step, steps
from tests.documentation.pages import Block
from tests.documentation.transcripts import matches

#: What has not ended by then never will, on however slow a machine [s].
PATIENCE_SECONDS = 240.0


@dataclass
class Reader:
    """Somebody who does what a page says, in a folder of their own."""

    directory: Path
    python: Path  #: has what kits need; taken as the environment of each event
    printed: list[str] = field(default_factory=list)  #: of all that was run

    def __post_init__(self) -> None:
        self.here = self.directory

    def follow(self, block: Block) -> list[str]:
        """Do what a block says; give what was not as it says."""
        if block.file is not None:
            path = self.here / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        if block.language != "console" or not block.is_run:
            return []
        found = steps(block.text)
        codes = [0] * (len(found) - 1) + [block.exit_code]
        return [
            f"{block.place}: {complaint}"
            for step, code in zip(found, codes, strict=True)
            for complaint in self._run(step, code)
        ]

    def _run(self, step: Step, code: int) -> list[str]:
        self._give_environments()
        words = shlex.split(step.command, comments=True)
        if words[0] == "cd":
            self.here = self.here / words[1]
            return []
        returned, printed = self._shell(step.command)
        self.printed.append(f"$ {step.command}\n{printed}")
        if returned != code:
            return [f"$ {step.command}: ended with {returned}, not {code}:\n{printed}"]
        if step.output.strip() and not matches(step.output, printed):
            return [f"$ {step.command}: expected\n{step.output}\nand it printed\n{printed}"]
        return []

    def _shell(self, command: str) -> tuple[int, str]:
        bash = ["bash", "-o", "pipefail", "-c", command]
        process = subprocess.Popen(
            bash,
            cwd=self.here,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return process.returncode, printed

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAMP_")}
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        return kept | {"PATH": path, "HOME": str(self.directory), "COLUMNS": "120"}

    def _give_environments(self) -> None:
        """Give each event an environment; to install one is long, and needs the network."""
        for config in self.directory.glob("**/events/*/config.yml"):
            prefix = config.parent / "work" / "env"
            if not prefix.exists():
                prefix.parent.mkdir(exist_ok=True)
                prefix.symlink_to(self.python.parent.parent)
