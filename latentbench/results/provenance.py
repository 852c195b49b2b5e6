"""What made the numbers: versions, machine, digests, time and memory."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import latentbench
from latentbench.latents.preparation import PREPARATION
from latentbench.results.schema import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["collect_provenance", "git_commit", "library_versions"]

LIBRARIES = ("numpy", "pyarrow", "safetensors", "soundfile", "torch", "torchaudio", "transformers")


def collect_provenance(
    *,
    device: str,
    digests: Mapping[str, str],
    seconds: Mapping[str, float],
    peak_memory_bytes: int = 0,
    distributions: Iterable[str] = (),
) -> Provenance:
    """The provenance of a run that ends now.

    Args:
        device: what the predictors ran on.
        digests: `config`, `corpus`, `weights`.
        seconds: wall time per phase.
        peak_memory_bytes: of the largest process, 0 where unknown.
        distributions: whose versions matter beside the core's own, e.g. a plugin's.
    """
    return Provenance(
        latentbench=latentbench.__version__,
        git_commit=git_commit(Path(latentbench.__file__).parent),
        python=platform.python_version(),
        libraries=library_versions((*LIBRARIES, *distributions)),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        device=device,
        preparation=PREPARATION,
        digests=dict(digests),
        seconds=dict(seconds),
        peak_memory_bytes=peak_memory_bytes,
    )


def library_versions(distributions: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed, by name."""
    installed = {name: _version(name) for name in sorted(set(distributions))}
    return {name: found for name, found in installed.items() if found is not None}


def git_commit(package: Path) -> str | None:
    """The commit of the checkout `package` lies in, `-dirty` with changes; None outside one.

    A package installed into an environment inside some repository is none of its files.
    """
    if not _git(package, "ls-files", "--", "__init__.py"):
        return None
    commit = _git(package, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(package, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{commit}-dirty" if changed else commit


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
