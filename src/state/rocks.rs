//! The store on RocksDB: one column family for everything. The only file that knows RocksDB.
//!
//! | setting | why |
//! |---|---|
//! | merge operator that adds `i64` | multiset and view weights change without being read |
//! | compaction filter | a weight that has come to zero leaves the disk |
//! | prefix extractor over multiset groups, bloom filters over it and over whole keys | look-ups of what is not there cost no disk read |
//! | index and filter blocks in parts, in the block cache; one write-buffer manager | memory is bounded whatever the state's size |
//! | WAL on, synced by request | logged writes survive `kill -9`, synced ones power loss |
//!
//! A write below [`RocksOptions::ingest_bytes`] is one `WriteBatch`. The operations of a larger one on tables and records become sorted SST files, which are ingested in one
//! call: no WAL, no memtable, and one edit of the manifest makes all of them visible, or none. Range deletions stand in the first file: within a file they do not
//! cover its own keys, and files ingested together that overlap get rising sequence numbers in their order, so they cover just what was in the store before.
//! There is a file for keys below the logs' and one for those above, because the memtable always holds log entries,
//! and a file that spans them would have it flushed at every checkpoint.
//!
//! Deletions in the logs follow an ingest in a batch of their own. A crash between the two leaves entries that the checkpoint contains, which readers of the
//! logs pass over, and the next trim deletes.

use super::checkpoint::{Action, Ops, is_zero_weight, space, weight};
use super::store::{Accesses, Durability, Snapshot, Store, after_prefix};
use crate::error::{Error, Kind, Result};
use crate::types::key::window_of_key;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamilyDescriptor, CompactOptions, CompactionDecision, DB,
    DBCompressionType, DBRawIterator, DataBlockIndexType, IngestExternalFileOptions, MergeOperands, Options, Range, ReadOptions, SliceTransform, SstFileWriter,
    WriteBatch, WriteBufferManager,
};
use self_cell::self_cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Size at which an ingested file ends and the next begins.
const FILE_BYTES: u64 = 64 << 20;
/// Keys looked up in one call: bounds the blocks pinned at a time.
const LOOK_UP: usize = 4096;
/// Version of the format of keys and values.
const FORMAT_VERSION: u32 = 1;
const VERSION_KEY: &[u8] = b"\x52version";
const FAMILY: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// Blocks, with indexes and filters among them.
    pub block_cache_bytes: usize,
    /// All memtables together.
    pub write_buffer_bytes: usize,
    /// From this size on a write is ingested as files: below, their making and the manifest's sync cost more than WAL and memtable.
    pub ingest_bytes: usize,
}

impl Default for RocksOptions {
    fn default() -> Self {
        RocksOptions { block_cache_bytes: 64 << 20, write_buffer_bytes: 64 << 20, ingest_bytes: 16 << 20 }
    }
}

pub struct RocksStore {
    db: Arc<DB>,
    /// Where files are built before they are ingested; on the same file system as the database, which takes them over by renaming.
    staging: PathBuf,
    files: AtomicU64,
    ingest_bytes: usize,
    reads: Arc<AtomicU64>,
    writes: AtomicU64,
}

type DbSnapshot<'a> = rocksdb::Snapshot<'a>;

self_cell!(
    struct OwnedSnapshot {
        owner: Arc<DB>,
        #[covariant]
        dependent: DbSnapshot,
    }
);

/// See [`Store::snapshot`].
struct RocksSnapshot {
    cell: OwnedSnapshot,
    reads: Arc<AtomicU64>,
}

impl RocksStore {
    /// Opens or makes the store in the folder `path`. Errors: in use, damaged, of a newer version, disk full, not writable.
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Arc<RocksStore>> {
        let ingest_bytes = options.ingest_bytes;
        let options = db_options(options);
        let family = ColumnFamilyDescriptor::new(FAMILY, options.clone());
        let db = DB::open_cf_descriptors(&options, path, [family]).map_err(|e| open_error(path, &e))?;
        let staging = path.join("ingest");
        // What a killed process left unfinished.
        if staging.exists() {
            std::fs::remove_dir_all(&staging)?;
        }
        std::fs::create_dir(&staging)?;
        let store = RocksStore { db: Arc::new(db), staging, files: AtomicU64::new(0), ingest_bytes, reads: Arc::default(), writes: AtomicU64::new(0) };
        store.check_version(path)?;
        Ok(Arc::new(store))
    }

