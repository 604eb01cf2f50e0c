//! Bytes in and out: what Tidewater can read and write, and how it is read ahead of the engine.

mod blackhole;
pub mod connector;
mod datagen;
mod encode;
mod file;
mod generated;
mod kafka;
mod lines;
mod nexmark;
pub mod options;
mod pace;
mod payments;
pub mod prepare;
pub mod pump;

use crate::error::{Error, Kind, Result};
use connector::{Publisher, SinkRequest, Source, SourceRequest};
use options::{OptionSpec, Options};
use std::sync::Arc;

/// A connector: its name in `connector = '…'`, one sentence about it, and its options.
pub struct Connector {
    pub name: &'static str,
    pub help: &'static str,
    pub options: &'static [OptionSpec],
    build: fn(&SourceRequest<'_>) -> Result<Arc<dyn Source>>,
}

/// All connectors that can be read from.
pub const SOURCES: &[Connector] = &[
    Connector { name: "kafka", help: "A Kafka topic.", options: kafka::source::OPTIONS, build: |r| Ok(Arc::new(kafka::source::build(r)?)) },
    Connector { name: "file", help: "JSON lines or CSV from files on the server.", options: file::OPTIONS, build: |r| Ok(Arc::new(file::build(r)?)) },
    Connector {
        name: "nexmark",
        help: "The Nexmark benchmark's persons, auctions and bids.",
        options: nexmark::OPTIONS,
        build: |r| Ok(Arc::new(nexmark::build(r)?)),
    },
    Connector {
        name: "payments",
        help: "Card payments with late rows, duplicates and planted frauds.",
        options: payments::OPTIONS,
        build: |r| Ok(Arc::new(payments::build(r)?)),
    },
    Connector {
        name: "datagen",
        help: "Sequences and random values, column by column.",
        options: datagen::OPTIONS,
        build: |r| Ok(Arc::new(datagen::build(r)?)),
    },
];

/// A connector that can be written to.
pub struct SinkConnector {
    pub name: &'static str,
    pub help: &'static str,
    pub options: &'static [OptionSpec],
    /// `None`: it keeps nothing, so there is nothing to publish, and no format.
    publisher: Option<MakePublisher>,
}

type MakePublisher = fn(&SinkRequest<'_>) -> Result<Box<dyn Publisher>>;

/// All connectors that can be written to.
pub const SINKS: &[SinkConnector] = &[
    SinkConnector {
        name: "kafka",
        help: "A Kafka topic, exactly once for consumers that read committed records.",
        options: kafka::sink::OPTIONS,
        publisher: Some(|r| Ok(Box::new(kafka::sink::build(r)?))),
    },
    SinkConnector {
        name: "blackhole",
        help: "Keeps nothing: the query is maintained, its changes are counted (`tidewater.sinks`) and dropped.",
        options: blackhole::OPTIONS,
        publisher: None,
    },
];

/// The connector of a CREATE SINK, its options checked; `None`: it keeps nothing. Error: no such connector or option.
pub fn build_sink(request: &SinkRequest<'_>) -> Result<Option<Box<dyn Publisher>>> {
    let values = request.options;
    let names: Vec<&str> = SINKS.iter().map(|s| s.name).collect();
    let Some(connector) = values.get("connector") else {
        return Err(Error::new(Kind::Syntax, "a sink needs a connector").with_hint(format!("add WITH (connector = '…'); sinks are {}", names.join(", "))));
    };
    let Some(sink) = SINKS.iter().find(|s| s.name == connector) else {
        return Err(connector::unknown_connector(connector, &names));
    };
    match sink.publisher {
        Some(make) => make(request).map(Some),
        None => Options::check_sink(sink.name, sink.options, values).map(|_| None),
    }
}

/// What follows ENCODE, and its options.
pub const ENCODINGS: &[(&str, &[OptionSpec])] = &[("json", encode::JSON), ("csv", encode::CSV)];

/// The source that a CREATE statement describes, every option checked. Reads nothing yet.
pub fn build(request: &SourceRequest<'_>) -> Result<Arc<dyn Source>> {
    let names: Vec<&str> = SOURCES.iter().map(|c| c.name).collect();
    match SOURCES.iter().find(|c| c.name == request.connector) {
        Some(connector) => (connector.build)(request),
        None => {
            let error = connector::unknown_connector(request.connector, &names);
            Err(match options::nearest(request.connector, &names) {
                Some(near) => error.with_hint(format!("did you mean \"{near}\"? connectors are {}", names.join(", "))),
                None => error,
            })
        }
    }
}
