"""Every way to change one field of a JSON document: change, delete, duplicate, swap.

Paths are tuples of keys and positions. A duplicate names a key twice, the genuine value last,
which is the one that a careless reader takes.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[str | int, ...]


def mutations(document: Any, other: Any = None) -> Iterator[tuple[str, bytes]]:
    """What was done, and the document in which it was; `other` is a valid one to swap from."""
    for path in paths(document):
        where = ".".join(map(str, path))
        yield f"changed {where}", spell(edited(document, path, changed))
        yield f"deleted {where}", spell(without(document, path))
        if isinstance(path[-1], str):
            yield f"duplicated {where}", spell(document, twice=path)
        found = value_at(other, path)
        if found is not None and found != value_at(document, path):
            yield f"swapped {where}", spell(edited(document, path, _constant(found)))


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """The path of everything in a document, itself apart."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*above, key)
        yield from paths(item, (*above, key))


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return _changed_text(value)
    if isinstance(value, list):
        return [*value, value[0]] if value else ["extra"]
    if isinstance(value, dict):
        return {**value, "extra": 1}
    return 0


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _old: value


def _changed_text(text: str) -> str:
    """One that is as well formed as it was, as far as that can be guessed."""
    if text.isdigit():
        return str(int(text) + 1)
    try:
        raw = bytearray(base64.b64decode(text, validate=True))
        if len(raw) > 8 and base64.b64encode(raw).decode() == text:
            raw[len(raw) // 2] ^= 1
            return base64.b64encode(bytes(raw)).decode()
    except ValueError:
        pass
    for old, new in (("0", "1"), ("1", "2"), ("a", "b"), ("e", "f")):
        if old in text:
            return text.replace(old, new, 1)
    return text + "x"


def edited(document: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """A copy with one value changed."""
    made = copy.deepcopy(document)
    node = value_at(made, path[:-1])
    node[path[-1]] = change(node[path[-1]])
    return made


def without(document: Any, path: Path) -> Any:
    """A copy without one value."""
    made = copy.deepcopy(document)
    del value_at(made, path[:-1])[path[-1]]
    return made


def value_at(document: Any, path: Path) -> Any:
    """What stands at a path, or None."""
    for key in path:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def spell(value: Any, twice: Path | None = None, above: Path = ()) -> bytes:
    """JSON in the spelling of our own formats, but for a key that is named twice."""
    if twice is None:
        return _plain(value) + b"\n"
    text = _spell(value, twice, above)
    return text.encode() + b"\n"


def _spell(value: Any, twice: Path, above: Path) -> str:
    if isinstance(value, dict):
        parts = []
        for key in sorted(value):
            here = (*above, key)
            name = json.dumps(key, ensure_ascii=False)
            if here == twice:
                parts.append(f"{name}:{_plain(changed(value[key])).decode()}")
            parts.append(f"{name}:{_spell(value[key], twice, here)}")
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list):
        items = (_spell(item, twice, (*above, number)) for number, item in enumerate(value))
        return "[" + ",".join(items) + "]"
    return _plain(value).decode()


def _plain(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