    fn check_version(&self, path: &Path) -> Result<()> {
        let stored = self.db.get(VERSION_KEY).map_err(|e| store_error(&e))?;
        match stored.as_deref().map(|b| <[u8; 4]>::try_from(b).map(u32::from_le_bytes)) {
            None => self.db.put(VERSION_KEY, FORMAT_VERSION.to_le_bytes()).map_err(|e| store_error(&e)),
            Some(Ok(version)) if version <= FORMAT_VERSION => Ok(()),
            Some(Ok(version)) => Err(Error::new(
                Kind::ConfigFile,
                format!("data directory \"{}\" has format {version}, newer than format {FORMAT_VERSION} of this tidewater", path.display()),
            )
            .with_hint("start the newer tidewater that wrote it")),
            Some(Err(_)) => Err(Error::new(Kind::DataCorrupted, format!("the format version of data directory \"{}\" is damaged", path.display()))),
        }
    }

    /// Bytes of all files.
    pub fn disk_bytes(&self) -> u64 {
        self.db.property_int_value("rocksdb.total-sst-files-size").ok().flatten().unwrap_or(0)
    }

    /// Rewrites everything once, so that deleted and merged entries are gone.
    pub fn compact(&self) {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
    }

    fn write_batch(&self, ops: &Ops, durability: Durability) -> Result<()> {
        let mut batch = WriteBatch::default();
        ops.ranges().iter().for_each(|(from, to)| batch.delete_range(from, to));
        ops.each_combined(&mut |action, key, value| {
            match action {
                Action::Put => batch.put(key, value),
                Action::Merge => batch.merge(key, value),
                Action::Delete => batch.delete(key),
            }
            Ok(())
        })?;
        self.db.write(batch).map_err(|e| store_error(&e))?;
        self.sync_if(durability)
    }

    /// Syncs the log by itself: a write with its sync in it would make every other writer wait for the disk, the epoch log's among them.
    fn sync_if(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Synced => self.db.flush_wal(true).map_err(|e| store_error(&e)),
            Durability::Logged => Ok(()),
        }
    }

    /// A large write; see the module.
    fn ingest(&self, ops: &Ops, durability: Durability) -> Result<()> {
        let options = sst_options();
        let mut files = Files { store: self, options: &options, paths: Vec::new(), writer: None };
        let (mut trims, mut behind_logs) = (Ops::default(), false);
        for (from, to) in ops.ranges() {
            if is_log(from) {
                trims.delete_range(from, to);
            } else {
                files.writer()?.delete_range(from, to).map_err(|e| store_error(&e))?;
            }
        }
        let written = ops.each_combined(&mut |action, key, value| {
            if is_log(key) && action == Action::Delete {
                trims.delete(key);
                return Ok(());
            }
            if !behind_logs && key[0] > space::MARK {
                behind_logs = true;
                files.finish()?;
            }
            files.add(action, key, value)
        });
        let done = written.and_then(|()| files.finish()).and_then(|()| {
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            self.db.ingest_external_file_opts(&options, files.paths.clone()).map_err(|e| store_error(&e))
        });
        if done.is_err() {
            // Best effort: opening the store cleans up as well.
            files.paths.iter().for_each(|path| drop(std::fs::remove_file(path)));
        }
        done?;
        if !trims.is_empty() {
            return self.write_batch(&trims, durability);
        }
        self.sync_if(durability)
    }
}

/// Whether the key is written between checkpoints too, or stands behind such keys and is deleted in ranges: a file of a checkpoint that spans them would have to wait until they
/// are out of memory.
fn is_log(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(space::EPOCH_LOG..=space::HISTORY_MARK)))
}

/// The files of one large write, in key order.
struct Files<'a> {
    store: &'a RocksStore,
    options: &'a Options,
    paths: Vec<PathBuf>,
    writer: Option<SstFileWriter<'a>>,
}

impl<'a> Files<'a> {
    /// The file being written; begins one if there is none.
    fn writer(&mut self) -> Result<&mut SstFileWriter<'a>> {
        if self.writer.is_none() {
            let path = self.store.staging.join(format!("{}.sst", self.store.files.fetch_add(1, Ordering::Relaxed)));
            let writer = SstFileWriter::create(self.options);
            writer.open(&path).map_err(|e| store_error(&e))?;
            self.paths.push(path);
            self.writer = Some(writer);
        }
        Ok(self.writer.as_mut().expect("it was made just now"))
    }

    fn add(&mut self, action: Action, key: &[u8], value: &[u8]) -> Result<()> {
        if self.writer.as_mut().is_some_and(|w| w.file_size() > FILE_BYTES) {
            self.finish()?;
        }
        let writer = self.writer()?;
        match action {
            Action::Put => writer.put(key, value),
            Action::Merge => writer.merge(key, value),
            Action::Delete => writer.delete(key),
        }
        .map_err(|e| store_error(&e))
    }

    /// Ends the file; it is synced then.
    fn finish(&mut self) -> Result<()> {
        self.writer.take().map_or(Ok(()), |mut writer| writer.finish()).map_err(|e| store_error(&e))
    }
}

