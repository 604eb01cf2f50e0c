//! Encryption of connections: what the server shows, whom it believes, and the beginning of a connection, where the client says
//! whether it wants it.
//!
//! ```text
//!   SSLRequest -> 'S' -> handshake        as all clients do it
//!   handshake at once                     PostgreSQL 17's sslnegotiation=direct; the client must name the protocol (ALPN)
//! ```

use super::wire::{Stop, Wire};
use crate::error::{Error, Kind, Result};
use arc_swap::ArcSwap;
use bytes::{Buf, BytesMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_certificate::CapturedX509Certificate;

/// The name of Postgres's protocol in ALPN.
const PROTOCOL: &[u8] = b"postgresql";
/// The first byte of a handshake of TLS; no packet of Postgres begins so.
const HANDSHAKE: u8 = 0x16;
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// Where the certificate and its key are, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificates of clients are believed if one of these has signed them; `None`: none is asked for.
    pub client_authorities: Option<PathBuf>,
}

/// What new connections are encrypted with.
pub struct Tls {
    files: TlsFiles,
    loaded: ArcSwap<Loaded>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    certificate: Arc<Vec<u8>>,
}

/// How a connection came to be.
#[derive(Clone, Default)]
pub struct Channel {
    pub encrypted: bool,
    /// The server's certificate in PEM, which passwords can be bound to.
    pub certificate: Option<Arc<Vec<u8>>>,
    /// The common name of the client's certificate, which was verified.
    pub client: Option<String>,
}

impl Tls {
    /// Error: a file cannot be read, or is not what it should be.
    pub fn load(files: TlsFiles) -> Result<Tls> {
        let loaded = ArcSwap::from_pointee(load(&files)?);
        Ok(Tls { files, loaded })
    }

    /// Reads the files again, for connections from now on. Error: as of [`Tls::load`], and what was read before stays.
    pub fn reload(&self) -> Result<()> {
        self.loaded.store(Arc::new(load(&self.files)?));
        Ok(())
    }
}

fn wrong(path: &Path, what: &str, e: impl std::fmt::Display) -> Error {
    Error::new(Kind::ConfigFile, format!("cannot use the {what} \"{}\": {e}", path.display()))
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| wrong(path, what, e))?;
    if all.is_empty() { Err(wrong(path, what, "there is no certificate in it")) } else { Ok(all) }
}

fn load(files: &TlsFiles) -> Result<Loaded> {
    let chain = certificates(&files.certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong(&files.key, "private key", e))?;
    let provider = Arc::new(ring::default_provider());
    let ours = |e: tokio_rustls::rustls::Error| wrong(&files.certificate, "certificate", e);
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(ours)?;
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path, "client CA")? {
                roots.add(certificate).map_err(|e| wrong(path, "client CA", e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|e| wrong(path, "client CA", e))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(ours)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let certificate = std::fs::read(&files.certificate).map_err(|e| wrong(&files.certificate, "certificate", e))?;
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), certificate: Arc::new(certificate) })
}

/// A connection's first bytes, up to where both sides have agreed on encryption or on none.
pub async fn negotiate(mut socket: TcpStream, tls: Option<&Tls>) -> Result<(Wire, Channel), Stop> {
    let mut input = BytesMut::new();
    let Some(tls) = tls else { return Ok(plain(socket, input)) };
    let mut first = [0];
    if socket.peek(&mut first).await? > 0 && first[0] == HANDSHAKE {
        return tls.accept(socket, true).await;
    }
    loop {
        while input.len() < SSL_REQUEST.len() {
            if socket.read_buf(&mut input).await? == 0 {
                return Err(Stop::Gone);
            }
        }
        if input.starts_with(&SSL_REQUEST) {
            // What follows in plain text would be taken for a part of what is encrypted.
            if input.len() > SSL_REQUEST.len() {
                return Err(Stop::Gone);
            }
            socket.write_all(b"S").await?;
            return tls.accept(socket, false).await;
        }
        if !input.starts_with(&GSS_REQUEST) {
            return Ok(plain(socket, input));
        }
        socket.write_all(b"N").await?;
        input.advance(GSS_REQUEST.len());
    }
}

fn plain(socket: TcpStream, input: BytesMut) -> (Wire, Channel) {
    let (reader, writer) = socket.into_split();
    let mut wire = Wire::new(reader, writer);
    wire.input = input;
    (wire, Channel::default())
}

impl Tls {
    /// `direct`: the client did not ask whether this is Postgres, so it must say that it is what it wants.
    async fn accept(&self, socket: TcpStream, direct: bool) -> Result<(Wire, Channel), Stop> {
        let loaded = self.loaded.load_full();
        let stream = loaded.acceptor.accept(socket).await?;
        let (_, session) = stream.get_ref();
        if direct && session.alpn_protocol() != Some(PROTOCOL) {
            return Err(Stop::Gone);
        }
        let client = session.peer_certificates().and_then(|chain| common_name(chain.first()?));
        let (reader, writer) = tokio::io::split(stream);
        Ok((Wire::new(reader, writer), Channel { encrypted: true, certificate: Some(loaded.certificate.clone()), client }))
    }
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    CapturedX509Certificate::from_der(certificate.to_vec()).ok()?.subject_common_name()
}
