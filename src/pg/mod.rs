//! The wire: the Postgres protocol, version 3.0, between sockets and the database behind [`backend::Backend`].
//!
//! | file | what it does |
//! | --- | --- |
//! | backend.rs | the seam: what a connection asks of the database |
//! | types.rs | Arrow fields as Postgres types |
//! | encode.rs, binary.rs | rows into DataRow messages, in text and binary |
//! | decode.rs | parameters into Arrow |
//! | frame.rs, reply.rs | the messages of both sides, as pgwire's types |
//! | server.rs | accepts, limits, cancels and ends connections |
//! | tls.rs, startup.rs, auth.rs | a connection's encryption, its first messages, and who may come in |
//! | wire.rs | a connection's bytes, and what may interrupt its work |
//! | connection.rs, extended.rs, prepared.rs, portal.rs | a connection's loop, and its two query protocols |
//! | commands.rs, scroll.rs, copy.rs | cursors and prepared statements of SQL; COPY |

pub mod auth;
pub mod backend;
mod binary;
mod commands;
mod connection;
mod copy;
pub mod decode;
pub mod encode;
mod extended;
mod frame;
mod portal;
pub mod prepared;
mod reply;
mod scroll;
pub mod server;
mod startup;
pub mod tls;
pub mod types;
mod wire;

#[cfg(test)]
mod tests;
