//! Files as a source: JSON lines or CSV, one file, a directory or a glob, read once or followed, plain or compressed.
//!
//! Each file is a partition; a record's position is its byte offset in the uncompressed file. A single file is partition 0; in a directory or glob a file's
//! number is a hash of its path, so it is the same after a restart whatever files have come in between. A file may only grow: one that was
//! truncated or replaced is an error, for its positions would mean other records.

use super::connector::{Batch, DeadRecord, Metadata, Partition, Polled, Position, Reader, Source, SourceRequest};
use super::encode::{Encoding, Header, Received, decode};
use super::lines::{Line, Lines};
use super::options::{OptionKind, OptionSpec, Options};
use crate::error::{Error, Kind, Result};
use crate::formats::format::{Decoder, Payloads};
use arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("path", OptionKind::Text, "", "A file, a directory (its files, not those that begin with a dot) or a glob such as data/*.ndjson."),
    OptionSpec::new("follow", OptionKind::Boolean, "false", "Whether to wait for more lines and more files; else the source ends with what is there."),
    OptionSpec::new(
        "compression",
        OptionKind::Choice(&["auto", "none", "gzip", "zstd"]),
        "auto",
        "How the files are compressed; auto: by their names (.gz, .zst).",
    ),
];

/// Bytes of records in one batch, about.
const BATCH_BYTES: usize = 4 << 20;

/// How often a followed directory is listed.
const LIST_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Files as a source.
pub struct FileSource {
    plan: Arc<Plan>,
    /// Path of each partition, as far as they were listed.
    known: Mutex<BTreeMap<Partition, PathBuf>>,
}

/// What all readers share.
struct Plan {
    name: String,
    path: String,
    follow: bool,
    /// `None`: by each file's name.
    compression: Option<Compression>,
    encoding: Encoding,
    schema: SchemaRef,
    metadata: Vec<Option<Metadata>>,
}

/// The source that `request` describes; its files must be there already, unless they are followed.
pub fn build(request: &SourceRequest<'_>) -> Result<FileSource> {
    let options = Options::check(request.connector, OPTIONS, request.options)?;
    if request.upsert {
        return Err(Error::not_supported("FORMAT UPSERT is not supported for files").with_hint("use FORMAT PLAIN"));
    }
    for m in request.metadata.iter().flatten() {
        if !matches!(m, Metadata::Partition | Metadata::Offset | Metadata::Payload) {
            return Err(Error::not_supported(format!("connector \"file\" has no metadata {}", m.name())).with_hint("it has partition, offset and payload"));
        }
    }
    let compression = match options.choice("compression").as_deref() {
        Some("none") => Some(Compression::None),
        Some("gzip") => Some(Compression::Gzip),
        Some("zstd") => Some(Compression::Zstd),
        _ => None,
    };
    let plan = Plan {
        name: request.name.to_string(),
        path: options.required("path")?.to_string(),
        follow: options.boolean("follow")?.unwrap_or(false),
        compression,
        encoding: Encoding::new(request, Header::Expected)?,
        schema: request.declared.clone(),
        metadata: request.metadata.clone(),
    };
    Ok(FileSource { plan: Arc::new(plan), known: Mutex::default() })
}

impl FileSource {
    /// Lists the files there are.
    fn list(&self) -> Result<BTreeMap<Partition, PathBuf>> {
        let path = Path::new(&self.plan.path);
        let is_glob = self.plan.path.contains(['*', '?', '[']) && !path.exists();
        if !is_glob && !path.is_dir() {
            // One file, there or still to come.
            return Ok([(0, path.to_path_buf())].into());
        }
        let mut files: Vec<PathBuf> = Vec::new();
        if is_glob {
            let invalid = |e: glob::PatternError| Error::new(Kind::InvalidParameter, format!("option \"path\" is not a glob: {e}"));
            // A file that vanishes while listing is not there.
            files.extend(glob::glob(&self.plan.path).map_err(invalid)?.filter_map(std::result::Result::ok).filter(|p| p.is_file()));
        } else {
            for entry in std::fs::read_dir(path).map_err(|e| unreadable(path, &e))? {
                let entry = entry.map_err(|e| unreadable(path, &e))?.path();
                let hidden = entry.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
                if !hidden && entry.is_file() {
                    files.push(entry);
                }
            }
        }
        let mut numbered = BTreeMap::new();
        for file in files {
            let number = number_of(&file);
            if let Some(other) = numbered.insert(number, file.clone()) {
                return Err(Error::not_supported(format!("files \"{}\" and \"{}\" have the same partition number", other.display(), file.display()))
                    .with_hint("rename one of them"));
            }
        }
        Ok(numbered)
    }

