#!/bin/sh
# Builds the pinned nats-server into the cache (once, a minute) and prints its path. Needs Go.
# The cache is ${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}, outside the clone.
set -eu
version=v2.12.2
cache=${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}
home=$cache/nats-$version
if [ ! -x "$home/nats-server" ]; then
    command -v go >/dev/null || { echo "Go is missing: nats-server is built from source" >&2; exit 1; }
    mkdir -p "$cache"
    part=$(mktemp -d "$cache/nats-part.XXXXXX")
    trap 'rm -rf "$part"' EXIT INT TERM
    GOBIN=$part go install "github.com/nats-io/nats-server/v2@$version" >&2
    mkdir -p "$home"
    mv "$part/nats-server" "$home/"
fi
printf '%s\n' "$home/nats-server"
