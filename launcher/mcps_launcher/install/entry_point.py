"""Console scripts of an installed closure: which function a name stands for.

Read once, when a decision is made. Looking it up at each start costs a Python server 20 ms,
and by then it is the closure's own code that would say what is run.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

from mcps_launcher.install.tree import BadPackageError
from mcps_trust.model.purl import normalise_name

__all__ = ["find_function"]

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def find_function(tree: Path, package: str, name: str) -> str:
    """What the console script `name` calls: ``module:function``.

    The script of `package` itself comes first, then one of any other package of the closure.

    Raises:
        BadPackageError: there is none, or it names no function.
    """
    wanted = normalise_name("pypi", package)
    own: list[EntryPoint] = []
    others: list[EntryPoint] = []
    for folder in sorted(tree.glob("*.dist-info")):
        is_own = normalise_name("pypi", folder.name.partition("-")[0]) == wanted
        try:
            scripts = PathDistribution(folder).entry_points
        except (ValueError, TypeError, KeyError) as error:
            if is_own:
                raise BadPackageError(
                    f"{package}'s entry points cannot be read", found=str(error)[:200]
                ) from error
            continue  # what another package says and nobody can read, it does not say
        found = scripts.select(group="console_scripts", name=name)
        (own if is_own else others).extend(found)
    candidates = own or others
    if not candidates:
        raise BadPackageError(f"the closure has no console script {name!r}", found=package)
    value = candidates[0].value.partition("[")[0].strip().replace(" ", "")
    if len({entry.value for entry in candidates}) > 1 or not _FUNCTION.fullmatch(value):
        raise BadPackageError(
            f"the console script {name!r} names no one function",
            expected="module:function",
            found=", ".join(entry.value for entry in candidates)[:200],
        )
    return value
