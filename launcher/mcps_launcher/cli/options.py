"""What the commands share: the launcher's folder, and a resolver on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from mcps_launcher.cli.run import ManagedHomeError
from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.places import Places
from mcps_launcher.resolve import Resolver

__all__ = ["Home", "home_option", "pass_home", "say"]

home_option = click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), default=None,
    help="Keep everything in this folder; not on managed hosts.",
)  # fmt: skip


class Home:
    """The launcher's folder as the command line names it."""

    def __init__(self, chosen: Path | None) -> None:
        self._chosen = chosen

    @property
    def chosen(self) -> Path | None:
        """The folder that the user named, if it was named."""
        return self._chosen

    def places(self) -> Places:
        """The folder's paths.

        Raises:
            ManagedHomeError: one was chosen, and the host is managed.
        """
        places = Places.find(self._chosen)
        if self._chosen is not None and Configuration.read(places).managed:
            raise ManagedHomeError("this host is managed: --home is not for it")
        return places

    def resolver(self, *, quiet: bool = False) -> Resolver:
        """A resolver for now."""
        places = self.places()
        configuration = Configuration.read(places)
        report: Callable[[str], None] = (lambda _text: None) if quiet else say
        return Resolver(
            places, Enrolment.read(places, configuration), configuration, datetime.now(UTC), report
        )


def say(text: str) -> None:
    """Progress, on stderr."""
    click.echo(f"… {text}", err=True)


pass_home = click.make_pass_decorator(Home)
