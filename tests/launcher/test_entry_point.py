"""Which function a console script stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcps_launcher.install.entry_point import find_function
from mcps_launcher.install.tree import BadPackageError


def tree(folder: Path, **packages: str) -> Path:
    """A tree in which each package has these lines of console scripts."""
    for package, lines in packages.items():
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[console_scripts]\n{lines}\n[other]\nrun = no:no\n"
        )
    return folder


@pytest.mark.parametrize("line", ["run = a.b:main", "run=a.b:main", "run = a.b:main [extra]"])
def test_a_console_script_names_a_function(tmp_path: Path, line: str) -> None:
    assert find_function(tree(tmp_path, my_tool=line), "my-tool", "run") == "a.b:main"


def test_the_packages_own_script_comes_before_anothers_of_that_name(tmp_path: Path) -> None:
    place = tree(tmp_path, aaa="run = other:main", mine="run = mine:app.main", zzz="run = z:main")
    assert find_function(place, "Mine", "run") == "mine:app.main"
    assert find_function(place, "zzz", "run") == "z:main"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("run = a:main", "walk"),
        ("run = a.b", "run"),
        ("run = a:main()", "run"),
        ("run = os;evil:main", "run"),
        ("run = ../a:main", "run"),
    ],
)
def test_what_names_no_function_is_refused(tmp_path: Path, line: str, name: str) -> None:
    place = tree(tmp_path, mine=line)
    with pytest.raises(BadPackageError) as caught:
        find_function(place, "mine", name)
    assert caught.value.code == "bad-package"


def test_two_other_packages_that_disagree_are_refused(tmp_path: Path) -> None:
    place = tree(tmp_path, one="run = one:main", two="run = two:main")
    with pytest.raises(BadPackageError):
        find_function(place, "mine", "run")
    assert find_function(place, "one", "run") == "one:main"


def test_what_another_package_cannot_spell_is_its_own_trouble(tmp_path: Path) -> None:
    place = tree(tmp_path, mine="run = mine:main", odd="run")
    (place / "odd-1.0.dist-info" / "METADATA").write_bytes(b"Name: odd\nAuthor: \xe9\n")
    (place / "odd-1.0.dist-info" / "entry_points.txt").write_bytes(b"[console_scripts]\n\xe9 = \n")
    assert find_function(place, "mine", "run") == "mine:main"
    with pytest.raises(BadPackageError):
        find_function(place, "odd", "run")
