//! A topic as a source: its options, partitions, where reading begins, and whether it is still the same topic.

use super::client::{self, invalid, lower, plain, refused};
use super::reader::KafkaReader;
use super::upsert::KeyColumns;
use super::{Consumer, Context, batch};
use crate::connectors::connector::{Metadata, Partition, Position, Reader, Source, SourceRequest};
use crate::connectors::encode::{Encoding, Header, payload_columns};
use crate::connectors::options::{OptionKind, OptionSpec, Options, parse_size};
use crate::error::{Error, Kind, Result};
use arrow::datatypes::{Field, Schema, SchemaRef};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("topic", OptionKind::Text, "", "The topic to read.").or(&["kafka.topic"]),
    client::SERVERS,
    OptionSpec::new(
        "scan.startup.mode",
        OptionKind::Choice(&["earliest", "latest", "timestamp"]),
        "earliest",
        "Where reading begins; resolved to offsets once, at CREATE.",
    ),
    OptionSpec::new(
        "scan.startup.timestamp.millis",
        OptionKind::Integer { min: 0, max: i64::MAX },
        "",
        "With scan.startup.mode = 'timestamp': the first record from that time on, in milliseconds since 1970.",
    )
    .or(&["scan.startup.timestamp_millis"]),
    OptionSpec::new("group.id.prefix", OptionKind::Text, "tidewater", "Offsets are committed, for monitoring only, to the group PREFIX-SOURCE."),
    OptionSpec::new(
        "fetch.buffer",
        OptionKind::Size,
        "16MB",
        "At most so much of each partition is fetched and not yet read; less where memory is little or partitions are many.",
    ),
    client::TOPIC_ID,
    OptionSpec::new(
        "properties.*",
        OptionKind::Text,
        "",
        "Passed to librdkafka: security.protocol, sasl.mechanism, sasl.username, sasl.password, ssl.ca.location, …",
    ),
];

