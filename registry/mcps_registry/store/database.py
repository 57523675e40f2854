"""The database: one SQLAlchemy Core schema.

Everything that is published stands here first, bytes and all, in the same transaction that
allocates its version number. So a number is never used twice, and whatever a crash left
half written is written again from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from mcps_trust.errors import StorageError

__all__ = ["DatabaseError", "connect", "reading", "tables", "writing"]


class DatabaseError(StorageError):
    """The registry's database cannot be used."""

    code = "database"


class _Tables:
    """The schema. `roles` and `files` hold published bytes; rows are never changed."""

    metadata = sa.MetaData()
    settings = sa.Table(
        "settings",
        metadata,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    namespaces = sa.Table(
        "namespaces",
        metadata,
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("identity_key", sa.Text, primary_key=True),
        sa.Column("identity", sa.JSON, nullable=False),
    )
    submissions = sa.Table(
        "submissions",
        metadata,
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("bundle_sha256", sa.Text, nullable=False),
        sa.Column("bundle_size", sa.Integer, nullable=False),
        sa.Column("identity", sa.JSON, nullable=False),
        sa.Column("signer", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("submitted", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    approvals = sa.Table(
        "approvals",
        metadata,
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("envelope", sa.JSON, nullable=False),
    )
    roles = sa.Table(
        "roles",
        metadata,
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    files = sa.Table(
        "files",
        metadata,
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


tables = _Tables


def connect(path: Path) -> sa.Engine:
    """Open the SQLite file `path`, making the schema where it is not there.

    Raises:
        DatabaseError: it cannot be opened.
    """
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a DB-API connection
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    try:
        tables.metadata.create_all(engine)
    except sa.exc.SQLAlchemyError as error:
        raise DatabaseError(f"cannot open the database {path}", found=str(error)) from error
    return engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to read from.

    Raises:
        DatabaseError: the database does not answer.
    """
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise DatabaseError("the database cannot be read", found=str(error)) from error


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction: all of it is committed, or nothing.

    Raises:
        DatabaseError: it could not be committed.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise DatabaseError("the database cannot be written", found=str(error)) from error
