//! The hot paths, straight on librdkafka: whole batches per call.
//!
//! Owns: the one queue that a consumer's partitions are forwarded to, the topics a transaction writes to, and
//! the `unsafe` of the data path. Never: copies a payload that it receives, decides anything. rdkafka's own
//! `poll` hands over one message per call through an event object each, its `send` reads the clock several
//! times per record; the batch calls halve the CPU on small records.
#![allow(unsafe_code)]

use crate::context::MemberContext;
use crate::wake::Waker;
use evenkeel_seam::Header;
use rdkafka::bindings as rd;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::Arc;

/// The queue all partitions of one consumer are forwarded to.
pub(crate) struct BatchQueue {
    queue: *mut rd::rd_kafka_queue_t,
    slots: Vec<*mut rd::rd_kafka_message_t>,
    // Both outlive the queue: it is destroyed in `drop`, before the fields are.
    consumer: Arc<BaseConsumer<MemberContext>>,
    _waker: Arc<Waker>,
}

// SAFETY: librdkafka's queues and clients may be used from any thread; `slots` is empty between calls.
unsafe impl Send for BatchQueue {}

/// Messages taken from the queue; given back to librdkafka when dropped.
pub(crate) struct Batch<'q> {
    slots: &'q mut Vec<*mut rd::rd_kafka_message_t>,
}

/// A record without headers.
#[derive(Clone, Copy)]
pub(crate) struct RawRecord<'b> {
    pub offset: u64,
    pub timestamp_ms: i64,
    pub key: Option<&'b [u8]>,
    pub value: Option<&'b [u8]>,
}

unsafe extern "C" fn ring(_: *mut rd::rd_kafka_t, waker: *mut c_void) {
    // SAFETY: `waker` points into the Arc that the BatchQueue or the EventBell holds; the callback is disabled, under
    // the queue's lock, before that Arc is released.
    unsafe { &*(waker as *const Waker) }.ring();
}

impl BatchQueue {
    /// A queue of the consumer; it rings `waker` whenever messages arrive. At most `batch_max` messages
    /// are taken per call.
    pub fn new(
        consumer: Arc<BaseConsumer<MemberContext>>,
        waker: Arc<Waker>,
        batch_max: usize,
    ) -> Option<Self> {
        // SAFETY: the client pointer is valid as long as `consumer`, which is kept beside the queue.
        let queue = unsafe { rd::rd_kafka_queue_new(consumer.client().native_ptr()) };
        if queue.is_null() {
            return None;
        }
        let opaque = Arc::as_ptr(&waker) as *mut c_void;
        // SAFETY: `queue` was just made; `opaque` stays valid, see `ring`.
        unsafe { rd::rd_kafka_queue_cb_event_enable(queue, Some(ring), opaque) };
        Some(Self { queue, slots: Vec::with_capacity(batch_max.max(1)), consumer, _waker: waker })
    }

    /// Routes a partition's messages to this queue. Call before the assignment (so that nothing goes to
    /// the consumer's event queue) and again after it (an earlier unassignment of the same partition ends
    /// forwarding, and has been carried out once the assignment call returns).
    pub fn forward(&self, topic: &str, partition: u32) -> bool {
        let Ok(topic) = CString::new(topic) else { return false };
        // SAFETY: valid client and string; the partition queue is released right after forwarding, which
        // keeps its own reference to the destination.
        unsafe {
            let rk = self.consumer.client().native_ptr();
            let from = rd::rd_kafka_queue_get_partition(rk, topic.as_ptr(), partition as i32);
            if from.is_null() {
                return false;
            }
            rd::rd_kafka_queue_forward(from, self.queue);
            rd::rd_kafka_queue_destroy(from);
        }
        true
    }

    /// Takes what is there now, without waiting.
    pub fn take(&mut self) -> Batch<'_> {
        let room = self.slots.capacity();
        // SAFETY: `slots` has room for `room` pointers; librdkafka fills the first `n` of them with
        // messages that are ours to destroy.
        unsafe {
            let n = rd::rd_kafka_consume_batch_queue(self.queue, 0, self.slots.as_mut_ptr(), room);
            self.slots.set_len(usize::try_from(n).unwrap_or(0).min(room));
        }
        Batch { slots: &mut self.slots }
    }

    /// The position after the last thing handed over, markers included; `None` before the first.
    pub fn position(&self, topic: &str, partition: u32) -> Option<u64> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the list is made, filled, read and destroyed here; `add` returns a valid element.
        unsafe {
            let list = rd::rd_kafka_topic_partition_list_new(1);
            let element = rd::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition as i32);
            rd::rd_kafka_position(self.consumer.client().native_ptr(), list);
            let offset = (*element).offset;
            rd::rd_kafka_topic_partition_list_destroy(list);
            u64::try_from(offset).ok()
        }
    }

    /// The high watermark as of the last answered fetch.
    pub fn high(&self, topic: &str, partition: u32) -> Option<u64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: valid client and string; two out parameters.
        unsafe {
            let rk = self.consumer.client().native_ptr();
            rd::rd_kafka_get_watermark_offsets(rk, topic.as_ptr(), partition as i32, &mut low, &mut high);
        }
        u64::try_from(high).ok()
    }
}

