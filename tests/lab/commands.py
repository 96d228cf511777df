"""Programs of this machine, run with a limit; what they said is in the error."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


class LabError(Exception):
    """The lab could not do what was asked."""


def run(*command: str | int | Path, timeout: float = 60.0, input: str = "", cwd: Path | None = None) -> str:
    """Standard output of a command that must succeed."""
    return finished(command, timeout=timeout, input=input, cwd=cwd).stdout


def finished(
    command: Sequence[str | int | Path], *, timeout: float = 60.0, input: str = "", cwd: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """A command that ended."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=input, capture_output=True, text=True, errors="replace", timeout=timeout, cwd=cwd, check=False)
    if check and done.returncode:
        raise LabError(f"{' '.join(words)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done
