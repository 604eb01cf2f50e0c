//! Roles, passwords, encryption, privileges, secrets and the audit log, as clients and the disk see them.

use crate::client::{Client, Row, SqlError};
use crate::server::{BINARY, Server, free_port, run_to_end};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn connect(server: &Server, words: &str) -> Result<Client, SqlError> {
    Client::connect_with(server.sql_port, &format!("dbname=tidewater {words}"))
}

fn as_role(server: &Server, role: &str) -> Client {
    connect(server, &format!("user={role}")).unwrap()
}

fn refused(server: &Server, words: &str) -> (String, String) {
    let error = connect(server, words).err().unwrap_or_else(|| panic!("{words} was let in"));
    (error.code, error.message)
}

fn said(error: &SqlError) -> String {
    format!("{} {}", error.code, error.message)
}

/// Every statement is refused with these words.
fn check_refused(client: &mut Client, cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(said(&client.fails(sql)), *expected, "{sql}");
    }
}

/// Files under a folder that hold these bytes.
fn holding(folder: &Path, bytes: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if memchr::memmem::find(&std::fs::read(&path).unwrap_or_default(), bytes.as_bytes()).is_some() {
            found.push(path);
        }
    }
    found
}

#[test]
fn roles_are_what_they_were_after_a_kill() {
    let mut server = Server::start();
    let mut owner = server.connect();
    owner.run("CREATE ROLE readers");
    owner.run("CREATE USER ann WITH CREATEDB CONNECTION LIMIT 5 VALID UNTIL '2040-01-01' IN ROLE readers");
    owner.run("CREATE ROLE gone; CREATE ROLE team ROLE ann ADMIN readers");
    owner.run("ALTER ROLE ann RENAME TO anna; ALTER USER anna NOCREATEDB CREATEROLE; DROP ROLE gone; DROP ROLE IF EXISTS gone");
    assert_eq!(owner.notices().pop().unwrap().message, "role \"gone\" does not exist, skipping");
    let all = "SELECT oid, rolname, rolcanlogin, rolcreatedb, rolcreaterole, rolconnlimit, rolvaliduntil FROM pg_roles ORDER BY oid";
    let members =
        "SELECT r.rolname, m.rolname, admin_option FROM pg_auth_members JOIN pg_roles r ON r.oid = roleid JOIN pg_roles m ON m.oid = member ORDER BY 1, 2";
    let before = (owner.texts(all), owner.texts(members));
    let told: Vec<String> = before.0.iter().map(|r| r[1..].join("|")).collect();
    assert_eq!(told, ["tidewater|t|t|t|-1|NULL", "readers|f|f|f|-1|NULL", "anna|t|f|t|5|2040-01-01 00:00:00+00", "team|f|f|f|-1|NULL"]);
    assert_eq!(before.1, [["readers", "anna", "f"], ["team", "anna", "f"], ["team", "readers", "t"]]);
    assert_eq!(owner.texts("SELECT 'anna'::regrole, pg_get_userbyid('anna'::regrole::oid)"), [["anna", "anna"]]);
    check_refused(
        &mut owner,
        &[
            ("CREATE ROLE anna", "42710 role \"anna\" already exists"),
            ("CREATE ROLE pg_x", "42939 role name \"pg_x\" is reserved"),
            ("ALTER ROLE nobody LOGIN", "42704 role \"nobody\" does not exist"),
            ("DROP ROLE tidewater", "55006 current user cannot be dropped"),
            ("CREATE ROLE x REPLICATION", "0A000 this option of a role is not supported"),
            ("CREATE ROLE x LOGIN LOGIN", "42601 conflicting or redundant options"),
            ("BEGIN; CREATE ROLE x", "0A000 CREATE ROLE in a transaction block is not supported"),
        ],
    );
    owner.run("ROLLBACK");
    check_refused(&mut owner, &[("GRANT team TO readers; GRANT readers TO team", "0LP01 role \"readers\" is a member of role \"team\"")]);
    server.kill();
    server.restart();
    let mut owner = server.connect();
    assert_eq!((owner.texts(all), owner.texts(members)), before);
}

#[test]
fn a_role_is_dropped_when_nothing_is_its_own() {
    let server = Server::start();
    let mut owner = server.connect();
    owner.run("CREATE ROLE ann LOGIN; CREATE ROLE bob; GRANT CREATE ON SCHEMA public TO ann, bob; GRANT ann TO tidewater");
    as_role(&server, "ann").run("CREATE TABLE hers (a int)");
    owner.run("CREATE TABLE t (a int); GRANT SELECT ON t TO ann");
    let error = owner.fails("DROP ROLE ann");
    assert_eq!(said(&error), "2BP01 role \"ann\" cannot be dropped because some objects depend on it");
    assert_eq!(error.detail, "owner of table hers\nprivileges for table t\nprivileges for schema public");
    owner.run("REASSIGN OWNED BY ann TO bob; REVOKE ALL ON t FROM ann; REVOKE CREATE ON SCHEMA public FROM ann");
    owner.run("DROP ROLE ann");
    assert_eq!(owner.one("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'hers'"), "bob");
    assert_eq!(said(&owner.fails("DROP OWNED BY bob")), "0A000 DROP OWNED is not supported");
}