/// What the source decides itself, for positions and their safety depend on it.
const OURS: &[&str] =
    &["enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "enable.partition.eof", "group.instance.id", "queued.max.messages.kbytes"];

/// How long the broker may take to answer what a statement waits for, and what a thread asks in passing.
const PATIENT: Duration = Duration::from_secs(10);
const BRIEF: Duration = Duration::from_secs(3);

/// How often to look for new partitions, and whether the topic is still the same.
const DISCOVERY: Duration = Duration::from_secs(5);

/// A topic as a source.
pub struct KafkaSource {
    plan: Arc<Plan>,
}

/// What all readers share.
pub struct Plan {
    pub source: String,
    pub topic: String,
    pub config: ClientConfig,
    startup: Startup,
    pub encoding: Encoding,
    pub schema: SchemaRef,
    pub metadata: Vec<Option<Metadata>>,
    /// For FORMAT UPSERT.
    pub keys: Option<KeyColumns>,
    /// Asks about the topic; readers have clients of their own.
    client: Consumer,
    /// Bytes that one client may hold of what it fetched.
    fetch_buffer: u64,
    /// The topic's id: given at CREATE, else the first one seen.
    id: Mutex<Option<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Startup {
    Earliest,
    Latest,
    /// Milliseconds since 1970.
    Timestamp(i64),
}

/// The source that `request` describes. Asks no broker.
pub fn build(request: &SourceRequest<'_>) -> Result<KafkaSource> {
    let options = Options::check(request.connector, OPTIONS, request.options)?;
    let startup = startup(&options)?;
    let config = client_config(request.name, &options)?;
    let client = config.create_with_context(Context::default()).map_err(|e| refused(&e))?;
    let encoding = Encoding::new(request, Header::Impossible)?;
    let keys = if request.upsert { Some(KeyColumns::new(request, &encoding)?) } else { None };
    let schema = if request.upsert { all_nullable(&request.declared) } else { request.declared.clone() };
    let plan = Plan {
        source: request.name.to_string(),
        topic: options.required("topic")?.to_string(),
        config,
        startup,
        encoding,
        schema,
        metadata: request.metadata.clone(),
        keys,
        client,
        fetch_buffer: options.text("fetch.buffer").and_then(parse_size).unwrap_or(16 << 20),
        id: Mutex::new(options.text(client::TOPIC_ID.name).map(str::to_string)),
    };
    Ok(KafkaSource { plan: Arc::new(plan) })
}

/// A deletion has only its key.
fn all_nullable(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

fn startup(options: &Options<'_>) -> Result<Startup> {
    let mode = options.choice("scan.startup.mode");
    match (mode.as_deref(), options.integer("scan.startup.timestamp.millis")?) {
        (Some("timestamp"), Some(millis)) => Ok(Startup::Timestamp(millis)),
        (Some("timestamp"), None) => Err(invalid("scan.startup.mode = 'timestamp' needs scan.startup.timestamp.millis").with_hint("milliseconds since 1970")),
        (_, Some(_)) => Err(invalid("scan.startup.timestamp.millis has no meaning without scan.startup.mode = 'timestamp'")),
        (Some("latest"), None) => Ok(Startup::Latest),
        _ => Ok(Startup::Earliest),
    }
}

fn client_config(source: &str, options: &Options<'_>) -> Result<ClientConfig> {
    let prefix = options.text("group.id.prefix").unwrap_or("tidewater");
    let mut config = client::config(
        options,
        OURS,
        "offsets are kept in its checkpoints; scan.startup.mode tells where to begin, fetch.buffer how much to hold",
        &[
            ("group.id", &format!("{prefix}-{source}")),
            // Full queues are looked at again soon: the default of a second would let them run dry.
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.error.backoff.ms", "200"),
            ("allow.auto.create.topics", "false"),
        ],
    )?;
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false").set("enable.partition.eof", "true").set("auto.offset.reset", "error");
    Ok(config)
}

impl Plan {
    /// The settings of a client that holds at most about so many bytes.
    pub fn reading(&self, ahead: usize) -> ClientConfig {
        let kilobytes = (self.fetch_buffer.min(ahead as u64) / 1024).clamp(64, 2_097_151);
        let mut config = self.config.clone();
        config.set("queued.max.messages.kbytes", kilobytes.to_string());
        config
    }

    /// The words for an error of the client about this topic.
    pub fn worded(&self, doing: &str, code: Option<RDKafkaErrorCode>, trouble: Option<String>) -> Error {
        let servers = self.config.get("bootstrap.servers").unwrap_or_default();
        let topic = &self.topic;
        match code {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicId) => {
                Error::new(Kind::Connector, format!("topic \"{topic}\" does not exist")).with_hint(format!("brokers were found through {servers}"))
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => {
                Error::new(Kind::Connector, format!("not allowed to read topic \"{topic}\"")).with_hint("check properties.sasl.* and the broker's access rules")
            }
            _ => {
                let why = trouble.or(code.map(plain)).unwrap_or_else(|| "no answer".to_string());
                Error::new(Kind::Connector, format!("could not {doing} topic \"{topic}\": {}", lower(&why)))
                    .with_hint(format!("is a broker running at {servers}? reading goes on when it answers"))
            }
        }
    }

    fn failed(&self, doing: &str, error: &KafkaError) -> Error {
        // Serves the client's events, among them why it cannot connect.
        while self.client.poll(Duration::ZERO).is_some() {}
        self.worded(doing, error.rdkafka_error_code(), self.client.context().take_trouble())
    }

    /// Error: the topic is gone, or another one has its name.
    pub fn check_identity(&self, timeout: Duration) -> Result<()> {
        let Some(now) = batch::topic_id(&self.client, &self.topic, timeout)? else { return Ok(()) };
        let mut id = self.id.lock();
        match id.as_ref() {
            Some(before) if *before != now => Err(self.recreated()),
            Some(_) => Ok(()),
            None => {
                *id = Some(now);
                Ok(())
            }
        }
    }

    pub fn recreated(&self) -> Error {
        Error::new(
            Kind::Connector,
            format!("topic \"{}\" is not the one that source \"{}\" was created on: it was deleted and created again", self.topic, self.source),
        )
        .with_hint("its offsets mean other records now; drop the source and create it again")
    }

    /// The oldest and the next offset, asked from the broker.
    pub fn bounds(&self, partition: Partition, timeout: Duration) -> Result<(Position, Position)> {
        self.client.fetch_watermarks(&self.topic, partition as i32, timeout).map_err(|e| self.failed("read", &e))
    }

    fn list(&self, timeout: Duration) -> Result<Vec<Partition>> {
        let metadata = self.client.fetch_metadata(Some(&self.topic), timeout).map_err(|e| self.failed("find", &e))?;
        let topic = metadata.topics().first().ok_or_else(|| self.worded("find", None, None))?;
        if let Some(error) = topic.error() {
            return Err(self.worded("find", Some(error.into()), None));
        }
        let mut partitions: Vec<Partition> = topic.partitions().iter().filter_map(|p| u32::try_from(p.id()).ok()).collect();
        partitions.sort_unstable();
        if partitions.is_empty() {
            return Err(self.worded("find", Some(RDKafkaErrorCode::UnknownTopicOrPartition), None));
        }
        Ok(partitions)
    }

    fn at_time(&self, partitions: &[Partition], millis: i64) -> Result<BTreeMap<Partition, Position>> {
        let mut asked = TopicPartitionList::new();
        for partition in partitions {
            asked.add_partition_offset(&self.topic, *partition as i32, Offset::Offset(millis)).map_err(|e| self.failed("read", &e))?;
        }
        let found = self.client.offsets_for_times(asked, PATIENT).map_err(|e| self.failed("read", &e))?;
        let mut start = BTreeMap::new();
        for partition in partitions {
            let offset = found.find_partition(&self.topic, *partition as i32).map(|p| p.offset());
            let position = match offset {
                Some(Offset::Offset(at)) => at,
                // Nothing is that young.
                _ => self.bounds(*partition, PATIENT)?.1,
            };
            start.insert(*partition, position);
        }
        Ok(start)
    }
}

impl Source for KafkaSource {
    fn partitions(&self) -> Result<Vec<Partition>> {
        let partitions = self.plan.list(BRIEF)?;
        self.plan.check_identity(BRIEF)?;
        Ok(partitions)
    }

    fn start(&self) -> Result<BTreeMap<Partition, Position>> {
        let partitions = self.plan.list(PATIENT)?;
        self.plan.check_identity(PATIENT)?;
        match self.plan.startup {
            Startup::Timestamp(millis) => self.plan.at_time(&partitions, millis),
            startup => {
                let bounds = |p: Partition| self.plan.bounds(p, PATIENT).map(|(low, high)| (p, if startup == Startup::Latest { high } else { low }));
                partitions.into_iter().map(bounds).collect()
            }
        }
    }

    fn open(&self, partition: Partition, from: Position, ahead: usize) -> Result<Box<dyn Reader>> {
        Ok(Box::new(KafkaReader::new(self.plan.clone(), partition, from, ahead)?))
    }

    fn committed(&self, positions: &BTreeMap<Partition, Position>) {
        let mut list = TopicPartitionList::new();
        for (partition, position) in positions {
            if list.add_partition_offset(&self.plan.topic, *partition as i32, Offset::Offset(*position)).is_err() {
                return;
            }
        }
        // For monitoring only: what fails now is committed with the next checkpoint.
        if let Err(error) = self.plan.client.commit(&list, CommitMode::Async) {
            tracing::debug!(topic = self.plan.topic, "offsets were not committed to the group: {error}");
        }
        while self.plan.client.poll(Duration::ZERO).is_some() {}
    }

    fn schema(&self) -> SchemaRef {
        self.plan.schema.clone()
    }

    fn discovery_interval(&self) -> Option<Duration> {
        Some(DISCOVERY)
    }

    fn pinned(&self) -> BTreeMap<String, String> {
        self.plan.id.lock().iter().map(|id| (client::TOPIC_ID.name.to_string(), id.clone())).collect()
    }
}

/// The ordinals of the payload's columns among the declared ones.
pub fn payload_ordinals(request: &SourceRequest<'_>) -> Vec<usize> {
    let (fields, _) = payload_columns(request);
    fields.iter().filter_map(|f| request.declared.index_of(f.name()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;

    fn make(options: &[(&str, &str)]) -> Result<KafkaSource> {
        let options: BTreeMap<String, String> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        build(&SourceRequest {
            name: "s",
            connector: "kafka",
            options: &options,
            encode: Some("json"),
            encode_options: &BTreeMap::new(),
            upsert: false,
            primary_key: &[],
            declared: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])),
            not_null: vec![false],
            metadata: vec![None],
            created_at: 0,
        })
    }

    const BASE: [(&str, &str); 2] = [("topic", "t"), ("properties.bootstrap.server", "127.0.0.1:1")];

    fn refusal(more: &[(&str, &str)]) -> String {
        make(&[&BASE[..], more].concat()).err().map_or("accepted".to_string(), |e| e.to_string())
    }

    #[test]
    fn options_become_the_clients_settings() {
        let source =
            make(&[&BASE[..], &[("properties.security.protocol", "plaintext"), ("fetch.buffer", "1MB"), ("group.id.prefix", "mine")]].concat()).unwrap();
        let setting = |name: &str| source.plan.reading(2 << 20).get(name).map(str::to_string);
        assert_eq!(setting("security.protocol").as_deref(), Some("plaintext"));
        assert_eq!(setting("queued.max.messages.kbytes").as_deref(), Some("1024"));
        assert_eq!(source.plan.reading(512 << 10).get("queued.max.messages.kbytes"), Some("512"));
        assert_eq!(setting("group.id").as_deref(), Some("mine-s"));
        assert_eq!(setting("enable.auto.commit").as_deref(), Some("false"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_words() {
        assert!(make(&[("topic", "t")]).err().unwrap().message().contains("needs the option \"properties.bootstrap.server\""));
        assert!(refusal(&[("properties.auto.offset.reset", "latest")]).contains("is decided by Tidewater"));
        assert!(refusal(&[("properties.security.protocl", "ssl")]).contains("did you mean \"properties.security.protocol\"?"));
        assert!(refusal(&[("scan.startup.mode", "timestamp")]).contains("needs scan.startup.timestamp.millis"));
        assert!(refusal(&[("scan.startup.mod", "earliest")]).contains("did you mean \"scan.startup.mode\"?"));
    }

    #[test]
    fn a_broker_that_is_not_there_is_named() {
        let error = make(&BASE).unwrap().plan.list(Duration::from_millis(500)).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    }
}
