#!/bin/sh
# Fetches the pinned Kafka server into the cache (once) and prints the directory of its jars.
# Needs: Java 17 and Maven. The cache is ${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}, outside the clone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}
# The directory is named by the pom's checksum: another version is another directory.
sum=$(cksum <"$here/pom.xml" | cut -d' ' -f1)
lib=$cache/kafka-$sum
if [ ! -e "$lib/complete" ]; then
    mkdir -p "$cache"
    # Two runs at once: each fills a directory of its own, the first rename wins.
    part=$(mktemp -d "$cache/kafka-part.XXXXXX")
    trap 'rm -rf "$part"' EXIT INT TERM
    cp "$here/pom.xml" "$part/pom.xml"
    mvn --batch-mode --quiet --file "$part/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$part/jars" >&2
    rm -f "$part/pom.xml"
    rm -rf "$part/target"
    touch "$part/complete"
    mv -T "$part" "$lib" 2>/dev/null || [ -e "$lib/complete" ]
fi
printf '%s\n' "$lib/jars"
