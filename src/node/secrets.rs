//! Values of secrets: one file of the data directory that only the server's user may read (mode 0600), in plain text. The catalog has their
//! names; a value goes to the connector that needs it and nowhere else.
//!
//! They are not encrypted: the key would have to be on the same disk, and whoever reads the one file could read the other.

use crate::catalog::object::{Body, Object};
use crate::catalog::roles::Roles;
use crate::error::{Error, Kind, Result};
use crate::types::secret::referred;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

const FILE: &str = "secrets.json";
/// What is shorter stands in any text.
const HIDDEN_BYTES_MIN: usize = 3;

/// By the secret's number, so that a new one of an old name has nothing of the old one.
type Values = BTreeMap<u32, String>;

/// See the module.
pub struct Secrets {
    /// `None`: they are kept in memory alone.
    path: Option<PathBuf>,
    values: Mutex<Values>,
}

impl Secrets {
    /// Those of a data directory; `None`: of none.
    pub fn open(data_dir: Option<&PathBuf>) -> Result<Secrets> {
        let path = data_dir.map(|dir| dir.join(FILE));
        let values = match &path {
            Some(path) if path.exists() => serde_json::from_slice(&std::fs::read(path)?)
                .map_err(|_| Error::new(Kind::DataCorrupted, format!("the file of secrets \"{}\" is damaged", path.display())))?,
            _ => Values::new(),
        };
        Ok(Secrets { path, values: Mutex::new(values) })
    }

    /// Keeps a value; durable on return.
    pub fn put(&self, id: u32, value: &str) -> Result<()> {
        self.change(|values| drop(values.insert(id, value.to_owned())))
    }

    pub fn forget(&self, ids: &[u32]) -> Result<()> {
        if ids.is_empty() { Ok(()) } else { self.change(|values| values.retain(|id, _| !ids.contains(id))) }
    }

    /// A text without the values of secrets: what a connector says of its options may repeat them.
    pub fn hidden(&self, text: &str) -> String {
        let values = self.values.lock();
        values.values().filter(|v| v.len() >= HIDDEN_BYTES_MIN).fold(text.to_owned(), |text, value| text.replace(value.as_str(), "********"))
    }

    /// At a start: forgets all values but those of `roles`, which a crash left behind.
    pub fn keep_only(&self, roles: &Roles) -> Result<()> {
        let is_there = |id: &u32| roles.secrets.values().any(|s| s.id == *id);
        if self.values.lock().keys().all(is_there) { Ok(()) } else { self.change(|values| values.retain(|id, _| is_there(id))) }
    }

    fn change(&self, change: impl FnOnce(&mut Values)) -> Result<()> {
        let mut values = self.values.lock();
        let mut new = values.clone();
        change(&mut new);
        if let Some(path) = &self.path {
            let next = path.with_extension("new");
            let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
            file.write_all(&serde_json::to_vec(&new).map_err(|e| Error::internal("secrets cannot be written").caused_by(e))?)?;
            file.sync_all()?;
            std::fs::rename(&next, path)?;
            if let Some(folder) = path.parent() {
                std::fs::File::open(folder)?.sync_all()?;
            }
        }
        *values = new;
        Ok(())
    }

    /// Options with the values of the secrets that they name. Error: one is gone.
    pub fn revealed(&self, roles: &Roles, options: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        let values = self.values.lock();
        let one = |(name, value): (&String, &String)| match referred(value) {
            None => Ok((name.clone(), value.clone())),
            Some(secret) => {
                let id = roles.secret(secret)?.id;
                let value = values.get(&id).ok_or_else(|| Error::new(Kind::DataCorrupted, format!("the value of secret \"{secret}\" is lost")))?;
                Ok((name.clone(), value.clone()))
            }
        };
        options.iter().map(one).collect()
    }

    /// An object whose connector can be made: with the values of the secrets that its options name.
    pub fn revealed_object(&self, roles: &Roles, object: &Object) -> Result<Object> {
        let mut object = object.clone();
        let options = match &mut object.body {
            Body::Source(source) => Some(&mut source.feed.options),
            Body::Table(table) => table.feed.as_mut().map(|f| &mut f.options),
            Body::Sink(sink) => Some(&mut sink.options),
            Body::Schema | Body::View(_) | Body::MaterializedView(_) | Body::Index(_) => None,
        };
        if let Some(options) = options {
            *options = self.revealed(roles, options)?;
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::access::Access;
    use crate::catalog::roles::Secret;
    use crate::types::secret::reference;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn values_are_kept_in_a_file_for_the_server_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        let secrets = Secrets::open(Some(&path)).unwrap();
        secrets.put(7, "hush").unwrap();
        secrets.put(8, "old").unwrap();
        let mode = std::fs::metadata(path.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut roles = Roles::default();
        roles.secrets.insert("k".into(), Secret { id: 7, access: Access::default() });
        let again = Secrets::open(Some(&path)).unwrap();
        again.keep_only(&roles).unwrap();
        assert!(!std::fs::read_to_string(path.join(FILE)).unwrap().contains("old"));
        let options = BTreeMap::from([("password".to_owned(), reference("k")), ("topic".to_owned(), "t".to_owned())]);
        let revealed = again.revealed(&roles, &options).unwrap();
        assert_eq!((revealed["password"].as_str(), revealed["topic"].as_str()), ("hush", "t"));
        assert_eq!(again.hidden("\"hush\" is no number"), "\"********\" is no number");
        again.forget(&[7]).unwrap();
        assert_eq!(again.revealed(&roles, &options).unwrap_err().sqlstate(), "XX001");
        assert_eq!(again.revealed(&Roles::default(), &options).unwrap_err().sqlstate(), "42704");
    }
}
