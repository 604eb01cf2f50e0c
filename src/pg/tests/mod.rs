//! The wire as clients meet it: a server over a fake backend, asked by tokio-postgres, by psql, and byte by byte.

mod cancel;
mod client;
mod fake;
mod formats;
mod fuzz;
mod protocol;
mod raw;
mod startup;
mod throughput;