/// Rings whenever something comes to a producer's own queue: delivery reports, errors, logs. It must be dropped before
/// the producer.
pub(crate) struct EventBell {
    queue: *mut rd::rd_kafka_queue_t,
    _waker: Arc<Waker>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for EventBell {}

impl EventBell {
    /// From now on `waker` is rung.
    pub fn new<C: rdkafka::ClientContext>(client: &Client<C>, waker: Arc<Waker>) -> Option<Self> {
        // SAFETY: a valid client.
        let queue = unsafe { rd::rd_kafka_queue_get_main(client.native_ptr()) };
        if queue.is_null() {
            return None;
        }
        let opaque = Arc::as_ptr(&waker) as *mut c_void;
        // SAFETY: our reference to the queue; `opaque` stays valid, see `ring`.
        unsafe { rd::rd_kafka_queue_cb_event_enable(queue, Some(ring), opaque) };
        Some(Self { queue, _waker: waker })
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        // SAFETY: our reference to the queue.
        unsafe { rd::rd_kafka_queue_length(self.queue) }
    }
}

impl Drop for EventBell {
    fn drop(&mut self) {
        // SAFETY: the callback is switched off under the queue's lock, then our reference is given back.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// The topics that a producer writes to by batches.
///
/// What a delivery report carries must be what the producer's context expects: a `usize` after [`OutTopics::send`], a
/// `Box<T>` after [`OutTopics::send_each`].
pub(crate) struct OutTopics {
    topics: Vec<*mut rd::rd_kafka_topic_t>,
    messages: Vec<rd::rd_kafka_message_t>,
}

// SAFETY: librdkafka's topics may be used from any thread; `messages` is empty between calls.
unsafe impl Send for OutTopics {}

impl OutTopics {
    /// Handles of `names`, in this order. They must not outlive the client.
    pub fn new<C: rdkafka::ClientContext>(client: &Client<C>, names: &[String]) -> Option<Self> {
        let mut made = Self { topics: Vec::with_capacity(names.len()), messages: Vec::new() };
        for name in names {
            let name = CString::new(name.as_str()).ok()?;
            // SAFETY: valid client and string; no settings of its own.
            let topic =
                unsafe { rd::rd_kafka_topic_new(client.native_ptr(), name.as_ptr(), ptr::null_mut()) };
            if topic.is_null() {
                return None;
            }
            made.topics.push(topic);
        }
        Some(made)
    }

    /// Hands records (key and value) to the producer, in order, all for one partition of `topic`, which is
    /// also what their delivery reports carry. Returns how many were taken, from the first on, and why the
    /// next one was not.
    pub fn send<'r>(
        &mut self,
        topic: usize,
        partition: u32,
        records: impl Iterator<Item = (Option<&'r [u8]>, Option<&'r [u8]>)>,
    ) -> (usize, Option<RDKafkaErrorCode>) {
        self.produce(topic, partition, records.map(|(key, value)| (key, value, topic as *mut c_void)));
        // After a first refusal librdkafka takes none of the rest when its queue is full or the topic is
        // not usable; anything else is the end of the transaction.
        let taken = self.messages.iter().position(is_refused).unwrap_or(self.messages.len());
        let error = self.messages.get(taken).map(|m| m.err.into());
        self.messages.clear();
        (taken, error)
    }

    /// Hands records (key, value, what its delivery report carries) to the producer, in order, all for one partition
    /// of `topic`; `refused` gets back what belongs to a record that was not taken and has no report.
    pub fn send_each<'r, T: Send + Sync>(
        &mut self,
        topic: usize,
        partition: u32,
        records: impl Iterator<Item = (Option<&'r [u8]>, Option<&'r [u8]>, Box<T>)>,
        refused: &mut dyn FnMut(T, RDKafkaErrorCode),
    ) {
        let records = records.map(|(key, value, own)| (key, value, Box::into_raw(own).cast::<c_void>()));
        self.produce(topic, partition, records);
        for message in self.messages.drain(..).filter(is_refused) {
            // SAFETY: made above from a box of this type, and no report will give it back.
            let own = unsafe { Box::from_raw(message._private.cast::<T>()) };
            refused(*own, message.err.into());
        }
    }