impl Store for RocksStore {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        get_many(&self.db, &self.reads, &ReadOptions::default(), keys, found)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        scan(&self.db, &self.reads, ReadOptions::default(), from, to, each)
    }

    fn write(&self, mut ops: Ops, durability: Durability) -> Result<()> {
        self.writes.fetch_add((ops.len() + ops.ranges().len()) as u64, Ordering::Relaxed);
        ops.sort();
        // What only goes into the logs does so in order of arrival, however large.
        if ops.size() < self.ingest_bytes || ops.iter().all(|(_, key, _)| is_log(key)) {
            self.write_batch(&ops, durability)
        } else {
            self.ingest(&ops, durability)
        }
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(RocksSnapshot { cell: OwnedSnapshot::new(self.db.clone(), |db| db.snapshot()), reads: self.reads.clone() })
    }

    fn close(&self) {
        self.db.cancel_all_background_work(true);
    }

    fn accesses(&self) -> Accesses {
        Accesses { reads: self.reads.load(Ordering::Relaxed), writes: self.writes.load(Ordering::Relaxed) }
    }
}

impl RocksSnapshot {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.cell.borrow_dependent());
        options
    }
}

impl Snapshot for RocksSnapshot {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        get_many(self.cell.borrow_owner(), &self.reads, &self.options(), keys, found)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        scan(self.cell.borrow_owner(), &self.reads, self.options(), from, to, each)
    }

    fn file_bytes(&self, from: &[u8], to: &[u8]) -> u64 {
        self.cell.borrow_owner().get_approximate_sizes(&[Range::new(from, to)]).into_iter().sum()
    }

    fn scan_back(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let mut options = self.options();
        options.set_iterate_lower_bound(from);
        // Bloom filters serve walks forward only.
        options.set_total_order_seek(true);
        let mut iterator = self.cell.borrow_owner().raw_iterator_opt(options);
        iterator.seek_for_prev(to);
        if iterator.key() == Some(to) {
            iterator.prev();
        }
        visit(&mut iterator, &self.reads, DBRawIterator::prev, each)
    }

    /// One iterator for all: making one costs more than the seek.
    fn scan_prefixes(&self, prefixes: &[&[u8]], each: &mut dyn FnMut(usize, &[u8], &[u8])) -> Result<()> {
        let mut options = self.options();
        let grouped = prefixes.iter().all(|p| group_prefix(p).is_some());
        options.set_total_order_seek(!grouped);
        options.set_prefix_same_as_start(grouped);
        let mut iterator = self.cell.borrow_owner().raw_iterator_opt(options);
        for (i, prefix) in prefixes.iter().enumerate() {
            iterator.seek(prefix);
            visit(&mut iterator, &self.reads, DBRawIterator::next, &mut |key, value| {
                let inside = key.starts_with(prefix);
                if inside {
                    each(i, key, value);
                }
                inside
            })?;
        }
        Ok(())
    }
}

fn get_many(db: &DB, reads: &AtomicU64, options: &ReadOptions, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
    reads.fetch_add(keys.len() as u64, Ordering::Relaxed);
    // What a call for many keys prepares costs more than one key's look-up.
    if let [key] = keys {
        if let Some(value) = db.get_pinned_opt(key, options).map_err(|e| store_error(&e))?
            && !is_zero_weight(key, &value)
        {
            found(0, &value);
        }
        return Ok(());
    }
    let family = db.cf_handle(FAMILY).ok_or_else(|| Error::internal("the store has no column family"))?;
    for (chunk, keys) in keys.chunks(LOOK_UP).enumerate() {
        let values = db.batched_multi_get_cf_opt(&family, keys.iter(), true, options);
        for (i, value) in values.into_iter().enumerate() {
            if let Some(value) = value.map_err(|e| store_error(&e))?
                && !is_zero_weight(keys[i], &value)
            {
                found(chunk * LOOK_UP + i, &value);
            }
        }
    }
    Ok(())
}

fn scan(db: &DB, reads: &AtomicU64, mut options: ReadOptions, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
    if from >= to {
        return Ok(());
    }
    options.set_iterate_upper_bound(to);
    // Within one group the bloom filter serves; across groups order must be total.
    let one_group = group_prefix(from).is_some_and(|group| to.starts_with(group) || after_prefix(group) == to);
    options.set_total_order_seek(!one_group);
    let mut iterator = db.raw_iterator_opt(options);
    iterator.seek(from);
    visit(&mut iterator, reads, DBRawIterator::next, each)
}

