"""A registry whose approvers sit elsewhere, and one submission that waits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hosts import ECHO_SERVER
from simulators.package_index import PackageIndex
from worlds import NAMESPACE, PASSPHRASE, World, make_world, open_world

ECHO = f"{NAMESPACE}/echo@1.0.0"
RULES = ("--tool", "echo=read", "--tool", "delete=destructive:user", "--withhold", "hidden")


@dataclass
class Office:
    """A registry whose approvers sit elsewhere: they have its address, its root and their keys."""

    world: World
    index: PackageIndex

    @property
    def keys(self) -> Path:
        return self.world.desk.folder.keys

    @property
    def root(self) -> Path:
        return self.world.desk.folder.public / "metadata/1.root.json"

    @property
    def passphrase(self) -> Path:
        place = self.world.folder / "passphrase"
        place.write_bytes(PASSPHRASE + b"\n")
        return place

    def at(self, *, far: bool = True, root: bool = True) -> list[str | Path]:
        """Options that name the registry: by its address, or by its folder."""
        where: list[str | Path] = ["-r", self.world.url if far else self.world.desk.folder.path]
        trusted: list[str | Path] = ["--registry-root", self.root] if far and root else []
        return [*where, "--passphrase-file", self.passphrase, *trusted]

    def approving(self, *, far: bool = True) -> list[str | Path]:
        return [*self.at(far=far), "--keys", self.keys, "--approver", "alice", "--yes",
                "--index-pypi", self.index.pypi, "--tier", "low"]  # fmt: skip

    def target(self, path: str) -> bytes:
        return self.world.desk.repository.target(path) or b""


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one submission, from which each test takes a copy."""
    folder = tmp_path_factory.mktemp("submitted") / "world"
    world, end = make_world(folder, approvers=["alice", "bob"])
    world.submit(world.release("echo", source=ECHO_SERVER))
    end()
    return folder


@pytest.fixture
def office(submitted: Path, tmp_path: Path) -> Iterator[Office]:
    shutil.copytree(submitted, tmp_path / "world")
    world, end = open_world(tmp_path / "world")
    index = PackageIndex()
    index.add_wheel(next((tmp_path / "world/echo-1.0.0").glob("*.whl")))
    yield Office(world, index)
    index.close()
    end()
