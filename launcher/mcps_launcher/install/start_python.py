"""Runs inside the sandbox: starts a Python closure. Not imported by the launcher.

``python -I -S -B start_python.py entryPoint|module TARGET ARGUMENTS...``. The closure is
the only path beside the standard library; ``.pth`` files are not looked at. Modules come
from the bytecode that was compiled at installation where there is any.
"""

import sys
from _frozen_importlib_external import (
    EXTENSION_SUFFIXES,
    MAGIC_NUMBER,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)

APP, BYTECODE = "/app", "/bytecode"
HEADER = 16  # bytes before the code in a .pyc (PEP 552)


class CompiledLoader(SourceFileLoader):
    """Takes a module's code from the bytecode folder."""

    def get_code(self, fullname):  # type: ignore[no-untyped-def]  # as the base class
        """The module's code."""
        import marshal

        try:
            with open(BYTECODE + self.path[len(APP) :] + "c", "rb") as file:
                data = file.read()
        except OSError:
            return super().get_code(fullname)
        if data[:4] != MAGIC_NUMBER:
            return super().get_code(fullname)
        return marshal.loads(memoryview(data)[HEADER:])


def main() -> None:
    """Start what the command line names."""
    kind, target, *arguments = sys.argv[1:]
    hook = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES), (CompiledLoader, SOURCE_SUFFIXES)
    )

    def closure_hook(path):  # type: ignore[no-untyped-def]  # the protocol of sys.path_hooks
        if path != APP and not path.startswith(APP + "/"):
            raise ImportError(path)
        return hook(path)

    sys.path_hooks.insert(0, closure_hook)
    sys.path.append(APP)
    sys.argv = [target, *arguments]
    if kind == "module":
        import runpy

        runpy.run_module(target, run_name="__main__", alter_sys=True)
        return
    from importlib.metadata import distributions

    for distribution in distributions(path=[APP]):
        for entry in distribution.entry_points:
            if entry.group == "console_scripts" and entry.name == target:
                sys.exit(entry.load()())
    sys.exit(f"the closure has no console script {target!r}")


if __name__ == "__main__":
    main()
