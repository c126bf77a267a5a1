#!/bin/sh
# Asks the running service whatever its OpenAPI allows and forbids (schemathesis): every answer has a status, a content
# type and a body that the description names, and what it forbids is refused. Needs python3; the tool is fetched into
# ${EVENKEEL_CACHE:-$HOME/.cache/evenkeel} once.
#   tests/conformance/http.sh PROGRAM [ARGUMENT OF SCHEMATHESIS]…
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=$1
shift
version=4.32.5
home=${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}/schemathesis-$version
if [ ! -e "$home/complete" ]; then
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet "schemathesis==$version"
    touch "$home/complete"
fi
# An upload that nobody goes on with keeps its readers waiting for recordings.idle-timeout; the tool has less patience.
dir=$(mktemp -d)
"$program" run --data-dir "$dir/data" --set ingest.listen=127.0.0.1:0 --set gateway.listen=127.0.0.1:0 --set process.admin.listen=127.0.0.1:0 \
    --set process.log.format=json --set ingest.recordings.idle-timeout=2s >"$dir/log" 2>&1 &
service=$!
trap 'kill "$service" 2>/dev/null || true; rm -rf "$dir"' EXIT INT TERM
address=
tries=0
while [ -z "$address" ]; do
    address=$(sed -n 's|^ingest   http://\([0-9.:]*\)/.*|\1|p' "$dir/log" | head -1)
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done
cd "$dir" # the tool leaves files where it runs
# Not positive_data_acceptance: it compresses nothing it calls gzip, and upgrades no connection to WebSocket.
SCHEMATHESIS_HOOKS="$here/hooks.py" "$home/bin/schemathesis" run "http://$address/v1/openapi.yaml" \
    --checks all --exclude-checks positive_data_acceptance --continue-on-failure "$@"
kill -0 "$service" || { echo "the service is gone" >&2; exit 1; }
