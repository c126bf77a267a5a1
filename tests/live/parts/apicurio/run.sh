#!/bin/sh
# Runs one Apicurio registry (schemas in memory, Confluent interface at /apis/ccompat/v7) until standard input ends:
#   run.sh DIR PORT
# The first run fetches it (160 MB, Maven) into ${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}; it needs Java 21 or later,
# from EVENKEEL_JAVA or the newest under /usr/lib/jvm. Log in DIR; whoever starts it holds the other end of the pipe.
set -eu
dir=$1 port=$2
version=3.3.3
cache=${EVENKEEL_CACHE:-$HOME/.cache/evenkeel}
home=$cache/apicurio-$version
if [ ! -e "$home/complete" ]; then
    mkdir -p "$cache"
    part=$(mktemp -d "$cache/apicurio-part.XXXXXX")
    trap 'rm -rf "$part"' EXIT INT TERM
    mvn --batch-mode --quiet dependency:copy -DoutputDirectory="$part" \
        -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all" >&2
    tar xzf "$part"/*.tar.gz -C "$part"
    rm -f "$part"/*.tar.gz
    touch "$part/complete"
    mv -T "$part" "$home" 2>/dev/null || [ -e "$home/complete" ]
    trap - EXIT INT TERM
fi
java=${EVENKEEL_JAVA:-}
for found in /usr/lib/jvm/*/bin/java; do
    major=$("$found" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
    [ -n "$java" ] || [ "${major:-0}" -lt 21 ] || java=$found
done
[ -n "$java" ] || { echo "no Java 21 or later: set EVENKEEL_JAVA" >&2; exit 1; }
mkdir -p "$dir"
cd "$home"
exec 3<&0
"$java" -Xmx512m -XX:TieredStopAtLevel=1 -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" \
    -jar quarkus-run.jar >"$dir/registry.log" 2>&1 </dev/null 3<&- &
registry=$!
(
    read -r _ <&3 || true
    kill -9 "$registry" 2>/dev/null || true
) &
wait "$registry" 2>/dev/null || true