    fn path_of(&self, partition: Partition) -> Result<PathBuf> {
        if !self.known.lock().contains_key(&partition) {
            self.partitions()?;
        }
        let missing =
            || Error::new(Kind::Connector, format!("a file of source \"{}\" is gone (partition {partition} of \"{}\")", self.plan.name, self.plan.path));
        self.known.lock().get(&partition).cloned().ok_or_else(missing)
    }
}

/// 31 bits, so that it fits a column of type int.
fn number_of(path: &Path) -> Partition {
    (xxhash_rust::xxh3::xxh3_64(path.as_os_str().as_encoded_bytes()) >> 33) as Partition
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Io, format!("could not read \"{}\": {error}", path.display()))
}

impl Source for FileSource {
    fn partitions(&self) -> Result<Vec<Partition>> {
        let mut known = self.known.lock();
        // A file once seen stays a partition: reading it tells that it is gone.
        known.extend(self.list()?);
        Ok(known.keys().copied().collect())
    }

    fn start(&self) -> Result<BTreeMap<Partition, Position>> {
        let partitions = self.partitions()?;
        let single_missing = partitions == [0] && !Path::new(&self.plan.path).exists();
        if !self.plan.follow && (partitions.is_empty() || single_missing) {
            return Err(Error::new(Kind::Io, format!("no file \"{}\"", self.plan.path))
                .with_hint("paths are on the server, relative to where it was started; follow = true waits for files to come"));
        }
        Ok(partitions.into_iter().map(|p| (p, 0)).collect())
    }

    fn open(&self, partition: Partition, from: Position, _ahead: usize) -> Result<Box<dyn Reader>> {
        let path = self.path_of(partition)?;
        let decoder = self.plan.encoding.decoder()?;
        Ok(Box::new(FileReader { plan: self.plan.clone(), path, partition, next: from, headed: !decoder.wants_header(), decoder, open: None, inode: None }))
    }

    fn schema(&self) -> SchemaRef {
        self.plan.schema.clone()
    }

    fn replays_history(&self) -> bool {
        true
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.plan.follow.then_some(LIST_EVERY)
    }

    fn partition_name(&self, partition: Partition) -> Option<String> {
        self.known.lock().get(&partition).map(|p| p.display().to_string())
    }
}

struct FileReader {
    plan: Arc<Plan>,
    path: PathBuf,
    partition: Partition,
    next: Position,
    decoder: Box<dyn Decoder>,
    /// Whether the header has been read, or there is none.
    headed: bool,
    /// `None`: not opened yet, or to be opened again after an error.
    open: Option<Lines>,
    /// The file's identity when it was opened first.
    inode: Option<u64>,
}

impl Reader for FileReader {
    fn poll(&mut self, max_rows: usize, wait: Duration) -> Result<Polled> {
        let polled = self.read(max_rows).inspect_err(|_| self.open = None)?;
        if matches!(polled, Polled::Nothing { .. }) {
            std::thread::sleep(wait);
        }
        Ok(polled)
    }
}

impl FileReader {
    fn read(&mut self, max_rows: usize) -> Result<Polled> {
        if !self.path.exists() && self.plan.follow && self.inode.is_none() && self.next == 0 {
            return Ok(Polled::Nothing { caught_up: true });
        }
        if !self.headed && !self.read_header()? {
            return Ok(if self.plan.follow { Polled::Nothing { caught_up: true } } else { Polled::End });
        }
        if self.open.is_none() {
            self.open = Some(self.open_at(self.next)?);
        }
        let Some(lines) = self.open.as_mut() else { return Err(Error::internal("an opened file stays open")) };
        let mut received = Received::default();
        let mut dead = Vec::new();
        let mut dry = false;
        while received.positions.len() < max_rows && received.payloads.bytes() < BATCH_BYTES {
            let line = match lines.next()? {
                Line::Dry if !self.plan.follow => {
                    dry = true;
                    lines.last()
                }
                Line::Dry => {
                    dry = true;
                    None
                }
                line => Some(line),
            };
            match line {
                Some(Line::Record(at, range)) => {
                    received.positions.push(at);
                    received.payloads.push(Some(&lines.buffer()[range]));
                }
                Some(Line::TooLong(position, head)) => {
                    dead.push(DeadRecord { position, timestamp: None, error: "the record is longer than 16 MiB".to_string(), raw: head.into() })
                }
                _ => break,
            }
        }
        let to = lines.position();
        let end = lines.end();
        if received.positions.is_empty() && dead.is_empty() {
            if dry && self.plan.follow {
                self.check_growth(end)?;
            }
            return Ok(if self.plan.follow { Polled::Nothing { caught_up: dry } } else { Polled::End });
        }
        let mut batch = self.decode(received, to)?;
        batch.dead.extend(dead);
        batch.dead.sort_by_key(|d| d.position);
        self.next = to;
        Ok(Polled::Batch(batch))
    }

