//! The clients that Rust programs use: `rust-clients tokio-postgres`, `rust-clients sqlx`.

mod check;
mod with_sqlx;
mod with_tokio_postgres;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let suite = match std::env::args().nth(1).as_deref() {
        Some("tokio-postgres") => with_tokio_postgres::suite(),
        Some("sqlx") => with_sqlx::suite(),
        _ => {
            eprintln!("which client? tokio-postgres or sqlx");
            return ExitCode::FAILURE;
        }
    };
    if suite.run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
