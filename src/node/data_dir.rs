//! The data directory: made at the first start, locked by one server at a time, marked with the version of its format.
//!
//! ```text
//!   DIR/VERSION   format of what is in DIR, a decimal number
//!   DIR/LOCK      held (flock) by the running server; its text is that server's process id
//!   DIR/…         the store's own files
//! ```
//! The lock dies with its process, so that a `kill -9` leaves nothing to clean up.

use crate::error::{Error, Kind, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Format of a data directory that this version writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, locks it, and checks that it can be written and that its format is known.
    pub fn open(path: &Path) -> Result<DataDir> {
        // Not for other users: what is in it is everybody's rows, and verifiers of passwords.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| refused(path, "create", e))?;
        let lock = lock(path)?;
        check_version(path)?;
        Ok(DataDir { path: path.to_path_buf(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path) -> Result<File> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path.join("LOCK")).map_err(|e| refused(path, "write to", e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Whoever holds it wrote its number; without it the message is only less helpful.
            let _ = file.read_to_string(&mut owner);
            let by = if owner.trim().is_empty() { String::new() } else { format!(" (process {})", owner.trim()) };
            return Err(Error::new(Kind::ObjectInUse, format!("data directory \"{}\" is in use by another server{by}", path.display()))
                .with_hint("stop that server, or choose another directory with --data-dir"));
        }
        Err(TryLockError::Error(e)) => return Err(refused(path, "lock", e)),
    }
    // This is also the probe whether the disk takes a byte at all: full and read-only disks show here, in words.
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .and_then(|()| file.sync_all())
        .map_err(|e| refused(path, "write to", e))?;
    Ok(file)
}

fn check_version(path: &Path) -> Result<()> {
    let file = path.join("VERSION");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return fs::write(&file, format!("{FORMAT_VERSION}\n")).map_err(|e| refused(path, "write to", e));
        }
        Err(e) => return Err(refused(path, "read", e)),
    };
    match text.trim().parse::<u32>() {
        Ok(FORMAT_VERSION) => Ok(()),
        Ok(newer) if newer > FORMAT_VERSION => {
            let message = format!("data directory \"{}\" has format {newer}, newer than format {FORMAT_VERSION} of this version", path.display());
            Err(Error::new(Kind::ConfigFile, message).with_hint("start the newer tidewater that wrote it"))
        }
        // A power failure can leave the file empty; anything else is not ours.
        _ => Err(Error::new(Kind::DataCorrupted, format!("\"{}\" does not hold a format version", file.display()))
            .with_hint(format!("if this is a Tidewater data directory, write {FORMAT_VERSION} into it"))),
    }
}

fn refused(path: &Path, action: &str, e: std::io::Error) -> Error {
    let shown = path.display();
    let (kind, message, hint) = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            (Kind::DiskFull, format!("cannot {action} data directory \"{shown}\": the disk is full"), "free space, then start again")
        }
        ErrorKind::ReadOnlyFilesystem => {
            (Kind::Io, format!("cannot {action} data directory \"{shown}\": the disk is read-only"), "choose another directory with --data-dir")
        }
        ErrorKind::PermissionDenied => (
            Kind::Io,
            format!("cannot {action} data directory \"{shown}\": permission denied"),
            "let this user write to it, or choose another directory with --data-dir",
        ),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            (Kind::Io, format!("cannot {action} data directory \"{shown}\": not a directory"), "choose another directory with --data-dir")
        }
        _ => (Kind::Io, format!("cannot {action} data directory \"{shown}\": {e}"), "choose another directory with --data-dir"),
    };
    Error::new(kind, message).with_hint(hint).caused_by(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_at_a_time_and_the_next_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::ObjectInUse);
        assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        assert_eq!(DataDir::open(&path).unwrap().path(), path);
    }

    #[test]
    fn versions() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        fs::write(dir.path().join("VERSION"), "99\n").unwrap();
        assert!(DataDir::open(dir.path()).unwrap_err().to_string().contains("format 99, newer than format 1"));
        fs::write(dir.path().join("VERSION"), "tea").unwrap();
        assert_eq!(DataDir::open(dir.path()).unwrap_err().kind(), Kind::DataCorrupted);
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("not a directory") && !error.contains('\n'), "{error}");
    }
}
