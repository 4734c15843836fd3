#!/bin/sh
# Runs the version of assize that this host serves with, with the installed settings.
set -eu

current=/var/lib/assize/current
settings=/etc/assize/assize.toml
keys=/var/lib/assize/keys

if [ ! -x "$current/assize" ]; then
    echo "assize: no version is in use: $current/assize is missing; run 'assize-upgrade VERSION' as root" >&2
    exit 2
fi
# As for every other start: what is given counts, then a file in the current folder, then the installed file.
if [ -z "${ASSIZE_CONFIG:-}" ] && [ ! -e assize.toml ] && [ -r "$settings" ]; then
    export ASSIZE_CONFIG="$settings"
fi
# The role of Postgres and the signing key that belong to the user. Root maintains the database as its owner. A user
# name in database_url counts more than PGUSER.
case $(id -un) in
root) export PGUSER="${PGUSER:-assize_owner}" ;;
assize-api) export PGUSER="${PGUSER:-assize_api}" ASSIZE_SIGNING_KEY_FILE="${ASSIZE_SIGNING_KEY_FILE:-$keys/api.key}" ;;
assize-worker) export PGUSER="${PGUSER:-assize_worker}" ASSIZE_SIGNING_KEY_FILE="${ASSIZE_SIGNING_KEY_FILE:-$keys/worker.key}" ;;
esac
exec "$current/assize" "$@"
