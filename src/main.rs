//! The program: reads the settings, starts the server, and says in one line why it could not.

use clap::Parser;
use std::process::ExitCode;
use tidewater::error::{Error, Kind, Result};
use tidewater::node::allocator;
use tidewater::node::config::{Command, CommandLine, Config};
use tidewater::node::logs;
use tidewater::node::node;

/// Arrow's and RocksDB's buffers come and go in all sizes on all threads; see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Stack of the network's threads: planning a deep statement recurses.
const STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    without_huge_pages();
    allocator::give_back_soon();
    let Command::Serve(flags) = CommandLine::parse().command;
    match Config::load(&flags).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidewater: {}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// Memory comes in pages of 4 KiB, also what the allocator asks to have in huge ones: batches and buffers come and go, and a huge page is cleared whole
/// for the first byte that is written to it. The figure is in docs/performance.md. Where the system does not know the call, nothing changes.
fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
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
