//! docs/connectors.md shows the connectors' own option tables: `UPDATE_EXPECT=1` writes them, otherwise they must agree.

use std::fmt::Write as _;
use std::path::Path;
use tidewater::connectors::options::{COMMON, OptionKind, OptionSpec, SINK_COMMON};
use tidewater::connectors::{ENCODINGS, SINKS, SOURCES};

const BEGIN: &str = "<!-- generated: the options of every connector -->\n";
const END: &str = "<!-- end of what is generated -->";

#[test]
fn the_options_in_the_documents_are_those_of_the_connectors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/connectors.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find(BEGIN).unwrap() + BEGIN.len();
    let end = text.find(END).unwrap();
    let tables = tables();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, format!("{}{tables}{}", &text[..begin], &text[end..])).unwrap();
    } else {
        assert!(text[begin..end] == tables, "docs/connectors.md is old; UPDATE_EXPECT=1 cargo test --release --test it documents");
    }
}

fn tables() -> String {
    let mut out = String::new();
    table(&mut out, "Every source", "", COMMON);
    for connector in SOURCES {
        table(&mut out, &format!("connector = '{}'", connector.name), connector.help, connector.options);
    }
    table(&mut out, "Every sink", "", SINK_COMMON);
    for sink in SINKS {
        table(&mut out, &format!("sink connector = '{}'", sink.name), sink.help, sink.options);
    }
    for (name, options) in ENCODINGS {
        table(&mut out, &format!("ENCODE {}", name.to_uppercase()), "", options);
    }
    out
}

fn table(out: &mut String, title: &str, help: &str, options: &[OptionSpec]) {
    write!(out, "\n### {title}\n\n{help}{}", if help.is_empty() { "" } else { "\n\n" }).unwrap();
    if options.is_empty() {
        out.push_str("No options.\n");
        return;
    }
    out.push_str("| option | value | default | |\n| --- | --- | --- | --- |\n");
    for option in options {
        let names: Vec<String> = std::iter::once(&option.name).chain(option.aliases).map(|n| format!("`{n}`")).collect();
        writeln!(out, "| {} | {} | {} | {} |", names.join(", "), kind(option.kind), option.default, option.help).unwrap();
    }
}

fn kind(kind: OptionKind) -> String {
    match kind {
        OptionKind::Text => "text".to_string(),
        OptionKind::Integer { min, max: i64::MAX } => format!("a whole number from {min}"),
        OptionKind::Integer { min, max } => format!("a whole number, {min} to {max}"),
        OptionKind::Rate => "a number".to_string(),
        OptionKind::Share => "a share, 0 to 1".to_string(),
        OptionKind::Boolean => "true or false".to_string(),
        OptionKind::Duration => "a duration".to_string(),
        OptionKind::DurationOrNone => "a duration, or none".to_string(),
        OptionKind::Size => "a size".to_string(),
        OptionKind::Choice(choices) => choices.join(", "),
    }
}
