//! Who may come in: nobody who cannot show that he is who he says, by SCRAM-SHA-256 (pgwire's), or by the certificate of
//! his end of the connection. What is asked of whom is the database's to say ([`Backend::admission`]).
//!
//! A role that does not exist, or has no password, is asked for one like any other, and is refused like a wrong one: by
//! the answers nobody learns which roles there are. Addresses that fail are answered later and later, then not at all for
//! a while.

use super::backend::{Admission, Backend, Origin};
use super::tls::Channel;
use super::wire::{Stop, Wire};
use crate::error::{Error, Kind, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth, gen_salted_password};
use pgwire::error::PgWireError;
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::startup::{Authentication, PasswordMessageFamily};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The mechanisms by their names in SASL.
const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Rounds of hashing, as Postgres has them.
const ITERATIONS: usize = 4096;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Failures of one address within [`MEMORY`] behind which it is not listened to.
const FAILURES_MAX: u32 = 20;
const MEMORY: Duration = Duration::from_secs(60);
/// The first failure is answered after this, each further one after twice as long.
const DELAY: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(3);
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// Has the client show who it is. Error: it could not, and has waited for it.
pub async fn authenticate(backend: &dyn Backend, attempts: &Attempts, wire: &mut Wire, user: &str, origin: &Origin, channel: &Channel) -> Result<(), Stop> {
    let address = origin.address.ip();
    if let Err(refused) = attempts.check(address) {
        // The audit log is not told: it would hold nothing else soon.
        tokio::time::sleep(DELAY_MAX).await;
        return Err(Stop::Fatal(refused));
    }
    let shown = match backend.admission(user, origin) {
        Ok(Admission::Trusted) => return Ok(()),
        Ok(Admission::Password { verifier, seed }) => exchange(wire, user, verifier.as_deref(), &seed, channel).await,
        Err(refused) => Err(Stop::Fatal(refused)),
    };
    if let Err(Stop::Fatal(error)) = &shown {
        backend.refused(user, origin, error);
        tokio::time::sleep(attempts.failed(address)).await;
    }
    shown
}

/// The exchange of SCRAM: both ends show that they know the password, and neither says it.
async fn exchange(wire: &mut Wire, user: &str, verifier: Option<&str>, seed: &str, channel: &Channel) -> Result<(), Stop> {
    let mut server = ScramServerAuth::new();
    // A certificate of a kind that pgwire cannot bind to is as good as before, without the binding.
    let binds = channel.certificate.as_ref().is_some_and(|pem| server.configure_certificate(pem).is_ok());
    let offered = if binds { vec![SCRAM_PLUS.to_owned(), SCRAM.to_owned()] } else { vec![SCRAM.to_owned()] };
    wire.put(&Authentication::SASL(offered))?;
    wire.flush().await?;
    let first = answer(wire).await?.into_sasl_initial_response().map_err(|e| malformed(&e))?;
    let first_data = first.data.unwrap_or_default();
    // The mechanism with a binding is the one whose first message has one.
    let bound = first_data.starts_with(b"p=");
    if !(first.auth_method == SCRAM && !bound || first.auth_method == SCRAM_PLUS && bound && binds) {
        return Err(Stop::Fatal(Error::new(Kind::Protocol, "client selected an invalid SASL authentication mechanism")));
    }
    let secret = verifier.and_then(secret).unwrap_or_else(|| nobodys(user, seed));
    let (reply, waiting) = server.on_client_first_message_with_secret(&first_data, secret).map_err(|e| refused(user, &e))?;
    wire.put(&Authentication::SASLContinue(reply.into_bytes().into()))?;
    wire.flush().await?;
    let last = answer(wire).await?.into_sasl_response().map_err(|e| malformed(&e))?;
    let reply = waiting.on_client_final_message(&last.data).map_err(|e| refused(user, &e))?;
    wire.put(&Authentication::SASLFinal(reply.into_bytes().into()))?;
    Ok(())
}

/// The client's next message, which must be of the exchange.
async fn answer(wire: &mut Wire) -> Result<PasswordMessageFamily, Stop> {
    while wire.input.is_empty() {
        if wire.read().await? == 0 {
            return Err(Stop::Gone);
        }
    }
    // Before anything is waited for: other messages may be large, and nobody knows yet who sends this one.
    match wire.input[0] {
        b'p' => {}
        b'X' => return Err(Stop::Gone),
        other => return Err(Stop::Fatal(Error::new(Kind::Protocol, format!("expected SASL response, got message type {other}")))),
    }
    let frame = wire.frame().await?.ok_or(Stop::Gone)?;
    match frame.message().map_err(Stop::Fatal)? {
        Message::PasswordMessageFamily(message) => Ok(message),
        _ => Err(Stop::Fatal(Error::new(Kind::Protocol, "expected SASL response"))),
    }
}

fn malformed(e: &PgWireError) -> Stop {
    Stop::Fatal(Error::new(Kind::Protocol, "malformed SCRAM message").with_detail(e.to_string()))
}

fn refused(user: &str, e: &PgWireError) -> Stop {
    match e {
        PgWireError::InvalidPassword(_) => Stop::Fatal(wrong_password(user)),
        other => malformed(other),
    }
}

/// Postgres's words.
fn wrong_password(user: &str) -> Error {
    Error::new(Kind::InvalidPassword, format!("password authentication failed for user \"{user}\""))
}