    fn decode(&mut self, received: Received, to: Position) -> Result<Batch> {
        let partition = self.partition;
        let positions = received.positions.clone();
        let schema = &self.plan.schema;
        let column = |m: &Metadata, kept: &[u32], payloads: &Payloads| -> Result<ArrayRef> {
            let native: ArrayRef = match m {
                Metadata::Partition => Arc::new(Int32Array::from_value(partition as i32, kept.len())),
                Metadata::Offset => Arc::new(kept.iter().map(|i| positions[*i as usize]).collect::<Int64Array>()),
                _ => Arc::new(BinaryArray::from_iter_values(kept.iter().map(|i| payloads.raw(*i as usize)))),
            };
            let at = self.plan.metadata.iter().position(|other| other.as_ref() == Some(m)).unwrap_or(0);
            to_declared(native, schema.field(at).data_type())
        };
        decode(self.decoder.as_mut(), received, (self.next, to), schema, &self.plan.metadata, &column)
    }

    /// False: the header is not there yet.
    fn read_header(&mut self) -> Result<bool> {
        let mut lines = self.open_at(0)?;
        let line = match lines.next()? {
            Line::Dry if !self.plan.follow => lines.last(),
            line => Some(line),
        };
        let Some(Line::Record(_, range)) = line else { return Ok(false) };
        self.decoder
            .header(&lines.buffer()[range])
            .map_err(|e| Error::new(e.kind(), format!("file \"{}\": {}", self.path.display(), e.message())).with_hint(e.hint().unwrap_or_default()))?;
        self.headed = true;
        // The header is a hole before the first record.
        self.next = self.next.max(lines.position());
        Ok(true)
    }

    fn open_at(&mut self, from: Position) -> Result<Lines> {
        let mut file = File::open(&self.path).map_err(|e| unreadable(&self.path, &e))?;
        let metadata = file.metadata().map_err(|e| unreadable(&self.path, &e))?;
        if self.inode.is_some_and(|inode| inode != metadata.ino()) {
            return Err(self.replaced());
        }
        self.inode = Some(metadata.ino());
        let compression = self.plan.compression.unwrap_or_else(|| by_name(&self.path));
        let input: Box<dyn Read + Send> = match compression {
            Compression::None => {
                if (metadata.len() as i64) < from {
                    return Err(self.truncated(metadata.len() as i64, from));
                }
                file.seek(SeekFrom::Start(from as u64)).map_err(|e| unreadable(&self.path, &e))?;
                Box::new(file)
            }
            Compression::Gzip => self.skip(Box::new(flate2::read::MultiGzDecoder::new(file)), from)?,
            Compression::Zstd => self.skip(Box::new(zstd::Decoder::new(file).map_err(|e| unreadable(&self.path, &e))?), from)?,
        };
        Ok(Lines::new(input, from, self.plan.encoding.quotes_lines()))
    }

    /// A compressed stream has no other way to a position than through what lies before.
    fn skip(&self, mut input: Box<dyn Read + Send>, from: Position) -> Result<Box<dyn Read + Send>> {
        let skipped = std::io::copy(&mut input.as_mut().take(from as u64), &mut std::io::sink()).map_err(|e| unreadable(&self.path, &e))?;
        if (skipped as i64) < from { Err(self.truncated(skipped as i64, from)) } else { Ok(input) }
    }

    /// At the end of what there is: the file must still be the one that was opened. `end`: bytes read from it.
    fn check_growth(&self, end: Position) -> Result<()> {
        let metadata = std::fs::metadata(&self.path).map_err(|e| unreadable(&self.path, &e))?;
        if self.inode.is_some_and(|inode| inode != metadata.ino()) {
            return Err(self.replaced());
        }
        let plain = self.plan.compression.unwrap_or_else(|| by_name(&self.path)) == Compression::None;
        if plain && (metadata.len() as i64) < end { Err(self.truncated(metadata.len() as i64, end)) } else { Ok(()) }
    }

    fn truncated(&self, length: i64, read: i64) -> Error {
        Error::new(Kind::Connector, format!("file \"{}\" is shorter than what was read from it ({length} bytes, {read} were read)", self.path.display()))
            .with_hint("files may only grow; drop the source and create it again to read the new content, or write to a new file of a followed directory")
    }

    fn replaced(&self) -> Error {
        Error::new(Kind::Connector, format!("file \"{}\" was replaced while it was read", self.path.display()))
            .with_hint("files may only grow; rotate into new names in a followed directory")
    }
}

fn by_name(path: &Path) -> Compression {
    match path.extension().and_then(|e| e.to_str()) {
        Some("gz" | "gzip") => Compression::Gzip,
        Some("zst" | "zstd") => Compression::Zstd,
        _ => Compression::None,
    }
}

