//! The calls of librdkafka that its Rust binding has no safe form of: messages in batches (about 0.8 µs a record one by one, a third of it the
//! crossing), the cached high watermark, and a topic's id. Unsafe code stands here and in `node/allocator.rs` only.
#![allow(unsafe_code)]

use super::Consumer;
use crate::connectors::connector::Bell;
use crate::error::{Error, Kind, Result};
use rdkafka::bindings as native;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

/// One message of a batch; its bytes live as long as the callback that gets it.
pub struct Message<'a> {
    raw: &'a native::rd_kafka_message_t,
}

impl Message<'_> {
    pub fn offset(&self) -> i64 {
        self.raw.offset
    }

    /// `None`: it is a record, else what the client reports in its place.
    pub fn error(&self) -> Option<RDKafkaErrorCode> {
        (self.raw.err != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| self.raw.err.into())
    }

    pub fn payload(&self) -> Option<&[u8]> {
        bytes(self.raw.payload.cast(), self.raw.len)
    }

    pub fn key(&self) -> Option<&[u8]> {
        bytes(self.raw.key.cast(), self.raw.key_len)
    }

    /// Milliseconds since 1970, if the topic has times.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: `raw` is a live message; the call only reads it and writes `kind`.
        let millis = unsafe { native::rd_kafka_message_timestamp(self.raw, &mut kind) };
        (kind != native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && millis >= 0).then_some(millis)
    }

    /// The value of the last header of that name.
    pub fn header(&self, name: &CStr) -> Option<&[u8]> {
        let mut headers = ptr::null_mut();
        let (mut value, mut size) = (ptr::null(), 0usize);
        // SAFETY: `raw` is a live message and owns its headers; both calls read them and write only the locals given. The value stays valid
        // as long as the message, which outlives the borrow of `self`.
        unsafe {
            if native::rd_kafka_message_headers(self.raw, &mut headers) != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            if native::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size) != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
        }
        bytes(value.cast(), size)
    }
}

/// Bytes that a message owns; null is `None`.
fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: librdkafka gives either null or the start of `length` readable bytes of the message; callers tie `'a` to the message's borrow.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, length) })
}

/// The fetch queue of one assigned partition.
pub struct PartitionQueue {
    queue: NonNull<native::rd_kafka_queue_t>,
    messages: Vec<*mut native::rd_kafka_message_t>,
    /// Rung by the client's threads as long as the queue lives.
    bell: Option<Arc<Bell>>,
    /// The queue must go before the client it belongs to.
    consumer: Arc<Consumer>,
}

// SAFETY: librdkafka's queues may be used from any thread; `messages` is empty between calls, and nothing else here is tied to a thread.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// The partition must be assigned to the consumer; from now on its messages come out here only.
    pub fn new(consumer: Arc<Consumer>, topic: &str, partition: i32) -> Result<PartitionQueue> {
        let name = topic_name(topic)?;
        // SAFETY: the client is alive (the Arc), the name is a C string; a non-null queue is ours to destroy.
        let queue = unsafe { native::rd_kafka_queue_get_partition(consumer.client().native_ptr(), name.as_ptr(), partition) };
        let queue = NonNull::new(queue).ok_or_else(|| Error::new(Kind::Connector, format!("partition {partition} of topic \"{topic}\" has no queue")))?;
        // SAFETY: `queue` is valid; forwarding to null means not forwarding.
        unsafe { native::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut()) };
        Ok(PartitionQueue { queue, messages: Vec::new(), bell: None, consumer })
    }

    /// From now on the bell rings when the queue, being empty, gets something.
    pub fn announce(&mut self, bell: &Arc<Bell>) {
        let bell = self.bell.insert(bell.clone());
        // SAFETY: the queue is valid. The bell outlives every call of `ring`: librdkafka calls it under the queue's lock, which `drop` takes to end the calls before the bell goes.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), Some(ring), Arc::as_ptr(bell).cast_mut().cast()) };
    }

    /// Hands at most `max` messages to `each`, waiting up to `wait` for the first.
    pub fn consume(&mut self, max: usize, wait: Duration, mut each: impl FnMut(&Message<'_>)) {
        // The call waits until it has `max` messages or the time is over: so it may wait for one only, and takes what is there.
        if self.take(max, Duration::ZERO, &mut each) == 0 && !wait.is_zero() && self.take(1, wait, &mut each) > 0 {
            self.take(max.saturating_sub(1), Duration::ZERO, &mut each);
        }
    }

    fn take(&mut self, max: usize, wait: Duration, each: &mut impl FnMut(&Message<'_>)) -> usize {
        self.messages.resize(max, ptr::null_mut());
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid, and `messages` has room for `max` pointers.
        let count = unsafe { native::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait, self.messages.as_mut_ptr(), max) };
        let count = usize::try_from(count).unwrap_or(0);
        // Frees them all, also when `each` panics.
        let received = Received(&self.messages[..count]);
        for message in received.0 {
            // SAFETY: librdkafka has set the first `count` pointers to messages that are ours until they are destroyed, which `received` does later.
            each(&Message { raw: unsafe { &**message } });
        }
        drop(received);
        self.messages.clear();
        count
    }

    /// The end of the partition as the last fetch told it; `None`: not known yet.
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        let name = topic_name(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, the name is a C string, and both numbers are ours; the call reads a cache.
        let error = unsafe { native::rd_kafka_get_watermark_offsets(self.consumer.client().native_ptr(), name.as_ptr(), partition, &mut low, &mut high) };
        (error == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours, is destroyed once, and its client is still alive. Behind the first call nobody rings any more.
        unsafe {
            native::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            native::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// # Safety
/// `bell` is a live [`Bell`].
unsafe extern "C" fn ring(_client: *mut native::rd_kafka_t, bell: *mut c_void) {
    // SAFETY: see above.
    unsafe { &*bell.cast_const().cast::<Bell>() }.ring();
}

/// Messages to be freed.
struct Received<'a>(&'a [*mut native::rd_kafka_message_t]);

impl Drop for Received<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: each is a message that librdkafka gave us, destroyed only here.
            unsafe { native::rd_kafka_message_destroy(*message) };
        }
    }
}

