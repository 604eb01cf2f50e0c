//! Who may come in. Without passwords, which a later issue brings (SCRAM-SHA-256), that is a question of where a
//! connection comes from: any user name is trusted on this machine's own loopback, and elsewhere only where the
//! operator says so.

use crate::error::{Error, Kind, Result};
use std::net::IpAddr;

/// The rule that decides on a connection, before the database is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Connections from this machine, under any user name.
    #[default]
    Loopback,
    /// Connections from anywhere, under any user name: for a network that the operator trusts, such as a container's.
    Anyone,
}

impl Access {
    /// Admits a user, or says why not. What a password exchange needs will be the other way to answer.
    pub fn admit(self, peer: IpAddr, user: &str) -> Result<()> {
        let local = match peer {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
        };
        if local || self == Access::Anyone {
            return Ok(());
        }
        let message = format!("connection from host \"{peer}\", user \"{user}\" is not allowed");
        Err(Error::new(Kind::InsufficientPrivilege, message).with_hint("only connections from this machine are trusted while no passwords are configured"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_trusted_in_both_families() {
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(Access::Loopback.admit(local.parse().unwrap(), "ann").is_ok());
        }
        let remote = "192.168.1.7".parse().unwrap();
        assert_eq!(Access::Loopback.admit(remote, "ann").unwrap_err().message(), "connection from host \"192.168.1.7\", user \"ann\" is not allowed");
        assert!(Access::Anyone.admit(remote, "ann").is_ok());
    }
}