/// Entries from where the iterator stands, until `each` returns false.
fn visit<'a>(
    iterator: &mut DBRawIterator<'a>,
    reads: &AtomicU64,
    advance: fn(&mut DBRawIterator<'a>),
    each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<()> {
    let mut visited = 0;
    while let Some((key, value)) = iterator.item() {
        visited += 1;
        if !is_zero_weight(key, value) && !each(key, value) {
            break;
        }
        advance(iterator);
    }
    reads.fetch_add(visited, Ordering::Relaxed);
    iterator.status().map_err(|e| store_error(&e))
}

/// What all rows of one multiset group begin with: space, table, window if there is one, virtual node, hash.
fn group_prefix(key: &[u8]) -> Option<&[u8]> {
    let window = match *key.first()? {
        space::MULTISET => 0,
        space::MULTISET_WINDOWED if window_of_key(key.get(5..)?).is_some() => 9,
        space::MULTISET_WINDOWED => 1, // a NULL
        _ => return None,
    };
    key.get(..1 + 4 + window + 1 + 8)
}

fn db_options(wanted: &RocksOptions) -> Options {
    let mut options = sst_options();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table_options(Some(&Cache::new_lru_cache(wanted.block_cache_bytes))));
    options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(wanted.write_buffer_bytes, false));
    options.set_write_buffer_size((wanted.write_buffer_bytes / 2).clamp(4 << 20, 128 << 20));
    // Look-ups of keys that are nowhere are frequent; this spares them the walk through the memtable.
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_memtable_whole_key_filtering(true);
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size(256 << 20);
    options.set_keep_log_file_num(2);
    options.set_max_open_files(512);
    options.set_bytes_per_sync(1 << 20);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_skip_stats_update_on_db_open(true);
    options.set_compaction_filter(
        "zero weights",
        |_, key, value| {
            if is_zero_weight(key, value) { CompactionDecision::Remove } else { CompactionDecision::Keep }
        },
    );
    options
}

/// What files and database must agree on.
fn sst_options() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_block_based_table_factory(&table_options(None));
    options.set_merge_operator_associative("add i64", add);
    let group: fn(&[u8]) -> &[u8] = |key| group_prefix(key).unwrap_or_default();
    options.set_prefix_extractor(SliceTransform::create("multiset group", group, Some(|key| group_prefix(key).is_some())));
    options
}

fn table_options(cache: Option<&Cache>) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_bloom_filter(10.0, false);
    table.set_whole_key_filtering(true);
    table.set_format_version(6);
    // Most look-ups are of one key: a hash index within blocks of 8 KiB finds it without a binary search.
    table.set_block_size(8 << 10);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    // In parts of a block's size: a file's whole filter is larger than what a shard of a small cache holds, and would be read again for every look-up.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(8 << 10);
    if let Some(cache) = cache {
        table.set_block_cache(cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    }
    table
}

/// `None` tells RocksDB that the merge failed: the value is damaged.
fn add(_key: &[u8], existing: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let mut sum = existing.map_or(Some(0), |value| weight(value).ok())?;
    for operand in operands {
        sum = sum.wrapping_add(weight(operand).ok()?);
    }
    Some(sum.to_le_bytes().to_vec())
}

fn open_error(path: &Path, e: &rocksdb::Error) -> Error {
    let text = e.to_string();
    let path = path.display();
    if text.contains("lock file") || text.contains("lock hold by current process") {
        return Error::new(Kind::InUse, format!("data directory \"{path}\" is in use by another tidewater"))
            .with_hint("stop that server, or choose another directory with --data-dir");
    }
    if text.contains("Permission denied") || text.contains("Read-only file system") {
        return Error::new(Kind::Io, format!("data directory \"{path}\" cannot be written")).with_detail(text).with_hint("check its owner and permissions");
    }
    store_error(e)
}

fn store_error(e: &rocksdb::Error) -> Error {
    let text = e.to_string();
    let (kind, message) = match e.kind() {
        _ if text.contains("No space left") => (Kind::DiskFull, "the disk that holds the data directory is full"),
        rocksdb::ErrorKind::Corruption => (Kind::DataCorrupted, "the data directory is damaged"),
        _ => (Kind::Io, "the data directory cannot be read or written"),
    };
    Error::new(kind, message).with_detail(text)
}

#[cfg(test)]
mod tests;
