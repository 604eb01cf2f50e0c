//! The program as its operator meets it: options, refusals in one line, signals, HTTP.

use crate::server::{Server, free_port, run_to_end};
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// The one line on standard error of a start that fails.
fn refusal(args: &[&str]) -> String {
    let (status, _, stderr) = run_to_end(args);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line, not:\n{stderr}");
    stderr.trim().to_string()
}

/// Free ones, for SQL and HTTP.
fn addresses() -> (String, String) {
    let (listen, http) = (free_port(), free_port());
    (format!("127.0.0.1:{listen}"), format!("127.0.0.1:{http}"))
}

fn serve_on<'a>(dir: &'a str, listen: &'a str, http: &'a str) -> Vec<&'a str> {
    vec!["serve", "--data-dir", dir, "--listen", listen, "--http", http]
}

#[test]
fn version_and_help() {
    let (status, stdout, _) = run_to_end(&["--version"]);
    assert!(status.success() && stdout.trim() == format!("tidewater {}", env!("CARGO_PKG_VERSION")), "{stdout}");
    let (status, stdout, _) = run_to_end(&["serve", "--help"]);
    assert!(status.success());
    for word in ["--data-dir", "TIDEWATER_LISTEN", "127.0.0.1:8433", "127.0.0.1:8434", "--memory", "--threads", "--checkpoint-interval", "TIDEWATER_CONFIG"] {
        assert!(stdout.contains(word), "{word} is missing:\n{stdout}");
    }
}

#[test]
fn a_second_server_on_a_data_directory_is_refused() {
    let server = Server::start();
    let dir = server.dir().to_string_lossy().to_string();
    let (listen, http) = addresses();
    let said = refusal(&serve_on(&dir, &listen, &http));
    assert!(said.contains("is in use by another server") && said.contains(&server.pid().to_string()), "{said}");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = format!("127.0.0.1:{}", free_port());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a").to_string_lossy().to_string();
    let said = refusal(&serve_on(&path, &taken, &free));
    assert!(said.contains(&format!("cannot listen on {taken}")) && said.contains("--listen"), "{said}");
    let said = refusal(&serve_on(&path, &free, &taken));
    assert!(said.contains(&format!("cannot listen on {taken}")) && said.contains("--http"), "{said}");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_refused() {
    let (listen, http) = addresses();
    // Permissions do not stop the administrator, a file in the way does; /proc takes no directory from anyone.
    let file = tempfile::NamedTempFile::new().unwrap();
    let said = refusal(&serve_on(&file.path().to_string_lossy(), &listen, &http));
    assert!(said.contains("data directory") && said.contains("--data-dir"), "{said}");
    let said = refusal(&serve_on("/proc/tidewater", &listen, &http));
    assert!(said.contains("data directory \"/proc/tidewater\""), "{said}");
}

/// A small disk of its own, if this machine lets us have one: only the administrator may mount.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(options: &str) -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tidewater-test"]).arg(dir.path()).stderr(Stdio::null()).status();
        mounted.is_ok_and(|s| s.success()).then_some(Disk(dir))
    }

    fn refusal(&self) -> String {
        let (listen, http) = addresses();
        refusal(&serve_on(&self.0.path().join("data").to_string_lossy(), &listen, &http))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0.path()).status().ok();
    }
}

#[test]
fn a_full_or_read_only_disk_is_refused() {
    let Some(disk) = Disk::mount("ro") else {
        println!("not run: mounting a small disk needs the administrator");
        return;
    };
    let said = disk.refusal();
    assert!(said.contains("read-only"), "{said}");
    // The first has no room for our own files, the second none for the store's.
    for size in ["size=4k", "size=64k"] {
        let said = Disk::mount(size).unwrap().refusal();
        assert!(said.contains("full") || said.to_lowercase().contains("no space"), "{size}: {said}");
    }
}

#[test]
fn a_data_directory_of_a_newer_version_is_refused() {
    let mut server = Server::start();
    assert!(server.terminate().success());
    std::fs::write(server.dir().join("VERSION"), "1000\n").unwrap();
    let dir = server.dir().to_string_lossy().to_string();
    let (listen, http) = addresses();
    let said = refusal(&serve_on(&dir, &listen, &http));
    assert!(said.contains("format 1000, newer than"), "{said}");
}

#[test]
fn wrong_settings_are_refused() {
    for (args, expected) in [
        (vec!["serve", "--memory", "lots"], "\"lots\" is not a size"),
        (vec!["serve", "--threads", "0"], "not between 1 and"),
        (vec!["serve", "--checkpoint-interval", "often"], "not a duration"),
        (vec!["serve", "--listen", "everywhere"], "setting \"listen\""),
        (vec!["serve", "--config", "/nonexistent/tidewater.toml"], "cannot read the configuration file"),
    ] {
        let said = refusal(&args);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn a_file_the_environment_and_the_command_line_set_options() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidewater.toml");
    std::fs::write(&file, "checkpoint_interval = \"250ms\"\nlog_format = \"json\"\n").unwrap();
    let server = Server::with(&["--config", &file.to_string_lossy()]);
    let log = server.log();
    assert!(log.lines().next().is_some_and(|l| l.starts_with('{') && l.ends_with('}')), "{log}");
}

#[test]
fn endpoints_answer() {
    let server = Server::start();
    for (path, expected) in [("/healthz", "ok"), ("/readyz", "ready"), ("/metrics", "# TYPE tidewater_process_resident_bytes gauge")] {
        let (status, body) = server.http(path).unwrap();
        assert!(status.contains(" 200 ") && body.contains(expected), "{path}: {status} {body}");
    }
    assert!(server.http("/elsewhere").unwrap().0.contains(" 404 "));
}

#[test]
fn signals_end_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        server.connect().run("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)");
        server.signal(signal);
        assert!(server.wait().success(), "SIG{signal}: {}", server.log());
        server.restart();
        assert_eq!(server.connect().one("SELECT sum(a) FROM t"), "3", "after SIG{signal}");
    }
}

#[test]
fn any_user_may_connect_on_loopback_but_to_one_database() {
    let server = Server::start();
    let mut client = crate::client::Client::connect_as(server.sql_port, "somebody", "tidewater").unwrap();
    assert_eq!(client.one("SELECT 1"), "1");
    let refused = crate::client::Client::connect_as(server.sql_port, "tidewater", "elsewhere").err().unwrap();
    assert_eq!((refused.code.as_str(), refused.message.as_str()), ("3D000", "database \"elsewhere\" does not exist"));
}

#[test]
fn errors_carry_code_message_and_hint() {
    let server = Server::start();
    let mut client = server.connect();
    let error = client.fails("CREATE SOURCE s (a BIGINT) WITH (connector = 'nexmark', event_tpye = 'bid')");
    assert_eq!(error.code, "22023");
    assert!(error.message.contains("event_tpye") && error.hint.contains("did you mean \"event_type\"?"), "{error}");
    assert_eq!(client.fails("SELECT * FROM nowhere").message, "relation \"nowhere\" does not exist");
    // The connection goes on, and other clients never notice.
    assert_eq!(client.one("SELECT 1"), "1");
    assert_eq!(client.prepared("SELECT $1::int + 1", &[&41i32]).unwrap()[0].get::<_, i32>(0), 42);
}
