"""Which back end runs the servers of this host."""

from __future__ import annotations

from mcps_launcher.configuration import Configuration
from mcps_launcher.places import Places
from mcps_launcher.sandbox.process import BackEnd

__all__ = ["choose_back_end"]


def choose_back_end(configuration: Configuration, places: Places) -> BackEnd:
    """The configured back end; the code of the other is not loaded.

    Raises:
        BackEndUnavailableError: it cannot be used here.
    """
    if configuration.back_end == "docker":
        from mcps_launcher.sandbox.docker import Docker

        return Docker(places.home)
    from mcps_launcher.sandbox.bwrap import Bwrap

    return Bwrap(places.home)
