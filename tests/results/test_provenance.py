"""A result names the versions and the commit that made it."""

import platform
import subprocess
from importlib.metadata import version

from latentbench.latents.preparation import PREPARATION
from latentbench.results.provenance import collect_provenance, git_commit, library_versions


def _git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],  # noqa: S607 - git from the path
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_commit_of_a_checkout_and_its_changes(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert git_commit(package) is None
    _git(tmp_path, "init", "-q")
    assert git_commit(package) is None  # lies in a checkout, but is none of its files
    _git(tmp_path, "add", "package")
    _git(tmp_path, "commit", "-qm", "first")
    assert git_commit(package) == _git(tmp_path, "rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed = True")
    assert git_commit(package) == _git(tmp_path, "rev-parse", "HEAD") + "-dirty"


def test_versions_of_what_is_installed():
    assert library_versions(["numpy", "no-such-distribution"]) == {"numpy": version("numpy")}


def test_provenance_tells_machine_and_digests():
    found = collect_provenance(device="cpu", digests={"config": "ab"}, seconds={"encode": 1.0})
    assert found.python == platform.python_version()
    assert found.libraries["torch"] == version("torch")
    assert found.digests == {"config": "ab"}
    assert found.preparation == PREPARATION
