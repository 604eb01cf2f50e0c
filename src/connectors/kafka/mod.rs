//! Kafka topics as sources: one reader per partition, by assignment, in batches. Offsets live in Tidewater's checkpoints; the consumer group only shows them
//! to those who monitor it. And as sinks: a transactional producer, with the position of what it has published in the same transactions.

mod batch;
mod client;
mod reader;
pub mod sink;
pub mod source;
mod upsert;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

/// A client that keeps the last trouble it had, for the words of an error.
type Consumer = BaseConsumer<Context>;

/// What librdkafka's threads tell us.
#[derive(Debug, Default)]
struct Context {
    trouble: Mutex<Option<String>>,
}

impl Context {
    /// The last trouble, once.
    fn take_trouble(&self) -> Option<String> {
        self.trouble.lock().take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A broker that is down is told in tidewater.sources; its client repeats itself too often for the log.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => tracing::error!(facility, "kafka client: {message}"),
            _ => tracing::debug!(facility, "kafka client: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let mut trouble = self.trouble.lock();
        // That all brokers are down follows why, and says less.
        if code == Some(RDKafkaErrorCode::AllBrokersDown) && trouble.is_some() {
            return;
        }
        *trouble = Some(if reason.is_empty() { code.map_or_else(|| error.to_string(), |c| c.to_string()) } else { essence(reason).to_string() });
    }
}

/// `host:9092/1: Connect to ipv4#… failed: Connection refused (after 0ms in state CONNECT, …)` without what changes from try to try.
fn essence(reason: &str) -> &str {
    let text = reason.split(" (after ").next().unwrap_or(reason);
    text.find("Connect to ").map_or(text, |at| &text[at..])
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    /// A record that is not taken fails the whole transaction; why is said here alone.
    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = delivery {
            *self.trouble.lock() = error.rdkafka_error_code().map(|code| code.to_string());
        }
    }
}
