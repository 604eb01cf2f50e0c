//! The program: reads the settings, starts the server, and says in one line why it could not.

use clap::Parser;
use std::process::ExitCode;
use tidewater::error::{Error, Kind, Result};
use tidewater::node::config::{Command, CommandLine, Config};
use tidewater::node::logs;
use tidewater::node::node;

/// Arrow's and RocksDB's buffers come and go in all sizes on all threads; see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Stack of the network's threads: planning a deep statement recurses.
const STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    let Command::Serve(flags) = CommandLine::parse().command;
    match Config::load(&flags).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidewater: {}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<()> {
    logs::start(config.log_format, &config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tidewater-net")
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|e| Error::new(Kind::Io, format!("cannot start threads: {e}")))?;
    runtime.block_on(node::serve(config))
}