    /// `messages` are the records with their errors afterwards.
    fn produce<'r>(
        &mut self,
        topic: usize,
        partition: u32,
        records: impl Iterator<Item = (Option<&'r [u8]>, Option<&'r [u8]>, *mut c_void)>,
    ) {
        let raw = |bytes: Option<&[u8]>| {
            bytes.map_or((ptr::null_mut(), 0), |b| (b.as_ptr().cast_mut().cast::<c_void>(), b.len()))
        };
        self.messages.clear();
        self.messages.extend(records.map(|(key, value, opaque)| {
            let ((key, key_len), (payload, len)) = (raw(key), raw(value));
            rd::rd_kafka_message_t {
                err: rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: ptr::null_mut(),
                partition: partition as i32,
                payload,
                len,
                key,
                key_len,
                offset: 0,
                _private: opaque,
            }
        }));
        // SAFETY: a valid topic and an array of that many messages, whose keys and payloads live through the
        // call and are copied by it.
        unsafe {
            rd::rd_kafka_produce_batch(
                self.topics[topic],
                partition as i32,
                rd::RD_KAFKA_MSG_F_COPY,
                self.messages.as_mut_ptr(),
                self.messages.len() as i32,
            );
        }
    }
}

fn is_refused(message: &rd::rd_kafka_message_t) -> bool {
    message.err != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

impl Drop for OutTopics {
    fn drop(&mut self) {
        for topic in self.topics.drain(..) {
            // SAFETY: our reference, given back once.
            unsafe { rd::rd_kafka_topic_destroy(topic) };
        }
    }
}

/// How many events (rebalances, statistics, errors, logs) wait in a consumer's own queue.
pub(crate) fn events_waiting(consumer: &BaseConsumer<MemberContext>) -> usize {
    // SAFETY: valid client; the queue reference is released at once.
    unsafe {
        let events = rd::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        if events.is_null() {
            return 0;
        }
        let n = rd::rd_kafka_queue_length(events);
        rd::rd_kafka_queue_destroy(events);
        n
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        // SAFETY: the callback is switched off under the queue's lock, then our reference is given back.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue);
        }
    }
}

impl Batch<'_> {
    /// Number of messages, error messages included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    fn message(&self, i: usize) -> &rd::rd_kafka_message_t {
        // SAFETY: each slot holds a message of ours until the batch is dropped, and the reference does
        // not outlive the batch.
        unsafe { &*self.slots[i] }
    }

    /// Whether two messages are of one topic and partition.
    pub fn same_partition(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.message(a), self.message(b));
        a.partition == b.partition && (a.rkt == b.rkt || self.topic_of(a) == self.topic_of(b))
    }

    /// The partition of a message.
    pub fn partition(&self, i: usize) -> u32 {
        self.message(i).partition.max(0) as u32
    }

    /// The topic of a message.
    pub fn topic(&self, i: usize) -> &str {
        self.topic_of(self.message(i))
    }

    fn topic_of<'b>(&'b self, message: &'b rd::rd_kafka_message_t) -> &'b str {
        if message.rkt.is_null() {
            return "";
        }
        // SAFETY: the message holds a reference to its topic, whose name is a NUL-ended string.
        let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(message.rkt)) };
        name.to_str().unwrap_or("")
    }

    /// The error that a message carries instead of a record.
    pub fn error(&self, i: usize) -> Option<(RDKafkaErrorCode, String)> {
        let message = self.message(i);
        if message.err == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the payload of an error message is its text.
        let text = unsafe { bytes(message.payload, message.len) }.unwrap_or_default();
        Some((message.err.into(), String::from_utf8_lossy(text).into_owned()))
    }

    /// The record of a message without error.
    pub fn record(&self, i: usize) -> RawRecord<'_> {
        let message = self.message(i);
        // SAFETY: key and payload lie in the message, which lives as long as the batch; the timestamp
        // call only reads it.
        unsafe {
            RawRecord {
                offset: message.offset.max(0) as u64,
                timestamp_ms: rd::rd_kafka_message_timestamp(message, ptr::null_mut()),
                key: bytes(message.key, message.key_len),
                value: bytes(message.payload, message.len),
            }
        }
    }

    /// Appends the headers of a message.
    pub fn headers<'b>(&'b self, i: usize, into: &mut Vec<Header<'b>>) {
        let message = self.message(i);
        // SAFETY: headers belong to the message; name and value stay valid as long as it does.
        unsafe {
            let mut headers = ptr::null_mut();
            let found = rd::rd_kafka_message_headers(message, &mut headers);
            if found != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            for index in 0.. {
                let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
                let got = rd::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut len);
                if got != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return;
                }
                if let Ok(name) = CStr::from_ptr(name).to_str() {
                    into.push(Header { name, value: bytes(value, len).unwrap_or_default() });
                }
            }
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.slots.drain(..) {
            // SAFETY: the message is ours and is forgotten here.
            unsafe { rd::rd_kafka_message_destroy(message) };
        }
    }
}

/// The bytes at a pointer; `None` for a null pointer.
///
/// # Safety
/// A pointer that is not null has `len` bytes that live for `'b`.
unsafe fn bytes<'b>(at: *const c_void, len: usize) -> Option<&'b [u8]> {
    if at.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    Some(unsafe { std::slice::from_raw_parts(at as *const u8, len) })
}
