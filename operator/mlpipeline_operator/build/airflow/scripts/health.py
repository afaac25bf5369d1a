"""Tell whether this pod's Airflow job beats its heart: the probe of components that listen on no port.

Airflow's own ``airflow jobs check`` imports all of Airflow, seconds of CPU at each probe; this asks the
database the same question.

Usage: ``health.py JOB_TYPE [--alive]``. Exits with 0 if the newest job of that type on this host is running
and its heartbeat is recent. With ``--alive`` also if the database is away: a restart would not mend that.
"""

from __future__ import annotations

import os
import socket
import sys

# Airflow beats every 5 s and takes a job for dead after 30 s.
FRESH_SECONDS = 30

QUERY = """
    SELECT state = 'running' AND latest_heartbeat > now() - make_interval(secs => %s)
    FROM job WHERE job_type = %s AND hostname = %s ORDER BY latest_heartbeat DESC LIMIT 1
"""


def main(job_type: str, alive: bool) -> int:
    """Return the exit status."""
    import psycopg2  # type: ignore[import-untyped]

    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    try:
        connection = psycopg2.connect("postgresql://" + url.partition("://")[2], connect_timeout=5)
        with connection, connection.cursor() as cursor:
            # While the database is still being migrated: a failing query would be an error in its log.
            cursor.execute("SELECT to_regclass('job')")
            if cursor.fetchone() == (None,):
                print("the database has no tables yet")
                return 1
            cursor.execute(QUERY, (FRESH_SECONDS, job_type, socket.gethostname()))
            row = cursor.fetchone()
    except psycopg2.Error as error:
        print(f"the database does not answer: {error}".strip())
        return 0 if alive else 1
    if row and row[0]:
        return 0
    print(f"no {job_type} of this pod has beaten its heart in the last {FRESH_SECONDS} s")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--alive" in sys.argv[2:]))
