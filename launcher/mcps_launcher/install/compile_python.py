"""Runs inside the sandbox: compiles a Python closure. Not imported by the launcher.

``python -I -S -B compile_python.py``. The closure is read and compiled, never imported; it
is not on the path. Each module's ``.pyc`` (PEP 552, unchecked hash: the tree is read-only)
is written to stdout behind its path and length.
"""

import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import source_hash

APP = "/app"
UNCHECKED_HASH = b"\x01\0\0\0"


def main() -> None:
    """Compile all there is; what does not compile is left to fail when it is imported."""
    key = int.from_bytes(MAGIC_NUMBER, "little")
    out = sys.stdout.buffer
    for folder, folders, names in os.walk(APP):
        folders.sort()
        for name in sorted(names):
            if not name.endswith(".py"):
                continue
            place = os.path.join(folder, name)
            with open(place, "rb") as file:
                source = file.read()
            try:
                code = compile(source, place, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
                continue
            body = MAGIC_NUMBER + UNCHECKED_HASH + source_hash(key, source) + marshal.dumps(code)
            path = os.fsencode(os.path.relpath(place, APP) + "c")
            out.write(b"%d %d\n" % (len(path), len(body)) + path + body)
    out.flush()


if __name__ == "__main__":
    main()
