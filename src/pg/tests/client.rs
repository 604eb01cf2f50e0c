//! Real clients: tokio-postgres and psql.

use super::fake::{TestServer, VALUES, every_type};
use crate::pg::decode::decode_parameter;
use crate::pg::encode::Format;
use crate::types::text::TextStyle;
use arrow::array::Array;
use futures::{StreamExt, TryStreamExt};
use std::error::Error;
use std::process::Command;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls};

/// A value's bytes in binary, of any type: as they came, or to be sent.
#[derive(Debug, Clone)]
struct Bytes(Vec<u8>);

impl FromSql<'_> for Bytes {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Bytes, Box<dyn Error + Sync + Send>> {
        Ok(Bytes(raw.to_vec()))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Bytes {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

fn with_client<F: Future<Output = ()>>(test: impl FnOnce(Client) -> F) {
    let server = TestServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = format!("host=127.0.0.1 port={} user=ann dbname=tidewater", server.port);
        let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.unwrap();
        tokio::spawn(connection);
        test(client).await;
    });
}

#[test]
fn every_type_in_binary_is_what_it_is_in_text() {
    with_client(|client| async move {
        let rows = client.query("types", &[]).await.unwrap();
        let expected = every_type();
        for (i, (oid, text)) in VALUES.iter().enumerate() {
            let binary: Bytes = rows[0].get(i);
            let value = decode_parameter(*oid, Format::Binary, Some(&binary.0), &TextStyle::UTC).unwrap();
            assert_eq!(value.to_data(), expected.column(i).slice(0, 1).to_data(), "{oid} {text}");
            assert_eq!(rows[1].get::<_, Option<Bytes>>(i).map(|b| b.0), None);
            // And back again as a parameter.
            let name = crate::pg::types::by_oid(*oid).filter(|(_, array)| !array).map(|(t, _)| t.name);
            if let Some(name) = name {
                let echoed = client.query_one(&format!("echo {name}"), &[&binary]).await.unwrap();
                assert_eq!(echoed.get::<_, Bytes>(0).0, binary.0, "{oid} {text}");
            }
        }
        let native = (rows[0].get::<_, bool>(0), rows[0].get::<_, i64>(3), rows[0].get::<_, &str>(6), rows[0].get::<_, f64>(10));
        assert_eq!(native, (true, i64::MIN, "a 'b' é", 1e300));
        assert_eq!(rows[0].get::<_, Vec<Option<i32>>>(21), [Some(1), None, Some(3)]);
        let time: std::time::SystemTime = rows[0].get(15);
        assert_eq!(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_709_209_800);
    });
}

#[test]
fn rows_stream_and_errors_name_themselves() {
    with_client(|client| async move {
        let rows = client.query_raw("rows 50000", Vec::<i32>::new()).await.unwrap();
        let sum = rows.map_ok(|row| row.get::<_, i32>(0) as i64).try_fold(0, |a, b| async move { Ok(a + b) }).await.unwrap();
        assert_eq!(sum, 49_999 * 25_000);
        // The first rows are there long before a stream's end, which this one does not have.
        let mut first = Box::pin(client.query_raw("stuck", Vec::<i32>::new()).await.unwrap());
        assert_eq!(first.next().await.unwrap().unwrap().get::<_, i32>(0), 0);
        client.cancel_token().cancel_query(NoTls).await.unwrap();
        assert_eq!(first.next().await.unwrap().unwrap_err().code().unwrap().code(), "57014");
        drop(first);
        let error = client.query("fail", &[]).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!((error.code().code(), error.hint(), error.detail()), ("42P01", Some("create it"), Some("none")));
        assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(9)));
    });
}

#[test]
fn pipelines_skip_to_sync() {
    with_client(|client| async move {
        let (a, b, c) = futures::join!(client.query("rows 3", &[]), client.query("fail", &[]), client.query_one("echo int4", &[&7i32]));
        assert_eq!((a.unwrap().len(), b.is_err(), c.unwrap().get::<_, i32>(0)), (3, true, 7));
    });
}

#[test]
fn psql_prints_what_it_is_sent() {
    let server = TestServer::start();
    let port = server.port.to_string();
    let psql = |sql: &str| {
        let output = Command::new("psql").args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &port, "-U", "ann", "-d", "tidewater", "-c", sql]).output();
        let output = output.expect("psql is installed for the tests");
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(psql("rows 2").0, "0|row 0\n1|row 1\n");
    let texts: Vec<&str> = VALUES.iter().map(|(_, text)| *text).collect();
    assert_eq!(psql("types").0.lines().next(), Some(texts.join("|").as_str()));
    assert_eq!(psql("fail on x").1, "ERROR:  relation \"x\" does not exist\nLINE 1: fail on x\n                ^\nDETAIL:  none\nHINT:  create it\n");
    let unknown = Command::new("psql").args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", "ann", "-d", "nowhere", "-c", "x"]).output().unwrap();
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("FATAL:  database \"nowhere\" does not exist"));
}
