//! What sources and sinks ask of librdkafka alike: its settings, and the words for its errors.

use crate::connectors::options::{OptionKind, OptionSpec, Options, nearest};
use crate::error::{Error, Kind, Result};
use crate::types::secret::is_secret;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub const SERVERS: OptionSpec = OptionSpec::new("properties.bootstrap.server", OptionKind::Text, "", "Brokers to ask first: host:port, several with commas.")
    .or(&["properties.bootstrap.servers", "kafka.brokers"]);

pub const TOPIC_ID: OptionSpec = OptionSpec::new("topic.id", OptionKind::Text, "the topic's at CREATE", "Another topic of the same name is refused.");

pub fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidParameter, message)
}

/// The settings of a client: ours, over which the user's `properties.*` go, but for those that Tidewater decides (`decided`, with why as a hint).
pub fn config(options: &Options<'_>, decided: &[&str], why: &str, ours: &[(&str, &str)]) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", options.required(SERVERS.name)?)
        .set("client.id", "tidewater")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true");
    for (name, value) in ours {
        config.set(*name, *value);
    }
    for (name, value) in options.under("properties.") {
        if name == "bootstrap.server" || name == "bootstrap.servers" {
            continue;
        }
        if decided.contains(&name) {
            return Err(invalid(format!("option \"properties.{name}\" is decided by Tidewater")).with_hint(why));
        }
        config.set(name, value);
    }
    Ok(config)
}

/// The client cannot be made of these properties.
pub fn refused(error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, name, value) => {
            let known = [
                "security.protocol",
                "sasl.mechanism",
                "sasl.mechanisms",
                "sasl.username",
                "sasl.password",
                "ssl.ca.location",
                "ssl.certificate.location",
                "ssl.key.location",
                "client.id",
                "group.id",
                "fetch.min.bytes",
                "fetch.wait.max.ms",
                "isolation.level",
                "debug",
            ];
            let near = nearest(name, &known).filter(|n| n != name).map_or(String::new(), |n| format!("did you mean \"properties.{n}\"? "));
            let value = if is_secret(name) { "what was given".to_owned() } else { format!("\"{value}\"") };
            invalid(format!("option \"properties.{name}\" cannot be {value}: {}", lower(reason)))
                .with_hint(format!("{near}properties.* are librdkafka's settings"))
        }
        other => invalid(format!("the Kafka client cannot be made: {}", lower(&other.to_string()))),
    }
}

/// `OperationTimedOut (Local: Timed out)` -> `Timed out`.
pub fn plain(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    let inner = text.split_once('(').map_or(text.as_str(), |(_, inner)| inner.trim_end_matches(')'));
    inner.trim_start_matches("Local: ").trim_start_matches("Broker: ").to_string()
}

pub fn lower(text: &str) -> String {
    let mut characters = text.trim_end_matches('.').chars();
    characters.next().map_or(String::new(), |first| first.to_lowercase().chain(characters).collect())
}
