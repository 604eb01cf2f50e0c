//! tokio-postgres: binary values, pipelined statements, portals, COPY in binary, cancel.

use crate::check::{Outcome, Suite, address, beginning, equal, eventually, is_control, refused};
use chrono::{DateTime, NaiveDate, Utc};
use futures::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use rust_decimal::Decimal;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Totals = Vec<(String, i64, Decimal)>;

async fn connect() -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(&address(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn totals() -> Result<Totals, Failure> {
    let c = connect().await?;
    if is_control() {
        c.batch_execute("refresh materialized view tpg_totals").await?;
    }
    let rows = c.query("select customer, orders, total from tpg_totals order by customer", &[]).await?;
    Ok(rows.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect())
}

fn total(customer: &str, orders: i64, cents: i64) -> (String, i64, Decimal) {
    (customer.to_owned(), orders, Decimal::new(cents, 2))
}

/// A value there and back, and its text.
async fn comes_back<T>(type_name: &str, value: T, text: &str) -> Outcome
where
    T: ToSql + Sync + PartialEq + std::fmt::Debug + for<'a> tokio_postgres::types::FromSql<'a>,
{
    let c = connect().await?;
    let row = c.query_one(&format!("select $1::{type_name}, $1::{type_name}::text, null::{type_name}"), &[&value]).await?;
    equal(row.get::<_, String>(1), text.to_owned())?;
    equal(row.get::<_, Option<T>>(2), None)?;
    equal(row.get::<_, T>(0), value)
}

async fn types() -> Outcome {
    comes_back("boolean", true, "true").await?;
    comes_back("smallint", -32768i16, "-32768").await?;
    comes_back("integer", i32::MAX, "2147483647").await?;
    comes_back("bigint", i64::MIN, "-9223372036854775808").await?;
    comes_back("real", 1.5f32, "1.5").await?;
    comes_back("double precision", 1e300, "1e+300").await?;
    comes_back("numeric(20,5)", "-1.50000".parse::<Decimal>()?, "-1.50000").await?;
    comes_back("text", "å 🌊 '\"\\".to_owned(), "å 🌊 '\"\\").await?;
    comes_back("bytea", vec![0u8, 255, 92], "\\x00ff5c").await?;
    comes_back("date", NaiveDate::from_ymd_opt(2024, 2, 29).ok_or("no date")?, "2024-02-29").await?;
    comes_back("timestamptz", "2024-02-29T12:34:56.789Z".parse::<DateTime<Utc>>()?, "2024-02-29 12:34:56.789+00").await?;
    comes_back("uuid", uuid::Uuid::from_u128(7), "00000000-0000-0000-0000-000000000007").await?;
    comes_back("jsonb", serde_json::json!({"a": [1, null]}), "{\"a\": [1, null]}").await?;
    comes_back("integer[]", vec![Some(1), None], "{1,NULL}").await?;
    comes_back("text[]", vec!["a b".to_owned(), "NULL".to_owned()], "{\"a b\",\"NULL\"}").await
}

async fn portals() -> Outcome {
    let mut c = connect().await?;
    let transaction = c.transaction().await?;
    let portal = transaction.bind("select g from generate_series(1, 10) g", &[]).await?;
    let first = transaction.query_portal(&portal, 4).await?;
    let rest = transaction.query_portal(&portal, 0).await?;
    transaction.commit().await?;
    equal((first.len(), rest.len()), (4, 6))
}

async fn pipeline() -> Outcome {
    let c = connect().await?;
    let ask = async |n: i32| c.query_one("select $1::int * 2", &[&n]).await.map(|r| r.get::<_, i32>(0));
    let (a, b, d) = futures::try_join!(ask(1), ask(2), ask(3))?;
    equal((a, b, d), (2, 4, 6))
}

async fn copy() -> Outcome {
    let c = connect().await?;
    c.batch_execute("drop table if exists tpg_copy; create table tpg_copy (id bigint primary key, t text)").await?;
    let sink = c.copy_in("copy tpg_copy from stdin binary").await?;
    let writer = BinaryCopyInWriter::new(sink, &[Type::INT8, Type::TEXT]);
    pin_mut!(writer);
    for id in 1..=1000i64 {
        writer.as_mut().write(&[&id, &(id % 3 == 0).then(|| format!("t{id}"))]).await?;
    }
    equal(writer.finish().await?, 1000)?;
    let rows = BinaryCopyOutStream::new(c.copy_out("copy (select id, t from tpg_copy order by id) to stdout binary").await?, &[Type::INT8, Type::TEXT]);
    let rows: Vec<_> = rows.try_collect().await?;
    equal((rows.len(), rows[2].get::<Option<&str>>(1), rows[3].get::<Option<&str>>(1)), (1000, Some("t3"), None))?;
    let text = c.copy_in("copy tpg_copy from stdin").await?;
    pin_mut!(text);
    text.send(bytes("1\tagain\n")).await?;
    refused(text.finish().await.err().and_then(|e| e.code().map(|s| s.code().to_owned())), "23505")
}

fn bytes(text: &'static str) -> std::io::Cursor<&'static [u8]> {
    std::io::Cursor::new(text.as_bytes())
}

async fn transactions() -> Outcome {
    let mut c = connect().await?;
    let mut transaction = c.transaction().await?;
    transaction.execute("insert into tpg_orders values ($1, $2, $3, null)", &[&50i64, &"tom", &Decimal::new(1, 0)]).await?;
    let savepoint = transaction.savepoint("s").await?;
    let failed = savepoint.execute("select 1 / 0", &[]).await;
    refused(failed.err().and_then(|e| e.code().map(|s| s.code().to_owned())), "22012")?;
    savepoint.rollback().await?;
    equal(transaction.query_one("select count(*) from tpg_orders where id = 50", &[]).await?.get::<_, i64>(0), 1)?;
    transaction.rollback().await?;
    equal(c.query_one("select count(*) from tpg_orders where id = 50", &[]).await?.get::<_, i64>(0), 0)
}

async fn cancel() -> Outcome {
    let c = connect().await?;
    let token = c.cancel_token();
    let endless = c.query("select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a + b < 0", &[]);
    let stop = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        token.cancel_query(NoTls).await
    };
    let (ended, sent) = futures::join!(endless, stop);
    sent?;
    refused(ended.err().and_then(|e| e.code().map(|s| s.code().to_owned())), "57014")
}

async fn stream() -> Outcome {
    let c = connect().await?;
    let rows = c.query_raw("select g from generate_series(1, 1000000) g", std::iter::empty::<i32>()).await?;
    pin_mut!(rows);
    equal(rows.next().await.ok_or("no row")??.get::<_, i32>(0) > 0, true)
}

async fn row_type() -> Outcome {
    let c = connect().await?;
    let statement = c.prepare("select o from tpg_orders o where id = 1").await?;
    equal((statement.columns()[0].type_().name().to_owned(), statement.columns()[0].type_().schema().to_owned()), ("tpg_orders".to_owned(), "public".to_owned()))
}

/// All checks of this client.
pub fn suite() -> Suite {
    let mut suite = Suite::new("tokio-postgres");
    suite.add("a table, rows and a materialized view", || async {
        connect().await?.batch_execute(&beginning("tpg").join(";\n")).await?;
        equal(totals().await?, vec![total("ann", 2, 1550), total("bob", 1, 2025)])
    });
    suite.add("values of many types in binary, and their texts", types);
    suite.add("a portal in portions", portals);
    suite.add("statements in a pipeline", pipeline);
    suite.add("COPY in binary, in and out; a key that is there already", copy);
    suite.add("a transaction with a savepoint, rolled back", transactions);
    suite.add("a cancel request: 57014", cancel);
    suite.add("the first row of a stream of a million", stream);
    suite.add("a table's row type, read from the catalog", row_type);
    suite.add("the view follows an INSERT", || async {
        connect().await?.execute("insert into tpg_orders values ($1, $2, $3, now())", &[&4i64, &"ann", &Decimal::new(125, 2)]).await?;
        eventually(totals, vec![total("ann", 3, 1675), total("bob", 1, 2025)]).await
    });
    suite
}
