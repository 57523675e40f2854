"""Runs inside the sandbox: starts a Python closure. Not imported by the launcher.

``python -I -S -B start_python.py MODULE:FUNCTION NAME ARGUMENTS...`` calls a function as a
console script called NAME would; with ``module`` for the function it runs the module NAME. The
closure is the only path beside the standard library; ``.pth`` files are not looked at. Modules come
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
    function, name, *arguments = sys.argv[1:]
    hook = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES), (CompiledLoader, SOURCE_SUFFIXES)
    )

    def closure_hook(path):  # type: ignore[no-untyped-def]  # the protocol of sys.path_hooks
        if path != APP and not path.startswith(APP + "/"):
            raise ImportError(path)
        return hook(path)

    sys.path_hooks.insert(0, closure_hook)
    sys.path.append(APP)
    sys.argv = [name, *arguments]
    if function == "module":
        import runpy

        runpy.run_module(name, run_name="__main__", alter_sys=True)
        return
    module, _, path = function.partition(":")
    __import__(module)
    target = sys.modules[module]
    for attribute in path.split("."):
        target = getattr(target, attribute)
    sys.exit(target())  # type: ignore[operator]  # a module at first, a function at last


if __name__ == "__main__":
    main()
