//! The newest records of some partitions and what comes, without a group: for readers that keep nothing.
//!
//! Owns: a consumer with partitions assigned by hand. Never: a committed offset; waits for an open transaction (what it
//! reads is worth having only while it is new).

use crate::KafkaConfig;
use crate::follower::Follower;
use crate::wake::Waker;
use evenkeel_model::Topic;
use evenkeel_seam::{LogInput, RecordRef};
use std::sync::Arc;
use std::time::Duration;

/// What a tail hands over: records of one partition, rising offsets.
pub type TailRecords<'a> = &'a mut dyn FnMut(Topic, u32, &[RecordRef<'_>]);

/// A reader of tails.
pub struct KafkaTail {
    follower: Follower,
    waker: Arc<Waker>,
}

impl KafkaTail {
    /// `name` stands where a group's name would in the brokers' logs.
    pub fn new(config: &KafkaConfig, name: &str) -> Self {
        let waker = Arc::new(Waker::default());
        Self { follower: Follower::new(config.clone(), name.to_owned(), Arc::clone(&waker)), waker }
    }

    /// Reads a partition too, from about its newest `tail` records on. One that does not exist brings nothing.
    pub fn follow(&mut self, topic: Topic, partition: u32, tail: u64) {
        self.follower.follow(topic, partition, tail);
    }

    /// Waits up to `wait` and hands over what has come. Brokers that are away bring nothing until they are back.
    pub fn poll(&mut self, wait: Duration, each: TailRecords<'_>) {
        let mut hand_over = |input: LogInput<'_>| {
            if let LogInput::Records { partition, topic, records, .. } = input {
                each(topic, partition, records);
            }
        };
        if !self.follower.pass(&mut hand_over) {
            self.waker.wait(wait);
            self.follower.pass(&mut hand_over);
        }
    }
}
