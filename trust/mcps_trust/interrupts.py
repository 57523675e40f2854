"""Ctrl-C while a command is still loading: it ends at once and in silence.

Python raises KeyboardInterrupt from the middle of an import and prints where. Until a command
has something to clean up, and a place that catches it, the kernel's own way is the better one.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["die_by_interrupt", "raise_interrupt"]


def die_by_interrupt() -> None:
    """From here on SIGINT ends the process, without a word; unless it was to be ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_interrupt() -> None:
    """From here on SIGINT raises KeyboardInterrupt, as Python does by itself.

    Where it strikes inside a destructor nothing can be raised: Python prints a traceback and
    goes on. Here it goes on without one; whoever interrupts does so again.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _quietly


def _quietly(unraisable: sys.UnraisableHookArgs) -> None:
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
