#!/bin/sh
# Makes the Python of `evenkeel bench score` in the cache (3.11 or newer) and prints its path.
# The cache is ${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}, outside the clone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}/peers-score-python
[ -x "$python/bin/python" ] || python3 -m venv "$python" >&2
"$python/bin/pip" install --quiet --requirement "$here/requirements.txt" >&2
printf '%s\n' "$python/bin/python"
