#!/bin/sh
# Runs PostgreSQL in a pod: makes the database cluster the first time, then becomes the server.
#
#   POSTGRES_USER (airflow), POSTGRES_DB (the user's name), POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE,
#   PGDATA: a folder *below* the volume's mount. Further arguments go to the server (-c name=value).
set -eu
umask 0077

user=${POSTGRES_USER:-airflow}
database=${POSTGRES_DB:-$user}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}")}
    if [ -z "$password" ]; then
        echo "POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE must be set to make the database" >&2
        exit 2
    fi
    # Made aside and renamed when whole, so that a pod killed half-way starts over.
    draft=$PGDATA.new
    rm -rf "$draft"
    mkdir -p "$(dirname "$PGDATA")"
    secret=$(mktemp)
    printf '%s\n' "$password" >"$secret"
    initdb --pgdata="$draft" --username="$user" --pwfile="$secret" --auth=scram-sha-256 --encoding=UTF8 \
        --locale-provider=builtin --locale=C.UTF-8 --no-instructions
    rm -f "$secret"
    echo "host all all all scram-sha-256" >>"$draft/pg_hba.conf"
    if [ "$database" != postgres ]; then
        echo "CREATE DATABASE \"$database\"" | postgres --single -D "$draft" postgres >/dev/null
    fi
    mv "$draft" "$PGDATA"
fi
unset POSTGRES_PASSWORD

# Small: an Airflow's metadata. No JIT, since it is not in the image.
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off \
    -c shared_buffers=96MB -c max_connections=100 -c max_wal_size=512MB -c log_checkpoints=off "$@"
