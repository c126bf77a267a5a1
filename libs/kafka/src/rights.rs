//! What this login may do with topics, as the brokers tell it (KIP-430), straight on librdkafka: rdkafka has no call
//! for it.
//!
//! Owns: one question and its answer. Never: the access control lists themselves (reading them is a right of its own),
//! a change of them.
#![allow(unsafe_code)]

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

/// What a login may do with a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicRights {
    /// Fetch records.
    pub read: bool,
    /// Append records.
    pub write: bool,
}

/// Something of the library, given back when it goes.
struct Owned<T> {
    at: *mut T,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(at: *mut T, free: unsafe extern "C" fn(*mut T)) -> Result<Self, String> {
        match at.is_null() {
            true => Err("the client library gave nothing".to_owned()),
            false => Ok(Self { at, free }),
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `at` came from the library with `free` as its counterpart, and is given back once.
        unsafe { (self.free)(self.at) }
    }
}

/// The rights by topic; those that do not exist, or of which nothing is told, are not in it. Blocks for at most `wait`.
pub(crate) fn of_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    wait: Duration,
) -> Result<BTreeMap<String, TopicRights>, String> {
    let rk = client.native_ptr();
    let wait_ms = wait.as_millis().min(60_000) as i32;
    let texts: Vec<CString> = names.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let mut pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
    // SAFETY: a valid client; what is made here outlives the calls that use it; `pointers` and `texts` live until the
    // collection has copied them; the event, which owns the answer, is held while it is read.
    unsafe {
        let queue = Owned::new(rd::rd_kafka_queue_new(rk), rd::rd_kafka_queue_destroy)?;
        let describe = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options =
            Owned::new(rd::rd_kafka_AdminOptions_new(rk, describe), rd::rd_kafka_AdminOptions_destroy)?;
        rd::rd_kafka_AdminOptions_set_request_timeout(options.at, wait_ms, ptr::null_mut(), 0);
        let error = rd::rd_kafka_AdminOptions_set_include_authorized_operations(options.at, 1);
        if let Ok(error) = Owned::new(error, rd::rd_kafka_error_destroy) {
            return Err(text(rd::rd_kafka_error_string(error.at)));
        }
        let topics = Owned::new(
            rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            rd::rd_kafka_TopicCollection_destroy,
        )?;
        rd::rd_kafka_DescribeTopics(rk, topics.at, options.at, queue.at);
        let event = Owned::new(rd::rd_kafka_queue_poll(queue.at, wait_ms), rd::rd_kafka_event_destroy)?;
        if rd::rd_kafka_event_error(event.at) != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(text(rd::rd_kafka_event_error_string(event.at)));
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event.at);
        if result.is_null() {
            return Err("the client library answered something else".to_owned());
        }
        let mut count = 0;
        let described = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        Ok((0..count).filter_map(|i| of_topic(*described.add(i))).collect())
    }
}

/// # Safety
/// `topic` belongs to an event that is still held.
unsafe fn of_topic(topic: *const rd::rd_kafka_TopicDescription_t) -> Option<(String, TopicRights)> {
    use rd::rd_kafka_AclOperation_t as Operation;
    let mut count = 0;
    // SAFETY: as the caller says; the library gives `count` operations, or null.
    let (name, operations) = unsafe {
        let operations = rd::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        if operations.is_null() {
            return None;
        }
        (text(rd::rd_kafka_TopicDescription_name(topic)), std::slice::from_raw_parts(operations, count))
    };
    let may = |operation: Operation| operations.contains(&operation);
    let (read, write) =
        (may(Operation::RD_KAFKA_ACL_OPERATION_READ), may(Operation::RD_KAFKA_ACL_OPERATION_WRITE));
    Some((name, TopicRights { read, write }))
}

/// # Safety
/// `at` is null or a string that ends with a zero.
unsafe fn text(at: *const c_char) -> String {
    match at.is_null() {
        true => String::new(),
        // SAFETY: as the caller says.
        false => unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned(),
    }
}
