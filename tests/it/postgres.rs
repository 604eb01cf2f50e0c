//! A real PostgreSQL, the second judge: started on a free port with an empty data directory, stopped when dropped.

use crate::client::Client;
use crate::server::free_port;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Postgres {
    pub port: u16,
    dir: PathBuf,
}

static STARTED: AtomicU32 = AtomicU32::new(0);

impl Postgres {
    pub fn start() -> Postgres {
        let name = format!("tidewater-judge-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        // Not under a directory that only this user may enter: PostgreSQL refuses to run as the administrator.
        let postgres = Postgres { port: free_port(), dir: std::env::temp_dir().join(name) };
        std::fs::create_dir_all(&postgres.dir).unwrap();
        let dir = postgres.dir.to_string_lossy().to_string();
        if is_root() {
            assert!(Command::new("chown").args(["postgres", &dir]).status().unwrap().success());
        }
        let data = format!("{dir}/data");
        run("initdb", &["-D", &data, "-U", "tidewater", "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync"]);
        let options = format!("-p {} -k {dir} -c listen_addresses=127.0.0.1 -c timezone=UTC -c fsync=off -c lc_messages=C", postgres.port);
        run("pg_ctl", &["-D", &data, "-o", &options, "-l", &format!("{dir}/log"), "-w", "start"]);
        Client::connect_as(postgres.port, "tidewater", "postgres").unwrap().run("CREATE DATABASE tidewater");
        postgres
    }

    /// An empty database of this name.
    pub fn fresh_database(&self) {
        let mut client = Client::connect_as(self.port, "tidewater", "postgres").unwrap();
        client.run("DROP DATABASE IF EXISTS tidewater WITH (FORCE)");
        client.run("CREATE DATABASE tidewater");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.join("data");
        command("pg_ctl", &["-D", &data.to_string_lossy(), "-m", "immediate", "stop"]).stdout(Stdio::null()).status().ok();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

fn run(program: &str, arguments: &[&str]) {
    // Not `output()`: the server that pg_ctl leaves behind would keep the pipe open.
    let status = command(program, arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(|s| s.success()), "{program} {arguments:?}: {status:?}");
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let program = binary(program);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(arguments).current_dir(std::env::temp_dir());
    command
}

/// Debian keeps them beside the path, by version.
fn binary(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|v| v.path().join("bin").join(name)).filter(|p| p.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}
