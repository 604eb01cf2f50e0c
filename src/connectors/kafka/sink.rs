//! A topic as a sink. Records go in Kafka transactions; the position behind them is committed as a consumer group's offset in the same transaction, so that records
//! and position are there together or not at all. The transactional id shuts out an older producer of the same sink.

use super::client::{self, lower, plain, refused};
use super::{Consumer, Context, batch};
use crate::connectors::connector::{Publisher, SinkRequest};
use crate::connectors::options::{OUTBOX_LIMIT, OptionKind, OptionSpec, Options, PRIMARY_KEY};
use crate::error::{Error, Kind, Result};
use crate::types::records::Record;
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("topic", OptionKind::Text, "", "The topic to write; it must exist.").or(&["kafka.topic"]),
    client::SERVERS,
    client::TOPIC_ID,
    PRIMARY_KEY,
    OUTBOX_LIMIT,
    OptionSpec::new(
        "properties.*",
        OptionKind::Text,
        "",
        "Passed to librdkafka: security.protocol, sasl.mechanism, sasl.username, sasl.password, compression.type, message.max.bytes, partitioner, …",
    ),
];

/// What the sink decides itself: that nothing is lost or doubled depends on it.
const OURS: &[&str] = &["transactional.id", "enable.idempotence", "group.id", "acks", "request.required.acks", "enable.auto.commit", "isolation.level"];

/// How long the broker may take for one step of a transaction; the sink tries again after it, and a stop of the server may have to wait so long.
const PATIENT: Duration = Duration::from_secs(5);

/// How often to look whether the broker has what was sent.
const TICK: Duration = Duration::from_millis(1);

/// How often to look whether the topic is still the same: records of a client that keeps running would go into another of its name.
const IDENTIFY: Duration = Duration::from_secs(5);

/// How long the coordinator takes to end a transaction behind its answer. The next one is refused until then, and librdkafka tries again after 20 ms.
const SETTLING: Duration = Duration::from_millis(5);

/// A topic as a sink.
pub struct KafkaSink {
    topic: String,
    /// The topic's id at CREATE; `None`: the broker was too old to tell.
    id: Option<String>,
    /// Of the consumer group that keeps the position.
    group: String,
    config: ClientConfig,
    clients: Option<Clients>,
}

struct Clients {
    producer: BaseProducer<Context>,
    /// Reads the position; never joins its group.
    positions: Consumer,
    /// When the last transaction was committed.
    committed: Option<Instant>,
    /// When the topic was last found to be the same.
    identified: Instant,
}

impl Clients {
    /// Takes in what the broker has said, and gives it time to say more. (To poll with a time is to spin for the part of a millisecond that is left of it.)
    fn look(&self) {
        self.producer.poll(Duration::ZERO);
        std::thread::sleep(TICK);
    }
}

/// The sink that `request` describes. Asks no broker.
pub fn build(request: &SinkRequest<'_>) -> Result<KafkaSink> {
    let options = Options::check_sink("kafka", OPTIONS, request.options)?;
    let ours = [
        // Java producers put a key into the same partition.
        ("partitioner", "murmur2_random"),
        ("allow.auto.create.topics", "false"),
        // A transaction is sent at once; records that come while a request is under way go together anyway.
        ("linger.ms", "1"),
        // The coordinator ends a transaction behind its answer: the next one is often refused at first, and tries again after this.
        ("retry.backoff.ms", "5"),
        // What the client may hold of one transaction; more waits where it is.
        ("queue.buffering.max.kbytes", "65536"),
        ("transaction.timeout.ms", "60000"),
    ];
    let why = "positions are kept with the records, in transactions of the sink's own";
    let mut config = client::config(&options, OURS, why, &ours)?;
    let group = format!("tidewater-sink-{}", request.id);
    config.set("transactional.id", &group).set("group.id", &group).set("enable.auto.commit", "false");
    // Tells what is wrong with the properties, without a client: those cost a tenth of a second, and the scheduler waits here.
    config.create_native_config().map_err(|e| refused(&e))?;
    let id = options.text(client::TOPIC_ID.name).map(str::to_string);
    Ok(KafkaSink { topic: options.required("topic")?.to_string(), id, group, config, clients: None })
}

