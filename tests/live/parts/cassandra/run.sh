#!/bin/sh
# Runs one Cassandra until standard input ends, so it dies with whoever started it, even by kill -9.
# Usage: run.sh JARS DIR    DIR holds conf/cassandra.yaml; DIR/pid gets the server's process id, DIR/server.log
# its output. DIR is removed at the end unless DIR/keep exists.
set -eu
jars=$1 dir=$2
exports='java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch
    java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server
    java.rmi/sun.rmi.transport.tcp java.sql/java.sql jdk.unsupported/sun.misc'
opens='java.base/java.io java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect
    java.base/java.net java.base/java.nio java.base/java.util java.base/java.util.concurrent
    java.base/java.util.concurrent.atomic java.base/jdk.internal.loader java.base/jdk.internal.math
    java.base/jdk.internal.module java.base/jdk.internal.ref java.base/jdk.internal.reflect
    java.base/jdk.internal.util.jar java.base/sun.nio.ch java.management/com.sun.jmx.remote.security
    jdk.management/com.sun.management.internal jdk.naming.rmi/com.sun.jndi.rmi.registry'
set --
for module in $exports; do set -- "$@" --add-exports "$module=ALL-UNNAMED"; done
for module in $opens; do set -- "$@" --add-opens "$module=ALL-UNNAMED"; done
java -Xms512m -Xmx512m -Xss512k -XX:+UseSerialGC "$@" \
    -javaagent:"$(ls "$jars"/jamm-*.jar)" \
    -Dcassandra.config="file://$dir/conf/cassandra.yaml" \
    -Dcassandra.storagedir="$dir" -Dcassandra.logdir="$dir/logs" -Dcassandra.triggers_dir="$dir/triggers" \
    -Dcassandra.initial_token=0 -Dcassandra.ring_delay_ms=1 -Dcassandra.skip_wait_for_gossip_to_settle=0 \
    -Dcassandra.superuser_setup_delay_ms=0 -Dcassandra-foreground=yes \
    -cp "$dir/conf:$jars/*" org.apache.cassandra.service.CassandraDaemon \
    </dev/null >>"$dir/server.log" 2>&1 &
echo $! >"$dir/pid.part"
mv "$dir/pid.part" "$dir/pid"
cat >/dev/null
kill -9 "$(cat "$dir/pid")" 2>/dev/null || true
wait || true
[ -e "$dir/keep" ] || rm -rf "$dir"
