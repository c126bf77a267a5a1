//! Puts a log into states that only a crash leaves behind. For tests.
//! Owns: transactions that nobody ends, logs that lost their beginning, topics that grew. Never: compiled into the product (feature `faults`).

use crate::config::Isolation;
use crate::txn::{TxnContext, headers_of};
use crate::{ConnectError, KafkaConfig, scout::init_transactions};
use evenkeel_model::Topic;
use evenkeel_seam::{Outputs, Position};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// A transaction that was begun and is left open, as by a worker killed before its commit. It stays open
/// while this value lives, until it is aborted, fenced, or its timeout has passed.
pub struct OpenTransaction {
    producer: BaseProducer<TxnContext>,
    patience: Duration,
}

impl OpenTransaction {
    /// Begins a transaction under `id`, appends `outputs`, and adds `positions` of `topic` for `group`
    /// (none: the offsets stay as they are).
    pub fn begin(
        config: &KafkaConfig,
        id: &str,
        group: &str,
        topic: Topic,
        outputs: &Outputs,
        positions: &[Position],
    ) -> Result<Self, ConnectError> {
        let refused = |what: &str, e: &dyn std::fmt::Display| ConnectError::refused(what, e);
        let producer: BaseProducer<TxnContext> = config
            .transactional(id)?
            .create_with_context(TxnContext::default())
            .map_err(|e| refused("making the producer", &e))?;
        init_transactions(&producer, config, id)?;
        producer.begin_transaction().map_err(|e| refused("begin", &e))?;
        for record in outputs.records() {
            let name = config.topic(record.topic);
            let mut to_send: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(&name, record.topic as usize).partition(record.partition as i32);
            to_send.key = outputs.key(record);
            to_send.payload = outputs.value(record);
            to_send.headers = headers_of(outputs, record);
            producer.send(to_send).map_err(|(e, _)| refused("produce", &e))?;
        }
        let patience = config.timeouts.call.duration();
        let until = Instant::now() + patience;
        while producer.in_flight_count() > 0 && Instant::now() < until {
            producer.poll(Duration::from_millis(1));
        }
        if !positions.is_empty() {
            let mut list = TopicPartitionList::new();
            for position in positions {
                let mut element = list.add_partition(&config.topic(topic), position.partition as i32);
                let offset = Offset::Offset(position.offset as i64);
                element.set_offset(offset).map_err(|e| refused("offset", &e))?;
            }
            let metadata = outsider(config, group)?;
            producer
                .send_offsets_to_transaction(&list, &metadata, patience)
                .map_err(|e| refused("send offsets", &e))?;
        }
        Ok(Self { producer, patience })
    }

    /// Ends it by an abort: the log then holds aborted records.
    pub fn abort(self) -> Result<(), ConnectError> {
        self.producer.abort_transaction(self.patience).map_err(|e| ConnectError::refused("abort", e))
    }

    /// Tries to commit it, as a zombie would.
    pub fn commit(self) -> Result<(), ConnectError> {
        self.producer.commit_transaction(self.patience).map_err(|e| ConnectError::refused("commit", e))
    }
}

/// Waits until no transaction is about to change the group's committed offset. A commit is answered before
/// its markers are written, and a broker that is the only one and dies in between forgets them at its start
/// ("these partitions are likely deleted", Kafka 4.3): the offset then stays unstable for good. Whoever
/// kills a broker to see something else waits for this first.
pub fn settled(config: &KafkaConfig, group: &str, topic: Topic, partition: u32) -> Result<(), ConnectError> {
    let consumer: BaseConsumer = config
        .consumer(group, Isolation::Committed)?
        .create()
        .map_err(|e| ConnectError::refused("making the consumer", e))?;
    let mut list = TopicPartitionList::new();
    list.add_partition(&config.topic(topic), partition as i32);
    let found = consumer.committed_offsets(list, config.timeouts.connect.duration());
    found.map(|_| ()).map_err(|e| ConnectError::refused(format!("the offset of {group} did not settle"), e))
}

/// Deletes the records of a partition before an offset, as retention does.
pub fn trim(config: &KafkaConfig, topic: Topic, partition: u32, before: u64) -> Result<(), ConnectError> {
    let name = config.topic(topic);
    let refused = |e: &dyn std::fmt::Display| ConnectError::refused(format!("trimming {name}"), e);
    let admin: AdminClient<DefaultClientContext> = config.client()?.create().map_err(|e| refused(&e))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&name, partition as i32, Offset::Offset(before as i64))
        .map_err(|e| refused(&e))?;
    let options = AdminOptions::new().operation_timeout(Some(config.timeouts.call.duration()));
    futures::executor::block_on(admin.delete_records(&list, &options)).map_err(|e| refused(&e))?;
    Ok(())
}

/// Gives a topic more partitions, as an operator may at any time.
pub fn grow(config: &KafkaConfig, topic: Topic, partitions: usize) -> Result<(), ConnectError> {
    let name = config.topic(topic);
    let refused = |e: &dyn std::fmt::Display| ConnectError::refused(format!("growing {name}"), e);
    let admin: AdminClient<DefaultClientContext> = config.client()?.create().map_err(|e| refused(&e))?;
    let options = AdminOptions::new().operation_timeout(Some(config.timeouts.call.duration()));
    let grown = NewPartitions::new(&name, partitions);
    let results = futures::executor::block_on(admin.create_partitions([&grown], &options));
    for result in results.map_err(|e| refused(&e))? {
        result.map_err(|(_, code)| refused(&code))?;
    }
    Ok(())
}

/// The metadata of somebody who is no member of the group: accepted while the group has none, or from
/// before generations were checked.
fn outsider(config: &KafkaConfig, group: &str) -> Result<ConsumerGroupMetadata, ConnectError> {
    let mut client: ClientConfig = config.client()?;
    client.set("group.id", group);
    let consumer: BaseConsumer =
        client.create().map_err(|e| ConnectError::refused("making the consumer", e))?;
    consumer.group_metadata().ok_or_else(|| ConnectError::refused("group metadata", "none"))
}