impl KafkaSink {
    /// Settings of producers alone are none of a consumer's, and the other way round: librdkafka warns of each, in the log of the client.
    fn positions(&self) -> Result<Consumer> {
        self.config.create_with_context(Context::default()).map_err(|e| refused(&e))
    }

    fn clients(&self) -> Result<&Clients> {
        self.clients.as_ref().ok_or_else(|| Error::internal("a sink is written to before it is open"))
    }

    fn worded(&self, doing: &str, code: Option<RDKafkaErrorCode>, trouble: Option<String>) -> Error {
        let (topic, servers) = (&self.topic, self.config.get("bootstrap.servers").unwrap_or_default());
        match code {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition) => {
                Error::new(Kind::Connector, format!("topic \"{topic}\" does not exist"))
                    .with_hint(format!("create it with as many partitions as it is to have; brokers were found through {servers}"))
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
            ) => Error::new(Kind::Connector, format!("not allowed to write topic \"{topic}\""))
                .with_hint(format!("the sink needs to write the topic, the transactional id and the group \"{}\"", self.group)),
            Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch) => {
                Error::new(Kind::InUse, format!("another server publishes for this sink into topic \"{topic}\""))
                    .with_hint("a copy of the data directory is in use: stop one of the two servers, and start the other anew")
            }
            _ => {
                let why = trouble.or(code.map(plain)).unwrap_or_else(|| "no answer".to_string());
                Error::new(Kind::Connector, format!("could not {doing} topic \"{topic}\": {}", lower(&why)))
                    .with_hint(format!("is a broker running at {servers}? publishing goes on when it answers"))
            }
        }
    }

    fn failed(&self, error: &KafkaError) -> Error {
        let trouble = self.clients.as_ref().and_then(|c| c.producer.context().take_trouble());
        self.worded("write to", error.rdkafka_error_code(), trouble)
    }

    fn position_of(&self, offset: Offset) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, 0, offset).map_err(|e| self.failed(&e))?;
        Ok(list)
    }

    /// Error: another topic has the name: the position says what is in the one that is gone.
    fn check_identity(&self, client: &Consumer) -> Result<()> {
        let Some(before) = &self.id else { return Ok(()) };
        match batch::topic_id(client, &self.topic, PATIENT)? {
            Some(now) if now != *before => Err(Error::new(
                Kind::DataCorrupted,
                format!("topic \"{}\" is not the one that the sink was created on: it was deleted and created again", self.topic),
            )
            .with_hint("what was published before is not in it; drop the sink and create it again, and it publishes what there is now")),
            _ => Ok(()),
        }
    }

    fn connect(&self) -> Result<(Clients, Option<u64>)> {
        let producer: BaseProducer<Context> = self.config.create_with_context(Context::default()).map_err(|e| refused(&e))?;
        let why = |error: &KafkaError, trouble| self.worded("write to", error.rdkafka_error_code(), trouble);
        producer.init_transactions(PATIENT).map_err(|e| why(&e, producer.context().take_trouble()))?;
        let positions = self.positions()?;
        self.check_identity(&positions)?;
        let committed = positions.committed_offsets(self.position_of(Offset::Invalid)?, PATIENT).map_err(|e| why(&e, positions.context().take_trouble()))?;
        let position = match committed.find_partition(&self.topic, 0).map(|p| p.offset()) {
            Some(Offset::Offset(at)) => u64::try_from(at).ok(),
            _ => None,
        };
        Ok((Clients { producer, positions, committed: None, identified: Instant::now() }, position))
    }
}