fn topic_name(topic: &str) -> Result<CString> {
    CString::new(topic).map_err(|_| Error::new(Kind::InvalidParameter, "a topic's name holds no zero byte"))
}

/// The topic's id, which another topic of the same name does not have; `None`: the broker is too old to tell.
/// Error: it does not answer in time.
pub fn topic_id(consumer: &Consumer, topic: &str, timeout: Duration) -> Result<Option<String>> {
    let name = topic_name(topic)?;
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let client = consumer.client().native_ptr();
    // SAFETY: the client outlives this call. Queue, options, collection and event are made here and destroyed by `Asked` once, in an order in which
    // nothing is used after it; the id is copied out of the event before that.
    unsafe {
        let mut names = [name.as_ptr()];
        let asked = Asked {
            queue: native::rd_kafka_queue_new(client),
            options: native::rd_kafka_AdminOptions_new(client, native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            topics: native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1),
        };
        native::rd_kafka_AdminOptions_set_request_timeout(asked.options, timeout, ptr::null_mut(), 0);
        native::rd_kafka_DescribeTopics(client, asked.topics, asked.options, asked.queue);
        let event = native::rd_kafka_queue_poll(asked.queue, timeout);
        if event.is_null() {
            return Err(Error::new(Kind::Connector, format!("the broker does not answer about topic \"{topic}\"")));
        }
        let id = id_of(event, topic);
        native::rd_kafka_event_destroy(event);
        id
    }
}

/// What a request needs, freed together.
struct Asked {
    queue: *mut native::rd_kafka_queue_t,
    options: *mut native::rd_kafka_AdminOptions_t,
    topics: *mut native::rd_kafka_TopicCollection_t,
}

impl Drop for Asked {
    fn drop(&mut self) {
        // SAFETY: the three are valid, made for this request, and not used after it.
        unsafe {
            native::rd_kafka_TopicCollection_destroy(self.topics);
            native::rd_kafka_AdminOptions_destroy(self.options);
            native::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// # Safety
/// `event` is a live answer to a DescribeTopics request about one topic.
unsafe fn id_of(event: *mut native::rd_kafka_event_t, topic: &str) -> Result<Option<String>> {
    // SAFETY: everything read here belongs to `event`, which the caller keeps alive; null answers are checked.
    unsafe {
        let failed = |code: RDKafkaErrorCode| Error::new(Kind::Connector, format!("topic \"{topic}\" cannot be described: {code}"));
        let error: RDKafkaErrorCode = native::rd_kafka_event_error(event).into();
        if error != RDKafkaErrorCode::NoError {
            return Err(failed(error));
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let topics = if result.is_null() { ptr::null_mut() } else { native::rd_kafka_DescribeTopics_result_topics(result, &mut count) };
        if topics.is_null() || count != 1 {
            return Ok(None);
        }
        let error = native::rd_kafka_TopicDescription_error(*topics);
        let error: RDKafkaErrorCode = if error.is_null() { RDKafkaErrorCode::NoError } else { native::rd_kafka_error_code(error).into() };
        if error != RDKafkaErrorCode::NoError {
            return Err(failed(error));
        }
        let id = native::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() || (native::rd_kafka_Uuid_most_significant_bits(id), native::rd_kafka_Uuid_least_significant_bits(id)) == (0, 0) {
            return Ok(None);
        }
        Ok(Some(CStr::from_ptr(native::rd_kafka_Uuid_base64str(id)).to_string_lossy().into_owned()))
    }
}
