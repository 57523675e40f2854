"""``mcps-launch runtime``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mcps_launcher.cli.options import Home, pass_home
from mcps_launcher.sandbox.process import BackEndUnavailableError
from mcps_trust.command_line import emit, json_option, progress

if TYPE_CHECKING:
    from mcps_launcher.sandbox.docker import Docker

__all__ = ["runtime"]


@click.group()
def runtime() -> None:
    """Images with this host's interpreters, for the back end docker."""


@runtime.command()
@json_option
@pass_home
def build(home: Home, as_json: bool) -> None:
    """Make the image from the host's /usr, unless it is there.

    \b
    Example:
      mcps-launch runtime build
    """
    with progress("making the runtime image"):
        name = _engine(home).build_image()
    emit(as_json, {"image": name}, name)


@runtime.command("list")
@json_option
@pass_home
def list_(home: Home, as_json: bool) -> None:
    """Show the images that are there.

    \b
    Example:
      mcps-launch runtime list
    """
    names = _engine(home).images()
    emit(as_json, {"images": names}, "\n".join(names) or "no runtime image yet")


def _engine(home: Home) -> Docker:
    try:
        from mcps_launcher.sandbox.docker import Docker
    except ImportError as error:
        raise BackEndUnavailableError(
            "the Docker SDK is not installed", remedy="pip install 'mcps[docker]'"
        ) from error
    return Docker(home.places().home)
