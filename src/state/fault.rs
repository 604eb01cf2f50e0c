//! A store that fails when it is told to: a hook for tests, who cannot break a disk at a chosen moment. It stands between the engine and RocksDB, and is
//! there only if `TIDEWATER_TEST_FAULT` is set:
//!
//! | `TIDEWATER_TEST_FAULT` | what fails, from the n-th of its kind on |
//! | --- | --- |
//! | `write:n` | a write; nothing of it is done |
//! | `sync:n` | a synced write, which is done nevertheless: the disk had it, and the answer was lost |
//! | `read:n` | a look-up or scan |
//! | `full:n` | a write, with "disk full" |
//!
//! With `:once` behind it, only the n-th fails.

use super::checkpoint::Ops;
use super::store::{Accesses, Durability, Snapshot, Store};
use crate::error::{Error, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Write,
    Sync,
    Read,
    Full,
}

#[derive(Debug)]
struct Fault {
    what: What,
    at: u64,
    once: bool,
    seen: AtomicU64,
}

impl Fault {
    fn parse(text: &str) -> Option<Fault> {
        let mut parts = text.split(':');
        let what = match parts.next()? {
            "write" => What::Write,
            "sync" => What::Sync,
            "read" => What::Read,
            "full" => What::Full,
            _ => return None,
        };
        let at = parts.next()?.parse().ok().filter(|n| *n > 0)?;
        let once = match parts.next() {
            None => false,
            Some("once") => true,
            Some(_) => return None,
        };
        Some(Fault { what, at, once, seen: AtomicU64::new(0) })
    }

    /// Counts one more of its kind; the failure, if it is to fail.
    fn strike(&self, what: What) -> Result<()> {
        if self.what != what {
            return Ok(());
        }
        let count = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if count < self.at || (self.once && count > self.at) {
            return Ok(());
        }
        let (kind, message) = match what {
            What::Full => (Kind::DiskFull, "the disk that holds the data directory is full"),
            _ => (Kind::Io, "the data directory cannot be read or written"),
        };
        Err(Error::new(kind, message).with_detail(format!("injected failure of {what:?} {count}")))
    }
}

/// See the module.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Arc<Fault>,
}

struct FaultySnapshot {
    inner: Arc<dyn Snapshot>,
    fault: Arc<Fault>,
}

impl FaultyStore {
    /// `text` as the module's table says. Error: it says nothing that we know.
    pub fn over(inner: Arc<dyn Store>, text: &str) -> Result<Arc<dyn Store>> {
        let fault = Fault::parse(text).ok_or_else(|| Error::new(Kind::ConfigFile, format!("TIDEWATER_TEST_FAULT: \"{text}\" is no fault")))?;
        tracing::warn!(fault = text, "this server is told to fail: TIDEWATER_TEST_FAULT is set");
        Ok(Arc::new(FaultyStore { inner, fault: Arc::new(fault) }))
    }
}

impl Store for FaultyStore {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.fault.strike(What::Read)?;
        self.inner.get_many(keys, found)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        self.fault.strike(What::Read)?;
        self.inner.scan(from, to, each)
    }

    fn write(&self, ops: Ops, durability: Durability) -> Result<()> {
        self.fault.strike(What::Write)?;
        self.fault.strike(What::Full)?;
        self.inner.write(ops, durability)?;
        if durability == Durability::Synced { self.fault.strike(What::Sync) } else { Ok(()) }
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(FaultySnapshot { inner: self.inner.snapshot(), fault: self.fault.clone() })
    }

    fn close(&self) {
        self.inner.close();
    }

    fn accesses(&self) -> Accesses {
        self.inner.accesses()
    }
}

impl Snapshot for FaultySnapshot {
    fn get_many(&self, keys: &[&[u8]], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.fault.strike(What::Read)?;
        self.inner.get_many(keys, found)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        self.fault.strike(What::Read)?;
        self.inner.scan(from, to, each)
    }

    fn scan_back(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        self.fault.strike(What::Read)?;
        self.inner.scan_back(from, to, each)
    }

    fn file_bytes(&self, from: &[u8], to: &[u8]) -> u64 {
        self.inner.file_bytes(from, to)
    }

    fn scan_prefixes(&self, prefixes: &[&[u8]], each: &mut dyn FnMut(usize, &[u8], &[u8])) -> Result<()> {
        self.fault.strike(What::Read)?;
        self.inner.scan_prefixes(prefixes, each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::memory::MemoryStore;

    fn write(store: &dyn Store, key: &[u8], durability: Durability) -> Result<()> {
        let mut ops = Ops::default();
        ops.put(key, b"x");
        store.write(ops, durability)
    }

    #[test]
    fn what_is_told_to_fail_fails_and_only_that() {
        let memory = MemoryStore::new();
        let store = FaultyStore::over(Arc::new(memory.clone()), "write:2:once").unwrap();
        write(store.as_ref(), b"a", Durability::Logged).unwrap();
        assert_eq!(write(store.as_ref(), b"b", Durability::Logged).unwrap_err().kind(), Kind::Io);
        write(store.as_ref(), b"c", Durability::Synced).unwrap();
        assert_eq!((memory.entries(b"b"), memory.entries(b"c")), (0, 1));
        // The answer of a sync is lost, what it wrote is there.
        let store = FaultyStore::over(Arc::new(memory.clone()), "sync:1").unwrap();
        write(store.as_ref(), b"d", Durability::Logged).unwrap();
        assert!(write(store.as_ref(), b"e", Durability::Synced).is_err());
        assert_eq!(memory.entries(b"e"), 1);
        let store = FaultyStore::over(Arc::new(memory.clone()), "full:1").unwrap();
        assert_eq!(write(store.as_ref(), b"f", Durability::Logged).unwrap_err().kind(), Kind::DiskFull);
        let store = FaultyStore::over(Arc::new(memory), "read:1").unwrap();
        assert!(store.snapshot().scan(b"a", b"z", &mut |_, _| true).is_err());
        assert!(FaultyStore::over(Arc::new(MemoryStore::new()), "often").is_err());
    }
}