/// A metadata column in its declared type.
pub fn to_declared(native: ArrayRef, declared: &DataType) -> Result<ArrayRef> {
    if native.data_type() == declared {
        return Ok(native);
    }
    if let (Some(bytes), DataType::Utf8) = (native.as_any().downcast_ref::<BinaryArray>(), declared) {
        // Bytes that are no text are shown as such, never a reason to lose the row.
        return Ok(Arc::new(bytes.iter().map(|b| b.map(String::from_utf8_lossy)).collect::<StringArray>()));
    }
    Ok(arrow::compute::cast(&native, declared)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Field, Int64Type, Schema};
    use std::io::Write;

    fn source(path: &Path, options: &[(&str, &str)], encode: &str) -> Result<FileSource> {
        let mut all: BTreeMap<String, String> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        all.insert("path".into(), path.display().to_string());
        build(&SourceRequest {
            name: "f",
            connector: "file",
            options: &all,
            encode: Some(encode),
            encode_options: &BTreeMap::new(),
            upsert: false,
            primary_key: &[],
            declared: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("at", DataType::Int64, true)])),
            not_null: vec![false, false],
            metadata: vec![None, Some(Metadata::Offset)],
            created_at: 0,
        })
    }

    /// The values of one poll, with where they were.
    fn poll(reader: &mut dyn Reader) -> Result<Vec<(i64, i64)>> {
        match reader.poll(2, Duration::ZERO)? {
            Polled::Batch(b) => Ok((0..b.rows.num_rows()).map(|i| (b.rows.column(0).as_primitive::<Int64Type>().value(i), b.positions[i])).collect()),
            Polled::Nothing { caught_up } => Ok(vec![(-1, i64::from(caught_up))]),
            Polled::End => Ok(vec![(-2, 0)]),
        }
    }

    #[test]
    fn a_file_is_read_once_from_any_position() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.ndjson", "a.ndjson.gz", "a.ndjson.zst"] {
            let path = dir.path().join(name);
            let text = b"{\"n\":1}\n\n{\"n\":2}\n{\"n\":\"x\"}\n{\"n\":3}";
            match name.rsplit('.').next() {
                Some("gz") => {
                    let mut gz = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
                    gz.write_all(text).unwrap();
                    gz.finish().unwrap();
                }
                Some("zst") => std::fs::write(&path, zstd::encode_all(&text[..], 1).unwrap()).unwrap(),
                _ => std::fs::write(&path, text).unwrap(),
            }
            let source = source(&path, &[], "json").unwrap();
            assert_eq!(source.start().unwrap(), [(0, 0)].into());
            let mut reader = source.open(0, 0, 0).unwrap();
            assert_eq!(poll(reader.as_mut()).unwrap(), [(1, 0), (2, 9)]);
            assert_eq!(poll(reader.as_mut()).unwrap(), [(3, 27)]);
            assert_eq!(poll(reader.as_mut()).unwrap(), [(-2, 0)]);
            let mut reader = source.open(0, 9, 0).unwrap();
            assert_eq!(poll(reader.as_mut()).unwrap()[0], (2, 9));
            assert!(poll(source.open(0, 1000, 0).unwrap().as_mut()).unwrap_err().message().contains("is shorter than what was read"));
        }
        assert!(source(&dir.path().join("none"), &[], "json").unwrap().start().is_err());
    }

    #[test]
    fn a_followed_directory_waits_for_whole_lines_and_new_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "{\"n\":1}\n{\"n\"").unwrap();
        let source = source(dir.path(), &[("follow", "true")], "json").unwrap();
        let first = source.partitions().unwrap();
        let mut reader = source.open(first[0], 0, 0).unwrap();
        assert_eq!(poll(reader.as_mut()).unwrap(), [(1, 0)]);
        assert_eq!(poll(reader.as_mut()).unwrap(), [(-1, 1)]);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b":2}\n").unwrap();
        assert_eq!(poll(reader.as_mut()).unwrap(), [(2, 8)]);
        std::fs::write(dir.path().join("b"), "").unwrap();
        assert_eq!(source.partitions().unwrap().len(), 2);
        std::fs::write(&path, "").unwrap();
        assert!(poll(reader.as_mut()).unwrap_err().message().contains("is shorter"));
    }

    #[test]
    fn a_csv_header_is_read_wherever_reading_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "m,n\nx,1\n\"y\nz\",2\n").unwrap();
        let source = source(&path, &[], "csv").unwrap();
        assert_eq!(poll(source.open(0, 0, 0).unwrap().as_mut()).unwrap(), [(1, 4), (2, 8)]);
        assert_eq!(poll(source.open(0, 8, 0).unwrap().as_mut()).unwrap(), [(2, 8)]);
    }
}