#[test]
fn a_session_takes_on_the_roles_it_may() {
    let server = Server::start();
    let mut owner = server.connect();
    owner.run("CREATE ROLE team; CREATE ROLE ann LOGIN NOINHERIT IN ROLE team; CREATE ROLE bob LOGIN");
    owner.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1); GRANT SELECT ON t TO team");
    let mut ann = as_role(&server, "ann");
    assert_eq!(ann.texts("SELECT current_user, session_user, current_setting('is_superuser')"), [["ann", "ann", "off"]]);
    assert_eq!(said(&ann.fails("SELECT * FROM t")), "42501 permission denied for table t");
    ann.run("SET ROLE team");
    assert_eq!(ann.texts("SELECT current_user, session_user, (SELECT a FROM t)"), [["team", "ann", "1"]]);
    assert_eq!(ann.one("SHOW role"), "team");
    ann.run("RESET ROLE");
    check_refused(
        &mut ann,
        &[
            ("SELECT * FROM t", "42501 permission denied for table t"),
            ("SET ROLE bob", "42501 permission denied to set role \"bob\""),
            ("SET ROLE tidewater", "42501 permission denied to set role \"tidewater\""),
            ("SET ROLE nobody", "22023 role \"nobody\" does not exist"),
            ("SET SESSION AUTHORIZATION bob", "42501 permission denied to set session authorization"),
            ("SELECT set_config('role', 'bob', false)", "42501 permission denied to set role \"bob\""),
        ],
    );
    assert_eq!(refused(&server, "user=ann options='-c role=team'").0, "22023");
    // Until the transaction ends.
    ann.run("BEGIN; SET LOCAL ROLE team");
    assert_eq!(ann.one("SELECT current_user"), "team");
    ann.run("COMMIT");
    assert_eq!(ann.one("SELECT current_user"), "ann");
    owner.run("SET SESSION AUTHORIZATION ann");
    assert_eq!(said(&owner.fails("SELECT * FROM t")), "42501 permission denied for table t");
    // As who connected, so that there is a way back.
    owner.run("SET SESSION AUTHORIZATION bob; RESET SESSION AUTHORIZATION; SELECT * FROM t");
    owner.run("SET ROLE ann");
    owner.run("DISCARD ALL");
    assert_eq!(owner.texts("SELECT current_user, session_user"), [["tidewater", "tidewater"]]);
    // A role that is gone leaves no rights, whoever has its name by then.
    owner.run("CREATE ROLE temp LOGIN; GRANT SELECT ON t TO temp");
    let mut orphan = as_role(&server, "temp");
    assert_eq!(orphan.one("SELECT a FROM t"), "1");
    owner.run("REVOKE SELECT ON t FROM temp; DROP ROLE temp; CREATE ROLE temp LOGIN SUPERUSER");
    assert_eq!(said(&orphan.fails("SELECT a FROM t")), "42501 permission denied for table t");
}

#[test]
fn a_password_is_asked_for_as_soon_as_there_is_one() {
    const PASSWORD: &str = "correct horse battery";
    let mut server = Server::start();
    let mut owner = server.connect();
    // Nobody has one: this machine is trusted, and whoever is no role is the owner.
    assert_eq!(as_role(&server, "somebody").one("SELECT current_user"), "tidewater");
    owner.run("CREATE ROLE group1; CREATE ROLE plain LOGIN; CREATE ROLE late LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'");
    owner.run(&format!("CREATE USER ann PASSWORD '{PASSWORD}' CONNECTION LIMIT 1; ALTER ROLE tidewater PASSWORD '{PASSWORD}'"));
    for (user, password) in [("ann", "wrong"), ("nobody", PASSWORD), ("plain", PASSWORD), ("late", "x"), ("group1", PASSWORD)] {
        let answer = refused(&server, &format!("user={user} password='{password}'"));
        assert_eq!(answer, ("28P01".to_string(), format!("password authentication failed for user \"{user}\"")));
    }
    let ann = connect(&server, &format!("user=ann password='{PASSWORD}'")).unwrap();
    let again = refused(&server, &format!("user=ann password='{PASSWORD}'"));
    assert_eq!(again, ("53300".to_string(), "too many connections for role \"ann\"".to_string()));
    drop(ann);
    // A verifier is taken as it is.
    let verifier = "SCRAM-SHA-256$4096:TU7RnAr/xDGLLDwMJvsMaA==$8ksRSJZk8RzjgGWJNqe3j76YoKpKd2jU8nJrfdxGG3U=:AwSGnqJyYUoyv62rOgVHTHd6ACSFrGn/MBsgC6jIrOA=";
    owner.run(&format!("ALTER ROLE plain PASSWORD '{verifier}'"));
    assert_eq!(refused(&server, &format!("user=plain password='{verifier}'")).0, "28P01");
    // What others see of the statement, and of the password.
    let mut other = connect(&server, &format!("user=tidewater password='{PASSWORD}'")).unwrap();
    assert_eq!(other.one("SELECT query FROM pg_stat_activity WHERE query LIKE 'ALTER%'"), "ALTER ROLE plain PASSWORD '********'");
    assert_eq!(owner.one("SELECT count(*) FROM tidewater.audit_log WHERE statement LIKE '%PASSWORD ''********''%'"), "4");
    assert_eq!(
        owner.texts("SELECT usename, passwd FROM pg_shadow ORDER BY 1").concat().join(" "),
        "ann ******** late ******** plain ******** tidewater ********"
    );
    server.kill();
    server.restart();
    connect(&server, &format!("user=tidewater password='{PASSWORD}'")).unwrap().run("ALTER ROLE ann PASSWORD NULL");
    assert_eq!(refused(&server, &format!("user=ann password='{PASSWORD}'")).0, "28P01");
    assert!(server.terminate().success());
    assert_eq!(holding(server.dir(), PASSWORD), Vec::<PathBuf>::new());
    assert!(!server.log().contains(PASSWORD));
}

/// A connection that has said who it is, byte by byte.
fn introduced(server: &Server, user: &str) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", server.sql_port)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let body = format!("user\0{user}\0database\0tidewater\0\0");
    let mut packet = (body.len() as i32 + 8).to_be_bytes().to_vec();
    packet.extend((3i32 << 16).to_be_bytes());
    packet.extend(body.bytes());
    socket.write_all(&packet).unwrap();
    socket
}

/// The next message: its type, and what is in it.
fn message(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    socket.read_exact(&mut head).unwrap();
    let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
    socket.read_exact(&mut body).unwrap();
    (head[0], body)
}

