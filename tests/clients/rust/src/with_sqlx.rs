//! sqlx: a pool, prepared statements that are kept, arrays, COPY, transactions, what its macros ask of the server.

use crate::check::{Outcome, Suite, beginning, equal, eventually, is_control, refused, url};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::postgres::{PgPool, PgPoolCopyExt, PgPoolOptions};
use sqlx::{Column, Connection, Either, Executor, Row, SqlSafeStr, SqlStr, Statement, TypeInfo};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Totals = Vec<(String, i64, Decimal)>;

async fn pool() -> Result<PgPool, Failure> {
    Ok(PgPoolOptions::new().max_connections(3).connect(&url()).await?)
}

fn sql(text: &'static str) -> SqlStr {
    text.into_sql_str()
}

fn code(error: Option<sqlx::Error>) -> Option<String> {
    error.and_then(|e| e.as_database_error().and_then(|d| d.code().map(|c| c.into_owned())))
}

async fn totals() -> Result<Totals, Failure> {
    let pool = pool().await?;
    if is_control() {
        sqlx::raw_sql("refresh materialized view sqlx_totals").execute(&pool).await?;
    }
    Ok(sqlx::query_as("select customer, orders, total from sqlx_totals order by customer").fetch_all(&pool).await?)
}

fn total(customer: &str, orders: i64, cents: i64) -> (String, i64, Decimal) {
    (customer.to_owned(), orders, Decimal::new(cents, 2))
}

async fn begin() -> Outcome {
    let pool = pool().await?;
    for statement in beginning("sqlx") {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await?;
    }
    equal(totals().await?, vec![total("ann", 2, 1550), total("bob", 1, 2025)])
}

async fn types() -> Outcome {
    let pool = pool().await?;
    let when: DateTime<Utc> = "2024-02-29T12:34:56.789Z".parse()?;
    let id = uuid::Uuid::from_u128(7);
    let row = sqlx::query("select $1::bigint, $2::text, $3::numeric(20,5), $4::timestamptz, $5::uuid, $6::jsonb, $7::int[], $8::text[], $9::bool, $10::bytea, $11::float8")
        .bind(i64::MIN)
        .bind("å 🌊")
        .bind(Decimal::new(-15, 1))
        .bind(when)
        .bind(id)
        .bind(serde_json::json!({"a": [1, null]}))
        .bind(vec![Some(1), None])
        .bind(vec!["a b".to_owned(), "{}".to_owned()])
        .bind(Option::<bool>::None)
        .bind(vec![0u8, 255])
        .bind(1e300)
        .fetch_one(&pool)
        .await?;
    equal((row.get::<i64, _>(0), row.get::<String, _>(1), row.get::<Decimal, _>(2)), (i64::MIN, "å 🌊".to_owned(), Decimal::new(-150000, 5)))?;
    equal((row.get::<DateTime<Utc>, _>(3), row.get::<uuid::Uuid, _>(4), row.get::<serde_json::Value, _>(5)), (when, id, serde_json::json!({"a": [1, null]})))?;
    equal((row.get::<Vec<Option<i32>>, _>(6), row.get::<Vec<String>, _>(7)), (vec![Some(1), None], vec!["a b".to_owned(), "{}".to_owned()]))?;
    equal((row.get::<Option<bool>, _>(8), row.get::<Vec<u8>, _>(9), row.get::<f64, _>(10)), (None, vec![0, 255], 1e300))
}

async fn described() -> Outcome {
    let pool = pool().await?;
    let mut connection = pool.acquire().await?;
    let statement = connection.prepare(sql("select id, customer, amount from sqlx_orders where id = $1 and customer = $2")).await?;
    let names: Vec<(String, String)> = statement.columns().iter().map(|c| (c.name().to_owned(), c.type_info().name().to_owned())).collect();
    let expected = [("id", "INT8"), ("customer", "VARCHAR"), ("amount", "NUMERIC")];
    equal(names, expected.map(|(n, t)| (n.to_owned(), t.to_owned())).to_vec())?;
    let parameters: Vec<String> = match statement.parameters() {
        Some(Either::Left(types)) => types.iter().map(|t| t.name().to_owned()).collect(),
        _ => Vec::new(),
    };
    equal(parameters, vec!["INT8".to_owned(), "TEXT".to_owned()])
}

