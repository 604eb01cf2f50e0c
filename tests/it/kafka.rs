//! A real Kafka broker (tests/kafka/kafka.sh), shared by the tests of one run, and producers to it.

use crate::server::free_ports;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A broker; when this process is gone, it stops by itself.
pub struct Kafka {
    pub port: u16,
    dir: PathBuf,
}

static SHARED: OnceLock<Kafka> = OnceLock::new();

impl Kafka {
    /// The broker that all tests share; started by the first that asks.
    pub fn shared() -> &'static Kafka {
        SHARED.get_or_init(|| Kafka::start("shared"))
    }

    /// A broker of one's own, to be stopped and started.
    pub fn start(name: &str) -> Kafka {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        // One for its controller, too.
        let port = free_ports(2);
        let kafka = Kafka { port, dir };
        // The guard outlives a test run that is killed, and cleans up behind it: nobody waits for it.
        #[expect(clippy::zombie_processes, reason = "it ends after this process")]
        Command::new("setsid")
            .arg(script())
            .args(["guard", &std::process::id().to_string(), &kafka.dir.to_string_lossy()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        kafka.script(&["start", &port.to_string()]);
        kafka
    }

    pub fn stop(&self) {
        self.script(&["stop"]);
    }

    /// The same broker with the data it had.
    pub fn restart(&self) {
        self.script(&["restart", &self.port.to_string()]);
    }

    fn script(&self, arguments: &[&str]) {
        let output = Command::new(script()).args(arguments).arg(&self.dir).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "kafka.sh {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    pub fn create_topic(&self, topic: &str, partitions: i32) {
        let admin = self.admin();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let results = block_on(admin.create_topics(&[NewTopic::new(topic, partitions, TopicReplication::Fixed(1))], &options)).unwrap();
        results.into_iter().for_each(|r| drop(r.unwrap()));
    }

    pub fn delete_topic(&self, topic: &str) {
        let admin = self.admin();
        let results = block_on(admin.delete_topics(&[topic], &AdminOptions::new().operation_timeout(Some(Duration::from_secs(30))))).unwrap();
        results.into_iter().for_each(|r| drop(r.unwrap()));
    }

    pub fn set_partitions(&self, topic: &str, count: usize) {
        let admin = self.admin();
        let results = block_on(admin.create_partitions(&[NewPartitions::new(topic, count)], &AdminOptions::new())).unwrap();
        results.into_iter().for_each(|r| drop(r.unwrap()));
    }

    /// All records that a consumer of committed ones finds now: partition, key and value, in the order of each partition.
    pub fn committed(&self, topic: &str, partitions: i32) -> Vec<(i32, Option<String>, Option<String>)> {
        let mut config = self.config();
        config.set("group.id", "tests").set("enable.auto.commit", "false").set("enable.partition.eof", "true").set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut from = TopicPartitionList::new();
        (0..partitions).for_each(|p| from.add_partition_offset(topic, p, Offset::Beginning).unwrap());
        consumer.assign(&from).unwrap();
        let (mut records, mut ended) = (Vec::new(), 0);
        while ended < partitions {
            match consumer.poll(Duration::from_secs(60)).expect("the broker answers") {
                Ok(record) => {
                    let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8(b.to_vec()).unwrap());
                    records.push((record.partition(), text(record.key()), text(record.payload())));
                }
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(e) => panic!("cannot read {topic}: {e}"),
            }
        }
        records
    }

    pub fn producer(&self) -> Feeder {
        let mut config = self.config();
        // Throughput: large batches.
        config.set("linger.ms", "20").set("batch.num.messages", "20000").set("queue.buffering.max.messages", "500000").set("compression.type", "none");
        Feeder { producer: config.create().unwrap() }
    }

    /// Sends records within a millisecond. (One request each would be more than the broker takes, and measure its queue.)
    pub fn prompt_producer(&self) -> Feeder {
        Feeder { producer: self.config().set("linger.ms", "1").create().unwrap() }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        Command::new(script()).arg("stop").arg(&self.dir).status().ok();
    }
}

/// Sends records as fast as the broker takes them.
pub struct Feeder {
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Feeder {
    pub fn send(&self, topic: &str, partition: i32, value: &str) {
        self.send_keyed(topic, partition, None, Some(value));
    }

    /// `value` of `None`: a tombstone.
    pub fn send_keyed(&self, topic: &str, partition: i32, key: Option<&str>, value: Option<&str>) {
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(partition);
        record = if let Some(key) = key { record.key(key) } else { record };
        record = if let Some(value) = value { record.payload(value) } else { record };
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((e, _)) => panic!("cannot send to {topic}: {e}"),
            }
        }
    }

    /// Waits until the broker has them all.
    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(120)).unwrap();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/kafka.sh")
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
