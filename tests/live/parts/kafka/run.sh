#!/bin/sh
# Runs one Kafka broker (KRaft, broker and controller in one) until standard input ends:
#   run.sh DIR PORT CONTROLLER_PORT
# Data and logs lie in DIR, its process id in DIR/pid. Whoever starts it holds the other end of the pipe: when
# that process ends, for whatever reason, the pipe closes and the broker is killed and DIR removed. The word
# "keep" on standard input ends the broker too, and keeps DIR, so that it can be started again on what it holds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$1 port=$2 controller=$3
jars=$("$here/fetch.sh")
mkdir -p "$dir"
cd "$dir"
rm -f ending

cat >server.properties <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# Tests may want a death noticed sooner than production does.
group.min.session.timeout.ms=1000
# Timed-out transactions are looked for every second instead of every ten.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
# Retention and compaction soon enough for a test to wait for.
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=500
log.segment.delete.delay.ms=500
EOF

# What a test adds, e.g. listeners with a login: a key that is there twice has its last value.
[ ! -e extra.properties ] || cat extra.properties >>server.properties

cat >log4j2.xml <<'EOF'
<Configuration status="error">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
EOF

kafka_java() {
    exec java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dlog4j2.configurationFile="$dir/log4j2.xml" -cp "$jars/*" "$@"
}
if [ ! -e data/meta.properties ]; then
    (kafka_java kafka.tools.StorageTool format --cluster-id q1Sh-9_ISia_zwGINzRvyQ \
        --config server.properties) >>broker.log 2>&1
fi
exec 3<&0
kafka_java kafka.Kafka server.properties >>broker.log 2>&1 </dev/null 3<&- &
broker=$!
echo "$broker" >pid.part
mv pid.part pid
(
    word=
    read -r word <&3 || true
    touch ending
    kill -9 "$broker" 2>/dev/null || true
    # Until it is gone it writes, and a directory that is written to cannot be removed.
    while kill -0 "$broker" 2>/dev/null; do sleep 0.02; done
    [ "$word" = keep ] || rm -rf "$dir"
) &
watcher=$!
status=0
wait "$broker" 2>/dev/null || status=$?
# Where the broker died by itself the watcher is still reading.
[ -e ending ] || [ ! -d "$dir" ] || kill "$watcher" 2>/dev/null || true
wait "$watcher" 2>/dev/null || true
exit "$status"