/// What is kept of a password. A text that is a verifier already is taken as it is.
pub fn verifier(password: &str) -> String {
    if secret(password).is_some() {
        return password.to_owned();
    }
    // Random bits of the operating system.
    let salt = uuid::Uuid::new_v4().into_bytes().to_vec();
    let salted = gen_salted_password(password, &salt, ITERATIONS);
    match ScramSecret::verifier_from_salted_password(salt, salted, ITERATIONS) {
        ScramSecret::Verifier { salt, iterations, stored_key, server_key } => {
            let [salt, stored, server] = [salt, stored_key, server_key].map(|bytes| STANDARD.encode(bytes));
            format!("{SCRAM}${iterations}:{salt}${stored}:{server}")
        }
        ScramSecret::SaltedPassword { .. } => String::new(),
    }
}

/// `SCRAM-SHA-256$4096:salt$stored:server`; `None`: it is none.
fn secret(verifier: &str) -> Option<ScramSecret> {
    let (head, keys) = verifier.strip_prefix(SCRAM)?.strip_prefix('$')?.split_once('$')?;
    let ((iterations, salt), (stored, server)) = (head.split_once(':')?, keys.split_once(':')?);
    let [salt, stored_key, server_key] = [salt, stored, server].map(|text| STANDARD.decode(text).ok());
    let (salt, stored_key, server_key) = (salt?, stored_key?, server_key?);
    let iterations = iterations.parse().ok().filter(|n| *n > 0)?;
    (stored_key.len() == HASH_BYTES && server_key.len() == HASH_BYTES).then_some(ScramSecret::Verifier { salt, iterations, stored_key, server_key })
}

/// What no password fits: with the same salt at every attempt, as a role that exists has it.
fn nobodys(user: &str, seed: &str) -> ScramSecret {
    let mut salt = gen_salted_password(user, seed.as_bytes(), 1);
    salt.truncate(SALT_BYTES);
    let random = || [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    ScramSecret::Verifier { salt, iterations: ITERATIONS, stored_key: random(), server_key: random() }
}

/// Failed attempts of late, by address.
#[derive(Default)]
pub struct Attempts {
    by_address: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

impl Attempts {
    /// Error: the address has failed too often of late (53300).
    fn check(&self, address: IpAddr) -> Result<()> {
        let failures = self.by_address.lock();
        match failures.get(&address) {
            Some((count, last)) if *count >= FAILURES_MAX && last.elapsed() < MEMORY => {
                let error = Error::new(Kind::TooManyConnections, format!("too many failed authentication attempts from \"{address}\""));
                Err(error.with_hint(format!("wait {} seconds", MEMORY.as_secs())))
            }
            _ => Ok(()),
        }
    }

    /// Takes note of a failure; gives how long its answer is to wait.
    fn failed(&self, address: IpAddr) -> Duration {
        let mut failures = self.by_address.lock();
        if failures.len() >= ADDRESSES_MAX {
            failures.retain(|_, (_, last)| last.elapsed() < MEMORY);
        }
        if failures.len() >= ADDRESSES_MAX && !failures.contains_key(&address) {
            return DELAY_MAX;
        }
        let now = Instant::now();
        let (count, last) = failures.entry(address).or_insert((0, now));
        let refused_anyway = *count >= FAILURES_MAX && last.elapsed() < MEMORY;
        if last.elapsed() >= MEMORY {
            *count = 0;
        }
        if !refused_anyway {
            (*count, *last) = (*count + 1, now);
        }
        (DELAY * 2u32.saturating_pow(count.saturating_sub(1).min(10))).min(DELAY_MAX)
    }
}

/// Whether an address is of this machine itself.
pub fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_local_in_both_families() {
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(local.parse().unwrap()));
        }
        assert!(!is_local("192.168.1.7".parse().unwrap()) && !is_local("::2".parse().unwrap()));
    }

    #[test]
    fn a_password_is_kept_as_a_verifier_and_a_verifier_as_it_is() {
        let kept = verifier("hush");
        assert!(kept.starts_with("SCRAM-SHA-256$4096:") && !kept.contains("hush"), "{kept}");
        assert_ne!(kept, verifier("hush"), "the salt is random");
        assert_eq!(verifier(&kept), kept);
        // What only looks like one is a password.
        assert_ne!(verifier("SCRAM-SHA-256$4096:a$b:c"), "SCRAM-SHA-256$4096:a$b:c");
    }

    #[test]
    fn a_role_that_does_not_exist_has_one_salt_for_ever() {
        let salt = |user: &str, seed: &str| match nobodys(user, seed) {
            ScramSecret::Verifier { salt, .. } => salt,
            ScramSecret::SaltedPassword { .. } => Vec::new(),
        };
        assert_eq!(salt("ann", "x"), salt("ann", "x"));
        assert!(salt("ann", "x") != salt("bob", "x") && salt("ann", "x") != salt("ann", "y"));
        assert_eq!(salt("ann", "x").len(), SALT_BYTES);
    }

    #[test]
    fn failures_are_answered_later_and_later_then_refused() {
        let attempts = Attempts::default();
        let address = "10.0.0.1".parse().unwrap();
        assert_eq!(attempts.failed(address), DELAY);
        assert_eq!(attempts.failed(address), 2 * DELAY);
        for _ in 2..FAILURES_MAX {
            attempts.failed(address);
        }
        assert_eq!(attempts.failed(address), DELAY_MAX);
        assert_eq!(attempts.check(address).unwrap_err().sqlstate(), "53300");
        assert!(attempts.check("10.0.0.2".parse().unwrap()).is_ok());
    }
}