async fn many_rows() -> Outcome {
    let pool = pool().await?;
    let ids: Vec<i64> = (100..200).collect();
    let names: Vec<String> = ids.iter().map(|i| format!("n{i}")).collect();
    let inserted = sqlx::query("insert into sqlx_orders (id, customer) select * from unnest($1::bigint[], $2::text[])").bind(ids).bind(names).execute(&pool).await?;
    equal(inserted.rows_affected(), 100)?;
    let deleted = sqlx::query("delete from sqlx_orders where id >= $1").bind(100i64).execute(&pool).await?;
    equal(deleted.rows_affected(), 100)
}

async fn transactions() -> Outcome {
    let pool = pool().await?;
    let mut transaction = pool.begin().await?;
    sqlx::query("insert into sqlx_orders values ($1, $2)").bind(50i64).bind("tom").execute(&mut *transaction).await?;
    let mut inner = transaction.begin().await?;
    refused(code(sqlx::query("select 1 / 0").execute(&mut *inner).await.err()), "22012")?;
    inner.rollback().await?;
    let there: i64 = sqlx::query_scalar("select count(*) from sqlx_orders where id = 50").fetch_one(&mut *transaction).await?;
    transaction.rollback().await?;
    let gone: i64 = sqlx::query_scalar("select count(*) from sqlx_orders where id = 50").fetch_one(&pool).await?;
    equal((there, gone), (1, 0))
}

async fn errors() -> Outcome {
    let pool = pool().await?;
    refused(code(sqlx::query("select nosuch from sqlx_orders").execute(&pool).await.err()), "42703")?;
    let error = sqlx::query("insert into sqlx_orders values (1, 'x')").execute(&pool).await.err();
    let unique = error.as_ref().and_then(|e| e.as_database_error()).is_some_and(|d| d.is_unique_violation());
    equal(unique, true)?;
    refused(code(error), "23505")
}

async fn after_ddl() -> Outcome {
    let pool = PgPoolOptions::new().max_connections(1).connect(&url()).await?;
    sqlx::raw_sql("drop table if exists sqlx_changed; create table sqlx_changed (a int)").execute(&pool).await?;
    let ask = || sqlx::query("select * from sqlx_changed").fetch_all(&pool);
    ask().await?;
    sqlx::raw_sql("drop table sqlx_changed; create table sqlx_changed (a int, b text)").execute(&pool).await?;
    refused(code(ask().await.err()), "0A000")
}

async fn stream_and_copy() -> Outcome {
    let pool = pool().await?;
    let mut rows = sqlx::query_scalar::<_, i32>("select g from generate_series(1, 100000) g").fetch(&pool);
    equal(rows.try_next().await?.is_some(), true)?;
    drop(rows);
    sqlx::raw_sql("drop table if exists sqlx_copy; create table sqlx_copy (id bigint primary key, t text)").execute(&pool).await?;
    let mut copy = pool.copy_in_raw("copy sqlx_copy from stdin (format csv)").await?;
    copy.send(&b"1,one\n2,\"two, 2\"\n"[..]).await?;
    equal(copy.finish().await?, 2)?;
    let out: Vec<u8> = pool.copy_out_raw("copy (select t from sqlx_copy order by id) to stdout").await?.map_ok(|part| part.to_vec()).try_concat().await?;
    equal(String::from_utf8(out)?, "one\ntwo, 2\n".to_owned())
}

/// All checks of this client.
pub fn suite() -> Suite {
    let mut suite = Suite::new("sqlx");
    suite.add("a table, rows and a materialized view", begin);
    suite.add("values of many types", types);
    suite.add("a statement described: columns and parameters", described);
    suite.add("many rows by arrays, and how many they were", many_rows);
    suite.add("a transaction in a transaction, rolled back", transactions);
    suite.add("errors and what they are called", errors);
    suite.add("a statement that was prepared before its table changed: 0A000", after_ddl);
    suite.add("a stream left early; COPY in and out", stream_and_copy);
    suite.add("the view follows an INSERT", || async {
        let pool = pool().await?;
        sqlx::query("insert into sqlx_orders values ($1, $2, $3, now())").bind(4i64).bind("ann").bind(Decimal::new(125, 2)).execute(&pool).await?;
        eventually(totals, vec![total("ann", 3, 1675), total("bob", 1, 2025)]).await
    });
    suite
}
