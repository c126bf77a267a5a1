#!/bin/sh
# Puts the jars of the pinned Cassandra into the cache, once, and prints their directory.
# Needs: java 17, mvn. Cache: ${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's:.*<version>\(5\.[0-9.]*\)</version>.*:\1:p' "$here/pom.xml" | head -1)
jars="${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}/cassandra-$version"
if [ ! -e "$jars/.complete" ]; then
    mkdir -p "$jars"
    # Copied elsewhere first: two runs at once, or one that was cut off, must not leave half of it behind.
    part=$(mktemp -d "$jars.part.XXXXXX")
    mvn --batch-mode --quiet --file "$here/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$part" >&2
    mv -f "$part"/*.jar "$jars"/
    rmdir "$part"
    touch "$jars/.complete"
fi
echo "$jars"