impl Publisher for KafkaSink {
    fn check(&self) -> Result<BTreeMap<String, String>> {
        let client = self.positions()?;
        let failed = |code| {
            while client.poll(Duration::ZERO).is_some() {}
            self.worded("find", code, client.context().take_trouble())
        };
        let metadata = client.fetch_metadata(Some(&self.topic), PATIENT).map_err(|e| failed(e.rdkafka_error_code()))?;
        let topic = metadata.topics().first().ok_or_else(|| failed(None))?;
        match topic.error() {
            Some(error) => Err(failed(Some(error.into()))),
            None if topic.partitions().is_empty() => Err(failed(Some(RDKafkaErrorCode::UnknownTopicOrPartition))),
            None => {
                let id = batch::topic_id(&client, &self.topic, PATIENT)?;
                Ok(id.map(|id| (client::TOPIC_ID.name.to_string(), id)).into_iter().collect())
            }
        }
    }

    fn open(&mut self) -> Result<Option<u64>> {
        // The one before goes first: what it has not committed is given up.
        self.clients = None;
        let (clients, position) = self.connect()?;
        self.clients = Some(clients);
        Ok(position)
    }

    fn begin(&mut self) -> Result<()> {
        if self.clients()?.identified.elapsed() > IDENTIFY {
            self.check_identity(&self.clients()?.positions)?;
            if let Some(clients) = &mut self.clients {
                clients.identified = Instant::now();
            }
        }
        let clients = self.clients()?;
        if let Some(committed) = clients.committed {
            std::thread::sleep(SETTLING.saturating_sub(committed.elapsed()));
        }
        clients.producer.begin_transaction().map_err(|e| self.failed(&e))
    }

    fn send(&mut self, (key, value): Record<'_>) -> Result<()> {
        let clients = self.clients()?;
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
        (record.key, record.payload) = (key, value);
        let began = Instant::now();
        loop {
            match clients.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if began.elapsed() < PATIENT => {
                    record = back;
                    clients.look();
                }
                Err((error, _)) => return Err(self.failed(&error)),
            }
        }
    }

    fn commit(&mut self, position: u64) -> Result<()> {
        let clients = self.clients()?;
        // The crate's own flush looks ten times a second.
        let began = Instant::now();
        while clients.producer.in_flight_count() > 0 && began.elapsed() < PATIENT {
            clients.look();
        }
        let group = clients.positions.group_metadata().ok_or_else(|| Error::internal("a consumer without a group"))?;
        let list = self.position_of(Offset::Offset(i64::try_from(position).unwrap_or(i64::MAX)))?;
        clients.producer.send_offsets_to_transaction(&list, &group, PATIENT).map_err(|e| self.failed(&e))?;
        clients.producer.commit_transaction(PATIENT).map_err(|e| self.failed(&e))?;
        if let Some(clients) = &mut self.clients {
            clients.committed = Some(Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(options: &[(&str, &str)]) -> Result<KafkaSink> {
        let options: BTreeMap<String, String> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        build(&SinkRequest { id: "s-1", options: &options })
    }

    const BASE: [(&str, &str); 2] = [("topic", "t"), ("properties.bootstrap.server", "127.0.0.1:1")];

    #[test]
    fn what_exactly_once_depends_on_cannot_be_set() {
        let refusal = |more: &[(&str, &str)]| make(&[&BASE[..], more].concat()).err().map_or("accepted".to_string(), |e| e.to_string());
        assert!(refusal(&[("properties.acks", "1")]).contains("is decided by Tidewater"));
        assert!(refusal(&[("properties.security.protocl", "ssl")]).contains("did you mean \"properties.security.protocol\"?"));
        assert!(refusal(&[("scan.startup.mode", "earliest")]).contains("has no option"));
        assert_eq!(refusal(&[("properties.compression.type", "zstd")]), "accepted");
        assert!(make(&[("topic", "t")]).err().unwrap().message().contains("needs the option"));
    }

    #[test]
    fn a_broker_that_is_not_there_is_named() {
        let error = make(&BASE).unwrap().check().unwrap_err();
        assert!(error.kind() == Kind::Connector && error.to_string().contains("127.0.0.1:1"), "{error}");
    }
}
