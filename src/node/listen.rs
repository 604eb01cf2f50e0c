//! Opens a listening socket, or says in one line why not.

use crate::error::{Error, Kind, Result};
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Listens on `address`; `option` is the name of the command-line option that chose it.
pub async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        let hint = match e.kind() {
            ErrorKind::AddrInUse => format!("another program listens there; choose a free port with --{option}"),
            ErrorKind::AddrNotAvailable => format!("this machine has no such address; choose one with --{option}"),
            ErrorKind::PermissionDenied => format!("ports below 1024 are for the administrator; choose another with --{option}"),
            _ => format!("choose another address with --{option}"),
        };
        Error::new(Kind::Io, format!("cannot listen on {address}: {}", reason(&e))).with_hint(hint).caused_by(e)
    })
}

/// The operating system's words without its number.
fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0)), "listen").await.unwrap();
        let error = listen(first.local_addr().unwrap(), "listen").await.unwrap_err().to_string();
        assert!(error.contains("address already in use") && error.contains("--listen"), "{error}");
    }
}
