#!/bin/sh
# Builds the contenders of `evenkeel bench spool` into the cache and prints the program's path.
# The cache is ${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}, outside the clone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}/peers-spool
cargo build --locked --release --manifest-path "$here/Cargo.toml" --target-dir "$target" >&2
printf '%s\n' "$target/release/evenkeel-peers-spool"
