//! The shipped binary, started on free ports of this machine with a data directory of its own, and stopped again.

use crate::client::Client;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const BINARY: &str = env!("CARGO_BIN_EXE_tidewater");
/// Generous, for a machine that builds something beside.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server; dropping it kills it.
pub struct Server {
    child: Child,
    pub sql_port: u16,
    pub http_port: u16,
    dir: PathBuf,
    args: Vec<String>,
    /// Removes the data directory, unless the test brought its own.
    _owned: Option<tempfile::TempDir>,
}

impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// With further arguments of `serve`.
    pub fn with(args: &[&str]) -> Server {
        let owned = tempfile::Builder::new().prefix("tidewater-").tempdir().unwrap();
        let mut server = Server::on(&owned.path().join("data"), args);
        server._owned = Some(owned);
        server
    }

    /// On a data directory that the test keeps.
    pub fn on(dir: &Path, args: &[&str]) -> Server {
        match Server::try_on(dir, args, &[]) {
            Ok(server) => server,
            Err(why) => panic!("the server did not start: {why}"),
        }
    }

    /// With these variables in its environment. Error: why it did not start.
    pub fn try_on(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<Server, String> {
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        // Between choosing a free port and taking it another test may take it: then choose again.
        for _ in 0..5 {
            let (child, sql_port, http_port) = spawn(dir, &args, environment);
            let mut server = Server { child, sql_port, http_port, dir: dir.to_path_buf(), args: args.clone(), _owned: None };
            match server.wait_until_ready() {
                Ok(()) => return Ok(server),
                Err(why) if why.contains("cannot listen") => continue,
                Err(why) => return Err(why),
            }
        }
        Err("no free ports".to_string())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.sql_port).unwrap_or_else(|e| panic!("cannot connect: {e}\n{}", self.log()))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything the server has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_path(&self.dir)).unwrap_or_default()
    }

    /// `kill -9`, at once.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }

    /// SIGTERM; waits for the clean exit.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < START_TIMEOUT, "the server does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same data directory and arguments, after `kill` or `terminate`.
    pub fn restart(&mut self) {
        let owned = self._owned.take();
        let (dir, args) = (self.dir.clone(), self.args.clone());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        *self = Server::on(&dir, &args);
        self._owned = owned;
    }

    /// Status line and body of a GET.
    pub fn http(&self, path: &str) -> Result<(String, String), String> {
        http_get(self.http_port, path)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("{status}: {}", self.log()));
            }
            if http_get(self.http_port, "/readyz").is_ok_and(|(status, _)| status.contains(" 200 ")) {
                return Ok(());
            }
            if start.elapsed() > START_TIMEOUT {
                return Err(format!("not ready after {START_TIMEOUT:?}: {}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the server's last lines:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// Runs the program to its end: for starts that must fail.
pub fn run_to_end(args: &[&str]) -> (ExitStatus, String, String) {
    let output = Command::new(BINARY).args(args).env("TIDEWATER_LOG", "error").stdin(Stdio::null()).output().unwrap();
    (output.status, String::from_utf8_lossy(&output.stdout).to_string(), String::from_utf8_lossy(&output.stderr).to_string())
}

/// A port that nothing listens on. It is below the range that the kernel takes ports of outgoing connections from
/// (`ip_local_port_range`), or one of those could have it before the server does; and no two calls of one run get the same.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `width` ports in a row that nothing listens on.
pub fn free_ports(width: u16) -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Two runs on one machine begin at different places.
    let begin = std::process::id().wrapping_mul(2_654_435_761);
    loop {
        let step = TAKEN.fetch_add(u32::from(width), Ordering::Relaxed);
        assert!(step < COUNT, "no free port");
        let port = (FIRST + begin.wrapping_add(step) % COUNT) as u16;
        if (port..port + width).all(|p| TcpListener::bind((Ipv4Addr::LOCALHOST, p)).is_ok()) {
            return port;
        }
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}

fn spawn(dir: &Path, args: &[String], environment: &[(&str, &str)]) -> (Child, u16, u16) {
    let (sql_port, http_port) = (free_port(), free_port());
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log_path(dir)).unwrap();
    let child = Command::new(BINARY)
        .arg("serve")
        .args(["--data-dir", &dir.to_string_lossy()])
        .args(["--listen", &format!("127.0.0.1:{sql_port}"), "--http", &format!("127.0.0.1:{http_port}")])
        // A test machine runs several servers at once; what a test wants otherwise it says.
        .env("TIDEWATER_MEMORY", "1GiB")
        .env("TIDEWATER_THREADS", "2")
        .envs(environment.iter().copied())
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    (child, sql_port, http_port)
}

fn http_get(port: u16, path: &str) -> Result<(String, String), String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|e| e.to_string())?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").map_err(|e| e.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|e| e.to_string())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    Ok((head.lines().next().unwrap_or_default().to_string(), body.to_string()))
}