/// Salt and rounds that a user is told.
fn challenge(server: &Server, user: &str) -> (String, String) {
    let mut socket = introduced(server, user);
    assert_eq!(message(&mut socket), (b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec()));
    let first = b"n,,n=,r=abcdefgh";
    let body = [&b"SCRAM-SHA-256\0"[..], &(first.len() as i32).to_be_bytes(), first].concat();
    socket.write_all(&[&b"p"[..], &(body.len() as i32 + 4).to_be_bytes(), &body].concat()).unwrap();
    let (kind, body) = message(&mut socket);
    assert_eq!((kind, &body[..4]), (b'R', &b"\0\0\0\x0b"[..]));
    let text = String::from_utf8(body[4..].to_vec()).unwrap();
    let mut parts = text.split(',').skip(1).map(str::to_string);
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn nobody_learns_which_roles_there_are_or_sends_much_before_the_password() {
    let mut server = Server::start();
    server.connect().run("CREATE ROLE ann LOGIN PASSWORD 'x'");
    let (ann, nobody) = (challenge(&server, "ann"), challenge(&server, "nobody"));
    assert_eq!((ann.0.len(), &ann.1), (nobody.0.len(), &nobody.1));
    assert!(ann.0 != nobody.0 && ann == challenge(&server, "ann") && nobody == challenge(&server, "nobody") && nobody != challenge(&server, "noone"));
    server.kill();
    server.restart();
    assert_eq!((challenge(&server, "ann"), challenge(&server, "nobody")), (ann, nobody));
    // A query of 200 MB is not waited for.
    let mut socket = introduced(&server, "ann");
    message(&mut socket);
    socket.write_all(&[b'Q', 0x0c, 0, 0, 0]).unwrap();
    let (kind, body) = message(&mut socket);
    assert!(kind == b'E' && String::from_utf8_lossy(&body).contains("08P01"), "{}", String::from_utf8_lossy(&body));
}

#[test]
fn who_fails_too_often_waits() {
    let server = Server::with(&["--auth", "scram"]);
    let wrong = || refused(&server, "user=tidewater password=x");
    assert_eq!(wrong().0, "28P01");
    let start = std::time::Instant::now();
    let threads: Vec<_> = (0..24)
        .map(|_| {
            (
                server.sql_port,
                std::thread::spawn({
                    let port = server.sql_port;
                    move || Client::connect_with(port, "dbname=tidewater user=tidewater password=x").err().unwrap().code
                }),
            )
        })
        .collect();
    let codes: Vec<String> = threads.into_iter().map(|(_, t)| t.join().unwrap()).collect();
    assert!(start.elapsed().as_millis() >= 200, "failures are answered late");
    assert!(codes.iter().all(|c| c == "28P01" || c == "53300"), "{codes:?}");
    assert_eq!(wrong(), ("53300".to_string(), "too many failed authentication attempts from \"127.0.0.1\"".to_string()));
}

#[test]
fn listening_beyond_this_machine_needs_encryption_and_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let (data, listen, http) = (dir.path().join("d").to_string_lossy().to_string(), format!("0.0.0.0:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let serve = ["serve", "--data-dir", &data, "--listen", &listen, "--http", &http];
    let (status, _, said) = run_to_end(&serve);
    assert!(!status.success() && said.contains("is reached from other machines, without encryption") && said.contains("--insecure-listen"), "{said}");
    let certificates = Certificates::make(dir.path());
    let (status, _, said) = run_to_end(&[&serve[..], &certificates.options(), &["--auth", "trust"]].concat());
    assert!(!status.success() && said.contains("without passwords"), "{said}");
    let (status, _, said) = run_to_end(&[&serve[..], &["--tls-cert", "nowhere.pem", "--tls-key", "nowhere.key"]].concat());
    assert!(!status.success() && said.contains("cannot use the certificate \"nowhere.pem\""), "{said}");
    assert!(!Path::new(&data).exists(), "nothing was begun");
}

/// An authority, the server's certificate for localhost, and one of a client whose name is `ann`.
struct Certificates {
    dir: PathBuf,
    paths: [String; 2],
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").current_dir(dir).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Certificates {
    fn make(dir: &Path) -> Certificates {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        openssl(dir, &[&["req", "-x509", "-days", "30", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem"], &key[..]].concat());
        let certificates = Certificates { dir: dir.to_path_buf(), paths: ["server.pem", "server.key"].map(|f| dir.join(f).to_string_lossy().to_string()) };
        certificates.sign("server", "localhost");
        certificates.sign("ann", "ann");
        certificates
    }

    fn sign(&self, file: &str, name: &str) {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let (key_file, request, signed) = (format!("{file}.key"), format!("{file}.csr"), format!("{file}.pem"));
        openssl(&self.dir, &[&["req", "-subj", &format!("/CN={name}"), "-keyout", &key_file, "-out", &request], &key[..]].concat());
        std::fs::write(self.dir.join("ext"), format!("subjectAltName=DNS:{name}\n")).unwrap();
        let sign = ["x509", "-req", "-days", "30", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ext", "-in", &request, "-out", &signed];
        openssl(&self.dir, &sign);
        // libpq takes no key that others may read.
        assert!(Command::new("chmod").args(["600", &key_file]).current_dir(&self.dir).status().unwrap().success());
    }

    fn options(&self) -> [&str; 4] {
        ["--tls-cert", &self.paths[0], "--tls-key", &self.paths[1]]
    }

    fn path(&self, file: &str) -> String {
        self.dir.join(file).to_string_lossy().to_string()
    }
}

fn psql(server: &Server, words: &str, sql: &str) -> Output {
    let connection = format!("host=localhost hostaddr=127.0.0.1 port={} dbname=tidewater {words}", server.sql_port);
    Command::new("psql").args(["-XAt", "-d", &connection, "-c", sql]).env_remove("PGPASSWORD").stdin(Stdio::null()).output().unwrap()
}

fn psql_says(server: &Server, words: &str, sql: &str) -> String {
    let output = psql(server, words, sql);
    assert!(output.status.success(), "{words}: {}\n{}", String::from_utf8_lossy(&output.stderr), server.log());
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn psql_fails(server: &Server, words: &str) -> String {
    let output = psql(server, words, "SELECT 1");
    assert!(!output.status.success(), "{words} was let in");
    String::from_utf8_lossy(&output.stderr).to_string()
}

#[test]
fn connections_are_encrypted_and_passwords_bound_to_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(dir.path());
    let ca = certificates.path("ca.pem");
    let mut options = certificates.options().to_vec();
    options.extend(["--tls-client-ca", &ca]);
    let server = Server::with(&options);
    server.connect().run("CREATE ROLE ann LOGIN PASSWORD 'x'; CREATE ROLE bob LOGIN PASSWORD 'y'");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql_says(&server, "user=ann password=x sslmode=require", encrypted), "t");
    assert_eq!(psql_says(&server, "user=ann password=x sslmode=disable", encrypted), "f");
    let verified = format!("sslmode=verify-full sslrootcert={ca}");
    assert_eq!(psql_says(&server, &format!("user=ann password=x channel_binding=require {verified}"), "SELECT current_user"), "ann");
    assert!(
        psql_fails(&server, &format!("user=ann password=wrong channel_binding=require {verified}")).contains("password authentication failed for user \"ann\"")
    );
    assert!(psql_fails(&server, "user=ann password=x channel_binding=require sslmode=disable").contains("channel binding"));
    // Who shows a certificate of his name needs no password, and nobody else's name.
    let shown = format!("{verified} sslcert={} sslkey={}", certificates.path("ann.pem"), certificates.path("ann.key"));
    assert_eq!(psql_says(&server, &format!("user=ann {shown}"), "SELECT current_user"), "ann");
    assert!(psql_fails(&server, &format!("user=bob password=no {shown}")).contains("password authentication failed for user \"bob\""));
    assert_eq!(psql_says(&server, &format!("user=bob password=y {shown}"), "SELECT current_user"), "bob");
    // PostgreSQL 17's clients may begin with the handshake.
    let address = format!("127.0.0.1:{}", server.sql_port);
    let direct = Command::new("openssl").args(["s_client", "-connect", &address, "-alpn", "postgresql", "-CAfile", &ca]).stdin(Stdio::null()).output().unwrap();
    let direct = String::from_utf8_lossy(&direct.stdout).to_string();
    assert!(direct.contains("ALPN protocol: postgresql") && direct.contains("Verify return code: 0"), "{direct}");
    // Much data go the same way.
    assert_eq!(
        psql_says(&server, &format!("user=ann {shown}"), "SELECT count(*), max(length(repeat('x', 1000))) FROM generate_series(1, 20000)"),
        "20000|1000"
    );
    assert_eq!(psql_says(&server, &format!("user=ann {shown}"), "SELECT repeat('x', 100000) FROM generate_series(1, 50)").len(), 50 * 100_001 - 1);
}

#[test]
fn certificates_are_read_again_at_sighup_and_bad_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(dir.path());
    let server = Server::with(&certificates.options());
    let verified = format!("user=tidewater sslmode=verify-full sslrootcert={}", certificates.path("ca.pem"));
    assert_eq!(psql_says(&server, &verified, "SELECT 1"), "1");
    let until_logged = |words: &str| {
        let start = std::time::Instant::now();
        while !server.log().contains(words) {
            assert!(start.elapsed().as_secs() < 30, "not logged: {words}");
            std::thread::yield_now();
        }
    };
    std::fs::write(certificates.path("server.pem"), "nonsense").unwrap();
    server.signal("HUP");
    until_logged("certificates stay as they were");
    assert_eq!(psql_says(&server, &verified, "SELECT 1"), "1");
    // A certificate for another name.
    certificates.sign("server", "elsewhere");
    server.signal("HUP");
    until_logged("certificates were read again");
    assert!(psql_fails(&server, &verified).contains("does not match host name"));
}

const OBJECTS: &str = "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 10), (2, 20);
    CREATE VIEW v AS SELECT a FROM t WHERE id = 1; CREATE MATERIALIZED VIEW mv AS SELECT sum(a) AS s FROM t;
    CREATE SOURCE src (n bigint) WITH (connector = 'datagen', rows_per_second = 1);
    CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN";

fn with_objects() -> (Server, Client) {
    let server = Server::start();
    let mut owner = server.connect();
    for sql in OBJECTS.split(';') {
        owner.run(sql);
    }
    (server, owner)
}

#[test]
fn nothing_is_done_without_the_privilege() {
    let (server, mut owner) = with_objects();
    let mut ann = as_role(&server, "ann");
    check_refused(
        &mut ann,
        &[
            ("SELECT * FROM t", "42501 permission denied for table t"),
            ("SELECT * FROM v", "42501 permission denied for view v"),
            ("SELECT * FROM mv", "42501 permission denied for materialized view mv"),
            ("SELECT 1 WHERE EXISTS (SELECT FROM t)", "42501 permission denied for table t"),
            ("WITH x AS (SELECT * FROM t) SELECT 1", "42501 permission denied for table t"),
            ("EXPLAIN SELECT * FROM t", "42501 permission denied for table t"),
            ("EXPLAIN CREATE MATERIALIZED VIEW x AS SELECT * FROM src", "42501 permission denied for foreign table src"),
            ("INSERT INTO t VALUES (3, 3)", "42501 permission denied for table t"),
            ("UPDATE t SET a = 1", "42501 permission denied for table t"),
            ("DELETE FROM t", "42501 permission denied for table t"),
            ("COPY t TO STDOUT", "42501 permission denied for table t"),
            ("COPY (SELECT * FROM t) TO STDOUT", "42501 permission denied for table t"),
            ("COPY t FROM STDIN", "42501 permission denied for table t"),
            ("DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t", "42501 permission denied for table t"),
            ("CREATE TABLE mine (a int)", "42501 permission denied for schema public"),
            ("CREATE VIEW mine AS SELECT 1 AS a", "42501 permission denied for schema public"),
            ("CREATE SINK s FROM t WITH (connector = 'blackhole')", "42501 permission denied for schema public"),
            ("DROP TABLE t", "42501 must be owner of table t"),
            ("DROP MATERIALIZED VIEW mv CASCADE", "42501 must be owner of materialized view mv"),
            ("COMMENT ON TABLE t IS 'x'", "42501 must be owner of table t"),
            ("CREATE INDEX ON t (a)", "42501 must be owner of table t"),
            ("ALTER TABLE t OWNER TO ann", "42501 must be owner of table t"),
            ("GRANT SELECT ON t TO ann", "42501 permission denied for table t"),
            ("GRANT USAGE ON SCHEMA public TO ann", "42501 permission denied for schema public"),
            ("CREATE ROLE x", "42501 permission denied to create role"),
            ("ALTER ROLE bob LOGIN", "42501 permission denied"),
            ("ALTER ROLE tidewater PASSWORD 'x'", "42501 must be superuser to alter superuser roles or change superuser attribute"),
            ("DROP ROLE bob", "42501 permission denied to drop role"),
            ("GRANT tidewater TO ann", "42501 must be superuser to grant or revoke role \"tidewater\""),
            ("GRANT bob TO ann", "42501 must have admin option on role \"bob\""),
            ("CREATE SECRET s AS 'x'", "42501 permission denied for schema public"),
            ("SELECT * FROM pg_authid", "42501 permission denied for table pg_authid"),
            ("SELECT * FROM pg_shadow", "42501 permission denied for view pg_shadow"),
            ("SELECT * FROM tidewater.audit_log", "42501 permission denied for view audit_log"),
        ],
    );
    // What is told to everybody.
    assert_eq!(ann.one("SELECT count(*) FROM pg_class WHERE relname IN ('t', 'v', 'mv', 'src')"), "4");
    ann.run("ALTER ROLE ann PASSWORD NULL");
    owner.run("GRANT SELECT, INSERT ON t TO ann; GRANT SELECT ON MATERIALIZED VIEW mv TO PUBLIC");
    assert_eq!(ann.texts("SELECT t.a, s FROM t, mv ORDER BY 1"), [["10", "30"], ["20", "30"]]);
    ann.run("INSERT INTO t VALUES (3, 30)");
    check_refused(
        &mut ann,
        &[
            ("UPDATE t SET a = 0 WHERE id = 1", "42501 permission denied for table t"),
            ("INSERT INTO t VALUES (3, 31) ON CONFLICT (id) DO UPDATE SET a = 31", "42501 permission denied for table t"),
            ("DELETE FROM t WHERE id = 3", "42501 permission denied for table t"),
            ("INSERT INTO t SELECT 7, a FROM v", "42501 permission denied for view v"),
            ("INSERT INTO t VALUES (7, (SELECT a FROM v))", "42501 permission denied for view v"),
            ("INSERT INTO t VALUES (7, 7) RETURNING (SELECT a FROM v)", "42501 permission denied for view v"),
            ("SELECT * FROM t ORDER BY (SELECT a FROM v)", "42501 permission denied for view v"),
            ("SELECT a, (SELECT max(v.a) FROM v WHERE v.a = t.a) FROM t", "42501 permission denied for view v"),
            ("SELECT * FROM t, LATERAL (SELECT * FROM v WHERE v.a = t.a) x", "42501 permission denied for view v"),
        ],
    );
    assert_eq!(ann.one("SELECT count(*) FROM t"), "3", "what is refused has written nothing");
    // Who creates roles makes no superusers, by no way round.
    owner.run("CREATE ROLE admins IN ROLE tidewater; ALTER ROLE bob CREATEROLE");
    let mut bob = as_role(&server, "bob");
    bob.run("CREATE ROLE made LOGIN; GRANT ann TO made; ALTER ROLE made PASSWORD NULL; DROP ROLE made");
    check_refused(
        &mut bob,
        &[
            ("CREATE ROLE x SUPERUSER", "42501 must be superuser to create superusers"),
            ("CREATE ROLE x IN ROLE tidewater", "42501 must be superuser to grant or revoke role \"tidewater\""),
            ("GRANT admins TO bob", "42501 must be superuser to grant or revoke role \"admins\""),
            ("ALTER ROLE admins PASSWORD 'x'", "42501 must be superuser to alter superuser roles or change superuser attribute"),
            ("ALTER ROLE bob SUPERUSER", "42501 must be superuser to alter superuser roles or change superuser attribute"),
        ],
    );
    owner.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO bob");
    bob.run("UPDATE t SET a = 0 WHERE id = 1; DELETE FROM t WHERE id = 3; SELECT * FROM v");
    owner.run("REVOKE USAGE ON SCHEMA public FROM PUBLIC");
    assert_eq!(said(&bob.fails("SELECT * FROM t")), "42501 permission denied for schema public");
    assert_eq!(owner.one("SELECT count(*) FROM t"), "2");
}

#[test]
fn a_view_reads_with_the_rights_of_its_owner() {
    let (server, mut owner) = with_objects();
    owner.run("GRANT SELECT ON v TO ann; GRANT CREATE ON SCHEMA public TO bob; GRANT SELECT ON t TO bob");
    let mut ann = as_role(&server, "ann");
    assert_eq!(ann.one("SELECT a FROM v"), "10");
    assert_eq!(said(&ann.fails("SELECT v.a FROM v JOIN t ON true")), "42501 permission denied for table t");
    let mut bob = as_role(&server, "bob");
    bob.run("CREATE VIEW bobs AS SELECT * FROM t");
    bob.run("CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM bobs");
    bob.run("GRANT SELECT ON bobs, kept TO ann");
    assert_eq!(ann.one("SELECT count(*) FROM bobs"), "2");
    // The owner of the view loses his right, and with him all who read it; what is kept stays.
    owner.run("REVOKE SELECT ON t FROM bob");
    assert_eq!(said(&ann.fails("SELECT count(*) FROM bobs")), "42501 permission denied for table t");
    assert_eq!(said(&bob.fails("SELECT count(*) FROM bobs")), "42501 permission denied for table t");
    owner.run("INSERT INTO t VALUES (9, 9)");
    assert_eq!(ann.one("SELECT n FROM kept"), "3");
    assert_eq!(said(&bob.fails("CREATE VIEW more AS SELECT * FROM mv")), "42501 permission denied for materialized view mv");
    check_refused(
        &mut bob,
        &[
            ("CREATE MATERIALIZED VIEW more AS SELECT * FROM src", "42501 permission denied for foreign table src"),
            ("CREATE SINK more FROM mv WITH (connector = 'blackhole')", "42501 permission denied for materialized view mv"),
            ("EXPLAIN (STATE) CREATE MATERIALIZED VIEW more AS SELECT * FROM mv", "42501 permission denied for materialized view mv"),
        ],
    );
    // In a transaction block each statement is asked anew.
    let mut other = as_role(&server, "ann");
    other.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT a FROM v");
    owner.run("REVOKE SELECT ON v FROM ann");
    assert_eq!(said(&other.fails("SELECT a FROM v")), "42501 permission denied for view v");
    bob.run("DROP VIEW bobs CASCADE");
}

#[test]
fn a_revoke_reaches_statements_that_were_prepared_before() {
    let (server, mut owner) = with_objects();
    owner.run("GRANT SELECT ON t TO ann; CREATE ROLE team; GRANT SELECT ON mv TO team; GRANT team TO ann");
    let mut ann = as_role(&server, "ann");
    // The first is a look-up, which keeps its plan; the others are bound each time.
    let statements = ["SELECT a FROM t WHERE id = 1", "SELECT sum(a) FROM t"].map(|sql| ann.prepare(sql));
    let through_role = ann.prepare("SELECT s FROM mv");
    for statement in statements.iter().chain([&through_role]) {
        assert_eq!(ann.query(statement, &[]).len(), 1);
        assert_eq!(ann.query(statement, &[]).len(), 1);
    }
    ann.run("BEGIN; DECLARE c CURSOR FOR SELECT a FROM t ORDER BY 1");
    assert_eq!(ann.texts("FETCH 1 c"), [["10"]]);
    owner.run("REVOKE SELECT ON t FROM ann; REVOKE team FROM ann");
    // A cursor goes on over what it had begun.
    assert_eq!(ann.texts("FETCH 1 c"), [["20"]]);
    ann.run("COMMIT");
    for statement in &statements {
        assert_eq!(said(&ann.try_query(statement, &[]).unwrap_err()), "42501 permission denied for table t");
    }
    assert_eq!(said(&ann.try_query(&through_role, &[]).unwrap_err()), "42501 permission denied for materialized view mv");
    owner.run("GRANT SELECT ON t TO ann");
    assert_eq!(ann.query(&statements[0], &[]), [["10"]]);
}

#[test]
fn grants_are_handed_on_told_and_kept() {
    let (mut server, mut owner) = with_objects();
    owner.run("GRANT SELECT ON t TO ann WITH GRANT OPTION; GRANT UPDATE ON t TO ann; GRANT CREATE ON SCHEMA public TO ann");
    let mut ann = as_role(&server, "ann");
    ann.run("GRANT SELECT, UPDATE ON t TO bob");
    assert_eq!(ann.notices().pop().unwrap().message, "not all privileges were granted for table t");
    let acl = "SELECT relacl FROM pg_class WHERE relname = 't'";
    assert_eq!(owner.one(acl), "{tidewater=arwd/tidewater,ann=r*w/tidewater,bob=r/ann}");
    assert_eq!(said(&owner.fails("REVOKE SELECT ON t FROM ann")), "2BP01 dependent privileges exist");
    let of_t = "SELECT grantor, grantee, privilege_type, is_grantable FROM information_schema.role_table_grants WHERE table_name = 't' AND grantee IN ('ann', 'bob') ORDER BY 2, 3";
    let grants = [["tidewater", "ann", "SELECT", "YES"], ["tidewater", "ann", "UPDATE", "NO"], ["ann", "bob", "SELECT", "NO"]];
    assert_eq!(owner.texts(of_t), grants);
    let has = |who: &str, what: &str| format!("has_table_privilege('{who}', 't', '{what}')");
    let asked =
        format!("SELECT {}, {}, {}, {}", has("bob", "SELECT"), has("bob", "UPDATE, INSERT"), has("ann", "SELECT WITH GRANT OPTION"), has("ann", "DELETE"));
    assert_eq!(owner.texts(&asked), [["t", "f", "t", "f"]]);
    let mine = "SELECT has_table_privilege('t', 'INSERT'), has_schema_privilege('public', 'CREATE'), has_schema_privilege('public', 'USAGE'), pg_has_role('tidewater', 'MEMBER'), has_column_privilege('t', 'a', 'UPDATE')";
    assert_eq!(ann.texts(mine), [["f", "t", "t", "f", "t"]]);
    assert_eq!(said(&owner.fails("SELECT has_table_privilege('t', 'EAT')")), "22023 unrecognized privilege type: \"eat\"");
    check_refused(
        &mut owner,
        &[
            ("GRANT USAGE ON t TO ann", "0LP01 invalid privilege type USAGE for table"),
            ("GRANT SELECT ON t TO PUBLIC WITH GRANT OPTION", "0LP01 grant options can only be granted to roles"),
            ("GRANT SELECT (a) ON t TO ann", "0A000 privileges on columns are not supported"),
            ("GRANT SELECT ON nowhere TO ann", "42P01 relation \"nowhere\" does not exist"),
            ("GRANT SELECT ON t TO nobody", "42704 role \"nobody\" does not exist"),
            ("GRANT CONNECT ON DATABASE tidewater TO ann", "0A000 the privilege CONNECT is not supported"),
        ],
    );
    server.kill();
    server.restart();
    let mut owner = server.connect();
    assert_eq!(owner.one(acl), "{tidewater=arwd/tidewater,ann=r*w/tidewater,bob=r/ann}");
    assert_eq!(as_role(&server, "bob").texts("SELECT a FROM t ORDER BY 1"), [["10"], ["20"]]);
    owner.run("REVOKE SELECT ON t FROM ann CASCADE");
    assert_eq!(owner.one(acl), "{tidewater=arwd/tidewater,ann=w/tidewater}");
    // What was made belongs to who made it.
    let mut ann = as_role(&server, "ann");
    ann.run("CREATE TABLE hers (a int); CREATE INDEX ON hers (a); COMMENT ON TABLE hers IS 'x'");
    assert_eq!(owner.one("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'hers'"), "ann");
    owner.run("ALTER TABLE hers OWNER TO bob");
    assert_eq!(said(&ann.fails("DROP TABLE hers")), "42501 must be owner of table hers");
    as_role(&server, "bob").run("DROP TABLE hers");
}

#[test]
fn psql_tells_of_roles_and_grants() {
    let (server, mut owner) = with_objects();
    owner.run("GRANT SELECT ON t TO ann WITH GRANT OPTION; CREATE ROLE team NOLOGIN; GRANT team TO bob; GRANT CREATE ON SCHEMA public TO team");
    let shown = |command: &str| psql_says(&server, "user=tidewater", command);
    assert_eq!(shown("\\dp t"), "public|t|table|tidewater=arwd/tidewater\nann=r*/tidewater||");
    assert_eq!(shown("\\dp v"), "public|v|view|||");
    let roles = shown("\\du");
    assert!(roles.contains("tidewater|Superuser, Create role, Create DB, Bypass RLS|{}") && roles.contains("team|Cannot login|"), "{roles}");
    assert!(roles.contains("bob||{team}"), "{roles}");
    assert!(shown("\\dn+ public").starts_with("public|tidewater|tidewater=UC/tidewater\n=U/tidewater\nteam=C/tidewater|"), "{}", shown("\\dn+ public"));
}

#[test]
fn what_others_do_and_lost_is_not_told() {
    let (server, mut owner) = with_objects();
    owner.run("CREATE TABLE bad (a int)");
    owner.run("CREATE MATERIALIZED VIEW failing AS SELECT 1 / a AS x FROM bad");
    owner.run("INSERT INTO bad VALUES (0)");
    assert_eq!(owner.one("SELECT count(*) FROM tidewater.view_errors"), "1");
    let mut ann = as_role(&server, "ann");
    assert_eq!(ann.one("SELECT count(*) FROM tidewater.view_errors"), "0");
    owner.run("GRANT SELECT ON failing TO ann");
    assert_eq!(ann.one("SELECT count(*) FROM tidewater.view_errors"), "1");
    let others = "SELECT DISTINCT query, client_addr FROM pg_stat_activity WHERE usename <> current_user";
    assert_eq!(ann.texts(others), [["<insufficient privilege>", "NULL"]]);
    assert!(owner.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'ann' AND query LIKE '%DISTINCT query%'") == "1");
    let pid = owner.one("SELECT pg_backend_pid()");
    for function in ["pg_cancel_backend", "pg_terminate_backend"] {
        let error = said(&ann.fails(&format!("SELECT {function}({pid})")));
        assert!(error.starts_with("42501 must be a superuser to "), "{error}");
    }
    let mut second = as_role(&server, "ann");
    let pid = second.one("SELECT pg_backend_pid()");
    assert_eq!(ann.one(&format!("SELECT pg_terminate_backend({pid})")), "t");
    assert!(second.try_rows("SELECT 1").is_err());
    // The server's own files are not for everybody.
    owner.run("GRANT CREATE ON SCHEMA public TO ann");
    let file = "CREATE SOURCE f (line text) WITH (connector = 'file', path = '/etc/passwd') FORMAT PLAIN ENCODE CSV";
    assert_eq!(said(&ann.fails(file)), "42501 permission denied to use connector \"file\"");
}

#[test]
fn what_happened_is_in_the_audit_log() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("audit.jsonl").to_string_lossy().to_string();
    let mut server = Server::with(&["--audit-log", &copy]);
    let mut owner = server.connect();
    owner.run("CREATE ROLE ann LOGIN PASSWORD 'hush-hush'; CREATE ROLE bob LOGIN");
    owner.run("CREATE TABLE t (a int); GRANT SELECT ON t TO ann");
    owner.fails("DROP TABLE nowhere");
    refused(&server, "user=ann password=wrong");
    let mut ann = connect(&server, "user=ann password=hush-hush").unwrap();
    ann.fails("DROP TABLE t");
    ann.run("SELECT * FROM t");
    drop(ann);
    let of_ann = "SELECT event, object, outcome, address FROM tidewater.audit_log WHERE \"user\" = 'ann' ORDER BY at";
    owner.until(&format!("SELECT count(*) FROM ({of_ann}) x"), "4", SOON);
    let expected = [
        ["login failed", "NULL", "28P01", "127.0.0.1"],
        ["login", "NULL", "00000", "127.0.0.1"],
        ["DROP TABLE", "t", "42501", "127.0.0.1"],
        ["logout", "NULL", "00000", "127.0.0.1"],
    ];
    assert_eq!(owner.texts(of_ann), expected);
    let statements = "SELECT event, object, statement, outcome FROM tidewater.audit_log WHERE \"user\" = 'tidewater' AND statement IS NOT NULL ORDER BY at";
    let told: Vec<String> = owner.texts(statements).iter().map(|r| r.join("|")).collect();
    let expected = [
        "CREATE ROLE|ann|CREATE ROLE ann LOGIN PASSWORD '********'|00000",
        "CREATE ROLE|bob|CREATE ROLE bob LOGIN|00000",
        "CREATE TABLE|t|CREATE TABLE t (a int)|00000",
        "GRANT|t|GRANT SELECT ON t TO ann|00000",
        "DROP TABLE|nowhere|DROP TABLE nowhere|42P01",
    ];
    assert_eq!(told, expected);
    server.kill();
    server.restart();
    let mut ann = connect(&server, "user=ann password=hush-hush").unwrap();
    assert_eq!(said(&ann.fails("SELECT * FROM tidewater.audit_log")), "42501 permission denied for view audit_log");
    let lines = std::fs::read_to_string(&copy).unwrap();
    let grant = lines.lines().find(|l| l.contains("\"GRANT\"")).unwrap();
    let grant: serde_json::Value = serde_json::from_str(grant).unwrap();
    assert_eq!((grant["user"].as_str(), grant["object"].as_str(), grant["outcome"].as_str()), (Some("tidewater"), Some("t"), Some("00000")));
    assert!(!lines.contains("hush") && holding(server.dir(), "hush-hush").is_empty());
    // Moved away by whoever turns it over.
    std::fs::rename(&copy, format!("{copy}.1")).unwrap();
    server.signal("HUP");
    let start = std::time::Instant::now();
    while !Path::new(&copy).exists() {
        assert!(start.elapsed().as_secs() < 10, "not opened again");
        std::thread::yield_now();
    }
    assert_eq!(ann.fails("DROP TABLE t").code, "42501");
    assert!(std::fs::read_to_string(&copy).unwrap().contains("DROP TABLE"));
}

#[test]
fn a_secret_is_used_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events-8d1f7.ndjson");
    std::fs::write(&file, "{\"n\": 1}\n{\"n\": 2}\n").unwrap();
    let value = file.to_string_lossy().to_string();
    let mut server = Server::start();
    let mut owner = server.connect();
    owner.run(&format!("CREATE SECRET place AS '{value}'; CREATE SECRET other AS 'unused'; CREATE ROLE ann LOGIN"));
    let source = "CREATE SOURCE s (n int) WITH (connector = 'file', path = SECRET place) FORMAT PLAIN ENCODE JSON";
    owner.run(source);
    owner.run("CREATE MATERIALIZED VIEW v AS SELECT sum(n) AS n FROM s");
    owner.until("SELECT n FROM v", "3", SOON);
    assert_eq!(owner.texts("SELECT name, owner FROM tidewater.secrets ORDER BY 1"), [["other", "tidewater"], ["place", "tidewater"]]);
    check_refused(
        &mut owner,
        &[
            ("CREATE SECRET place AS 'y'", "42710 secret \"place\" already exists"),
            ("DROP SECRET place", "2BP01 cannot drop secret place because other objects depend on it"),
            ("DROP SECRET nothing", "42704 secret \"nothing\" does not exist"),
            ("CREATE SOURCE x (n int) WITH (connector = 'file', path = SECRET nothing) FORMAT PLAIN ENCODE CSV", "42704 secret \"nothing\" does not exist"),
        ],
    );
    owner.run("DROP SECRET other");
    // Who may not use it learns nothing of it, also where he may create.
    owner.run("GRANT CREATE ON SCHEMA public TO ann");
    let mut ann = as_role(&server, "ann");
    let sink = "CREATE SOURCE x (n bigint) WITH (connector = 'datagen', rows_per_second = SECRET place)";
    assert_eq!(said(&ann.fails(sink)), "42501 permission denied for secret place");
    owner.run("GRANT USAGE ON SECRET place TO ann");
    let error = ann.fails(sink);
    assert!(error.message.contains("cannot be \"********\"") && !format!("{error:?}").contains(&value), "{error:?}");
    // A plain password of a connector is hidden as well.
    let plain = "CREATE SOURCE k (n int) WITH (connector = 'kafka', topic = 't', properties.bootstrap.server = '127.0.0.1:1', properties.sasl.password = 'plain-secret') FORMAT PLAIN ENCODE JSON";
    let error = owner.fails(plain);
    assert!(!format!("{error:?}").contains("plain-secret"), "{error:?}");
    for sql in [
        "SHOW CREATE SOURCE s",
        "SELECT * FROM pg_foreign_table",
        "SELECT query FROM pg_stat_activity",
        "SELECT statement FROM tidewater.audit_log",
        "EXPLAIN SELECT * FROM v",
    ] {
        let told = format!("{:?}", owner.rows(sql));
        assert!(!told.contains(&value) && !told.contains("plain-secret"), "{sql}: {told}");
    }
    assert_eq!(owner.rows("SHOW CREATE SOURCE s")[0][1], Some(source.to_string()) as <Row as std::ops::Index<usize>>::Output);
    server.kill();
    server.restart();
    let mut owner = server.connect();
    assert_eq!(owner.one("SELECT n FROM v"), "3");
    let of_value = holding(server.dir(), &value);
    assert_eq!(of_value, [server.dir().join("secrets.json")], "in one file alone");
    let mode = Command::new("stat").args(["-c", "%a"]).arg(&of_value[0]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&mode.stdout).trim(), "600");
    assert!(!server.log().contains(&value) && Path::new(BINARY).exists());
    owner.run("DROP SOURCE s CASCADE; DROP SECRET place");
    assert!(holding(server.dir(), "events-8d1f7").iter().all(|p| !p.ends_with("secrets.json")));
}
