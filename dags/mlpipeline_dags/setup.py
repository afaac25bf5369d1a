"""Bring Airflow's database up to date, with its administrator; or wait until somebody else has.

One process for what would be four commands (``db check``, ``db migrate``, ``sync-perm``, ``users create``):
importing Airflow is most of the time that each takes. Where all is done already it does not even do that.
Harmless when run again, or by several at once::

    python -m mlpipeline_dags.setup          # with MLP_ADMIN_USERNAME and MLP_ADMIN_PASSWORD
    python -m mlpipeline_dags.setup --wait   # until the above is done for this image's Airflow
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

URL_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
LOCK_KEY = 7_106_322_019  # any number, the same for all who run this
POLL_SECONDS = 0.5
ROLE = "Admin"


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(f"setup: {text}", flush=True)


def wanted_mark() -> str:
    """Return what marks a database that is set up for this image: the versions that own its tables."""
    packages = ("apache-airflow-core", "apache-airflow-providers-fab")
    return "set up for " + ", ".join(f"{package} {version(package)}" for package in packages)


def connect(url: str, timeout: float) -> Any:
    """Return a connection to the database, as soon as it takes one.

    Raises:
        SystemExit: It took none within ``timeout`` seconds.
    """
    import psycopg2  # type: ignore[import-untyped]

    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise SystemExit(f"{URL_VARIABLE} must be a PostgreSQL URL, it begins with {scheme}://")
    end = time.monotonic() + timeout
    told = ""
    while True:
        try:
            connection = psycopg2.connect(f"postgresql://{rest}", connect_timeout=5)
            connection.autocommit = True
            return connection
        except psycopg2.OperationalError as error:
            if time.monotonic() > end:
                raise SystemExit(f"the database took no connection within {timeout:.0f} s: {error}") from None
            if str(error) != told:
                told = str(error)
                say(f"waiting for the database: {told.strip()}")
            time.sleep(POLL_SECONDS)


def read_mark(connection: Any) -> str | None:
    """Return the mark of the last setup, None if there was none."""
    row = _query(connection, "SELECT obj_description(to_regclass('alembic_version'), 'pg_class')")
    return row[0] if row else None


def is_current(connection: Any, username: str, password: str) -> bool:
    """Whether nothing is left to do."""
    from werkzeug.security import check_password_hash

    if read_mark(connection) != wanted_mark():
        return False
    row = _query(connection, "SELECT password FROM ab_user WHERE username = %s AND active", username)
    return bool(row and check_password_hash(row[0], password))


def _query(connection: Any, sql: str, *values: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


def migrate() -> None:
    """Create Airflow's tables, or bring them up to this version."""
    from airflow.utils import db
    from airflow.utils.providers_configuration_loader import providers_configuration_loaded

    providers_configuration_loaded(db.upgradedb)()


def set_administrator(username: str, password: str) -> None:
    """Bring roles and permissions up to date, and the administrator with this password into being."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    # It tells each of hundreds of permissions.
    logging.getLogger("airflow.providers.fab.auth_manager.security_manager.override").setLevel("WARNING")
    with get_application_builder() as builder:
        builder.add_permissions(update_perms=True)
        manager = builder.sm
        manager.sync_roles()
        user = manager.find_user(username=username)
        if user is None:
            role = manager.find_role(ROLE)
            manager.add_user(username, "Airflow", "Administrator", f"{username}@localhost", role, password)
        else:
            user.active = True
            manager.reset_password(user.id, password)


def set_up(url: str, username: str, password: str, timeout: float) -> None:
    """Do whatever is left to do."""
    connection = connect(url, timeout)
    # One at a time: a second replica waits here, and then finds nothing left to do.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
    if is_current(connection, username, password):
        say("nothing to do")
        return
    # Hundreds of small commits: none waits for the disk, until the mark's below, which takes them all along.
    os.environ["PGOPTIONS"] = f"{os.environ.get('PGOPTIONS', '')} -c synchronous_commit=off".strip()
    for what, step in (
        ("the database's tables", migrate),
        (f"roles and user {username}", lambda: set_administrator(username, password)),
    ):
        _timed(what, step)
    with connection.cursor() as cursor:
        cursor.execute("COMMENT ON TABLE alembic_version IS %s", (wanted_mark(),))
    connection.close()


def _timed(what: str, step: Callable[[], None]) -> None:
    start = time.monotonic()
    say(f"{what} …")
    step()
    say(f"{what}: done in {time.monotonic() - start:.1f} s")


def wait(url: str, timeout: float) -> None:
    """Return once the database is set up for this image.

    Raises:
        SystemExit: It was not within ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    connection = connect(url, timeout)
    while (mark := read_mark(connection)) != wanted_mark():
        if time.monotonic() > end:
            raise SystemExit(
                f"the database is {mark or 'not set up'} after {timeout:.0f} s, not {wanted_mark()}"
            )
        time.sleep(POLL_SECONDS)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mlpipeline_dags.setup", description=__doc__)
    parser.add_argument("--wait", action="store_true", help="change nothing: wait until it is set up")
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait at most (%(default)s)")
    options = parser.parse_args()
    needed = [URL_VARIABLE] if options.wait else [URL_VARIABLE, "MLP_ADMIN_USERNAME", "MLP_ADMIN_PASSWORD"]
    if missing := [name for name in needed if not os.environ.get(name)]:
        parser.error(f"not set: {', '.join(missing)}")
    url = os.environ[URL_VARIABLE]
    if options.wait:
        wait(url, options.timeout)
    else:
        set_up(url, os.environ["MLP_ADMIN_USERNAME"], os.environ["MLP_ADMIN_PASSWORD"], options.timeout)


if __name__ == "__main__":
    main()
