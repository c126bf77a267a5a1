#!/bin/sh
# Builds the pinned Collector into the cache (once, some minutes) and prints its path. Needs Go.
# The cache is ${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}, outside the clone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}
sum=$(cksum <"$here/builder.yaml" | cut -d' ' -f1)
home=$cache/otelcol-$sum
if [ ! -x "$home/otelcol-peer" ]; then
    command -v go >/dev/null || { echo "Go is missing: the Collector is built from source" >&2; exit 1; }
    mkdir -p "$cache"
    part=$(mktemp -d "$cache/otelcol-part.XXXXXX")
    trap 'chmod -R u+w "$part"; rm -rf "$part"' EXIT INT TERM
    GOBIN=$part/bin go install go.opentelemetry.io/collector/cmd/builder@v0.120.0 >&2
    sed "s|^dist:|dist:\n  output_path: $part/source|" "$here/builder.yaml" >"$part/builder.yaml"
    "$part/bin/builder" --config "$part/builder.yaml" >"$part/log" 2>&1 || { tail -20 "$part/log" >&2; exit 1; }
    mkdir -p "$home"
    mv "$part/source/otelcol-peer" "$home/"
fi
printf '%s\n' "$home/otelcol-peer"
