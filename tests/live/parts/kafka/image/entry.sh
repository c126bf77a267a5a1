#!/bin/bash
# Runs a broker whose settings are KAFKA_… variables, as in the image apache/kafka: KAFKA_NODE_ID is node.id.
set -eu
mkdir -p /var/lib/kafka
cd /var/lib/kafka
while IFS='=' read -r name value; do
    key=${name#KAFKA_}
    key=${key//_/.}
    printf '%s=%s\n' "${key,,}" "$value"
done < <(env | grep '^KAFKA_') >server.properties
echo log.dirs=/var/lib/kafka/data >>server.properties
cat >log4j2.xml <<'XML'
<Configuration status="error">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
  <Loggers><Root level="info"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
XML
run() { java -Xmx512m -XX:+UseSerialGC -Dlog4j2.configurationFile=log4j2.xml -cp '/opt/kafka/jars/*' "$@"; }
[ -e data/meta.properties ] ||
    run kafka.tools.StorageTool format --cluster-id q1Sh-9_ISia_zwGINzRvyQ --config server.properties
exec java -Xmx512m -XX:+UseSerialGC -Dlog4j2.configurationFile=log4j2.xml -cp '/opt/kafka/jars/*' \
    kafka.Kafka server.properties
