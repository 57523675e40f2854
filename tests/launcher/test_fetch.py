"""Fetching wheels for a runtime that is not the launcher's own interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mcps_launcher.install.fetch import FetchSettings, fetch_wheels, pip_target
from mcps_trust.errors import McpsError
from mcps_trust.model.digest import Sha256
from mcps_trust.model.pylock import LockedWheel
from wheels import sha256, write_wheel

HERE = f"cp{sys.version_info.major}{sys.version_info.minor}"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


def locked(shelf: Path, name: str, tag: str) -> LockedWheel:
    """A wheel on the shelf whose name carries `tag`."""
    made = write_wheel(shelf, name, "1.0", {f"{name}.py": tag.encode()})
    place = made.rename(shelf / f"{name}-1.0-{tag}.whl")
    return LockedWheel(
        name=name, version="1.0", filename=place.name, sha256=Sha256(sha256(place.read_bytes()))
    )


def download(wheels: Sequence[LockedWheel], shelf: Path, target: list[str]) -> set[str]:
    """What pip takes from the shelf."""
    folder = shelf.parent / "taken"
    lines = "".join(f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels)
    (shelf.parent / "requirements.txt").write_text(lines)
    subprocess.run(
        [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps", "--no-index",
         "--find-links", str(shelf), "--only-binary", ":all:", "--require-hashes",
         "--disable-pip-version-check", "--dest", str(folder), *target, "--requirement",
         str(shelf.parent / "requirements.txt")],
        check=False, capture_output=True,
    )  # fmt: skip
    return {path.name for path in folder.glob("*.whl")}


@pytest.mark.parametrize(
    "tags",
    [
        ["py3-none-any", "py2.py3-none-any"],
        ["cp314-cp314-manylinux_2_17_aarch64.manylinux2014_aarch64", "py3-none-any"],
        ["cp313-cp313-manylinux_2_28_x86_64", "cp39-abi3-manylinux_2_17_x86_64",
         "cp312-abi3-manylinux_2_34_x86_64", "py3-none-manylinux_2_17_x86_64", "py3-none-any"],
        ["cp314-none-any", "py3-none-any"],
        [f"{HERE}-{HERE}-manylinux_2_17_x86_64", "py3-none-any"],
        ["py3-none-manylinux_2_17_x86_64"],
    ],
    ids=["pure", "another machine", "another version", "a version, no platform", "this version",
         "a platform, no version"],
)  # fmt: skip
def test_pip_takes_what_the_lock_names_whatever_it_runs_on(shelf: Path, tags: list[str]) -> None:
    wheels = [locked(shelf, f"package{number}", tag) for number, tag in enumerate(tags)]
    for number, tag in enumerate(tags):  # and not the one that would fit it better
        if tag.startswith("cp"):
            locked(shelf, f"package{number}", f"{HERE}-none-any")
            locked(shelf, f"package{number}", "py3-none-any")
    assert download(wheels, shelf, pip_target(wheels)) == {wheel.filename for wheel in wheels}


def test_without_that_pip_takes_only_what_fits_itself(shelf: Path) -> None:
    wheels = [locked(shelf, "alpha", "cp314-cp314-manylinux_2_17_aarch64")]
    assert download(wheels, shelf, []) == set()
    assert download(wheels, shelf, pip_target(wheels)) == {wheels[0].filename}


def test_a_file_that_cannot_be_had_is_named(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")  # so that nobody outside is asked
    wheel = locked(shelf, "alpha", "py3-none-any")
    settings = FetchSettings(tmp_path / "cache", registry=None)
    with pytest.raises(McpsError) as caught:
        fetch_wheels([wheel], settings)
    assert caught.value.code == "package-unavailable" and wheel.filename in caught.value.what
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "cache" / wheel.sha256).write_bytes((shelf / wheel.filename).read_bytes())
    assert fetch_wheels([wheel], settings)[wheel.filename].read_bytes()
