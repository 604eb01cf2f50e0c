//! Statements over an engine of rows in memory, through a session as the wire uses it. Answers are texts: rows with `|`
//! between values, a tag, or `SQLSTATE: message`. What Postgres answers was tried on PostgreSQL 15.

use crate::catalog::catalog::Catalog;
use crate::catalog::object::{Body, Object};
use crate::error::{Error, Kind, Result};
use crate::node::audit::Audit;
use crate::node::engine_api::{Engine, Parts, Resolve, Secure, Snapshot, When, Written};
use crate::node::identity::Door;
use crate::node::pool::Pools;
use crate::node::secrets::Secrets;
use crate::node::session::{SessionBackend, binder};
use crate::node::subscriptions::Wanted;
use crate::node::subscriptions::stream::Subscription;
use crate::node::transaction::Changes;
use crate::pg::backend::{Backend, Execution, Notice, Peer, Session, Stoppable};
use crate::plan::{Relation, ViewPlan};
use crate::state::run::Run;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::key::{Codec, Rows};
use crate::types::text::{Column, TextStyle, canonical_array};
use crate::types::time::{Clock, Epoch, ManualClock};
use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

type Tables = HashMap<ObjectId, RecordBatch>;

struct Nobody;

impl Stoppable for Nobody {
    fn cancel(&self) {}
    fn terminate(&self) {}
}

fn peer() -> Peer {
    Peer { pid: 1, address: ([127, 0, 0, 1], 1).into(), encrypted: false, stop: Arc::new(Nobody) }
}

struct FakeEngine {
    catalog: Mutex<Arc<Catalog>>,
    plans: Mutex<HashMap<ObjectId, Arc<Relation>>>,
    tables: Mutex<Tables>,
    next: AtomicU32,
    clock: Arc<ManualClock>,
    secrets: Secrets,
    audit: Audit,
}

struct FakeSnapshot(Tables);

fn encoded(batch: &RecordBatch) -> Rows {
    let types: Vec<DataType> = batch.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let mut rows = Rows::default();
    Codec::new(&types).unwrap().encode(batch.columns(), &mut rows).unwrap();
    rows
}

#[async_trait]
impl Snapshot for FakeSnapshot {
    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    fn provider(&self, relation: ObjectId) -> Result<Arc<dyn TableProvider>> {
        let batch = self.0.get(&relation).ok_or_else(|| Error::new(Kind::WrongObjectType, "keeps no rows"))?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch.clone()]])?))
    }

    async fn rows_by_key(&self, table: ObjectId, keys: &RecordBatch) -> Result<RecordBatch> {
        let batch = &self.0[&table];
        let ordinals: Vec<usize> = keys.schema().fields().iter().map(|f| batch.schema().index_of(f.name()).unwrap()).collect();
        let wanted = encoded(keys);
        let there = encoded(&batch.project(&ordinals)?);
        let found: Vec<u32> = (0..there.len()).filter(|i| wanted.iter().any(|k| k == there.row(*i))).map(|i| i as u32).collect();
        Ok(arrow::compute::take_record_batch(batch, &UInt32Array::from(found))?)
    }

    fn run_of(&self, _table: ObjectId, _delta: &Delta, _appended: u64) -> Result<Option<Run>> {
        Ok(None)
    }

    fn with_changes(&self, changes: &Changes) -> Result<Arc<dyn Snapshot>> {
        let mut tables = self.0.clone();
        changes.deltas().for_each(|(table, deltas)| deltas.iter().for_each(|delta| apply(&mut tables, table, delta)));
        Ok(Arc::new(FakeSnapshot(tables)))
    }
}

fn apply(tables: &mut Tables, table: ObjectId, delta: &Delta) {
    let old = Delta::inserts(tables[&table].clone());
    let all = Delta::concat(&old.schema(), &[old, delta.clone()]).unwrap();
    let rows = encoded(all.batch());
    let mut weights: BTreeMap<&[u8], (i64, u32)> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let entry = weights.entry(row).or_insert((0, i as u32));
        entry.0 += all.weight(i);
    }
    assert!(weights.values().all(|(w, _)| *w >= 0), "a row was retracted that is not there");
    let kept: Vec<u32> = weights.values().flat_map(|(w, i)| std::iter::repeat_n(*i, *w as usize)).collect();
    let batch = arrow::compute::take_record_batch(all.batch(), &UInt32Array::from(kept)).unwrap();
    tables.insert(table, batch);
}

#[async_trait]
impl Engine for FakeEngine {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.lock().clone()
    }

    fn relation(&self, id: ObjectId) -> Option<Arc<Relation>> {
        self.plans.lock().get(&id).cloned()
    }

    async fn snapshot(&self, _wait_for: Option<Epoch>, _reads: &[ObjectId]) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(FakeSnapshot(self.tables.lock().clone())))
    }

    async fn subscribe(&self, _wanted: Wanted) -> Result<Subscription> {
        Err(Error::internal("nothing changes here"))
    }

    fn let_go(&self, ids: Vec<ObjectId>) {
        let mut catalog = self.catalog.lock();
        *catalog = Arc::new(catalog.without(&ids));
    }

    async fn settle(&self) -> Result<()> {
        Ok(())
    }

    async fn create(&self, object: Object, plan: Option<ViewPlan>, _answer: When) -> Result<()> {
        if let Some(relation) = crate::node::ddl::relation_of(&object, plan.as_ref()) {
            self.plans.lock().insert(object.id, Arc::new(relation));
        }
        if !matches!(object.body, Body::Source(_)) {
            self.tables.lock().insert(object.id, RecordBatch::new_empty(object.arrow_schema()));
        }
        let mut catalog = self.catalog.lock();
        *catalog = Arc::new(catalog.with(object)?);
        Ok(())
    }

    async fn alter(&self, objects: Vec<Object>) -> Result<()> {
        let mut catalog = self.catalog.lock();
        *catalog = Arc::new(catalog.replacing_all(objects));
        Ok(())
    }

    async fn secure(&self, change: Secure) -> Result<Vec<Error>> {
        let mut catalog = self.catalog.lock();
        let secured = change(&catalog)?;
        let with_objects = secured.objects.into_iter().fold(Catalog::clone(&catalog), |catalog, object| catalog.replacing(object));
        *catalog = Arc::new(secured.roles.map_or(with_objects.clone(), |roles| with_objects.with_roles(roles)));
        Ok(secured.notices)
    }

    fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    fn audit(&self) -> &Audit {
        &self.audit
    }

    async fn drop_objects(&self, ids: &[ObjectId]) -> Result<()> {
        let mut catalog = self.catalog.lock();
        *catalog = Arc::new(catalog.without(ids));
        Ok(())
    }

    async fn write(&self, table: ObjectId, resolve: Resolve) -> Result<Written> {
        let snapshot = Arc::new(FakeSnapshot(self.tables.lock().clone()));
        let delta = resolve(snapshot).await?;
        apply(&mut self.tables.lock(), table, &delta);
        Ok(Written { epoch: Epoch(1) })
    }

    async fn load(&self, table: ObjectId, parts: Parts) -> Result<Written> {
        let snapshot = Arc::new(FakeSnapshot(self.tables.lock().clone()));
        let deltas: Vec<Delta> = parts(snapshot).try_collect().await?;
        deltas.iter().for_each(|delta| apply(&mut self.tables.lock(), table, delta));
        Ok(Written { epoch: Epoch(1) })
    }

    async fn commit(&self, changes: &Changes, _objects: &[ObjectId]) -> Result<Written> {
        let mut tables = self.tables.lock();
        changes.deltas().for_each(|(table, deltas)| deltas.iter().for_each(|delta| apply(&mut tables, table, delta)));
        Ok(Written { epoch: Epoch(1) })
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn allocate_object(&self) -> Result<ObjectId> {
        Ok(ObjectId(self.next.fetch_add(1, Ordering::SeqCst)))
    }

    fn allocate_table(&self) -> Result<TableId> {
        Ok(TableId(self.next.fetch_add(1, Ordering::SeqCst)))
    }

    fn system_relations(&self) -> Vec<(&'static str, SchemaRef)> {
        vec![("things", Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])))]
    }

    fn system_rows(&self, _name: &str) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(self.system_relations()[0].1.clone(), vec![Arc::new(Int64Array::from(vec![7, 8]))])?)
    }

    async fn sample(&self, _relation: ObjectId, _max: usize) -> Result<crate::node::sample::Sample> {
        Ok(crate::node::sample::Sample::default())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}

/// A session over an empty engine.
struct Client {
    runtime: tokio::runtime::Runtime,
    session: Box<dyn Session>,
}

impl Client {
    fn new() -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // 2024-05-06 07:08:09.123456 UTC
        let engine = Arc::new(FakeEngine {
            catalog: Mutex::default(),
            plans: Mutex::default(),
            tables: Mutex::default(),
            next: AtomicU32::new(1000),
            secrets: Secrets::open(None).unwrap(),
            audit: Audit::default(),
            clock: Arc::new(ManualClock::at(1_714_979_289_123_456)),
        });
        let backend = SessionBackend::new(engine, Arc::new(binder(2, Arc::default()).unwrap()), Arc::new(Pools::new(2).unwrap()), Door::default());
        let parameters = BTreeMap::from([("user".to_owned(), "ann".to_owned()), ("options".to_owned(), "-c statement_timeout=5s".to_owned())]);
        let session = runtime.block_on(backend.connect(&parameters, peer())).unwrap();
        Client { runtime, session }
    }

    /// The answers to all statements of a text, one per line; rows in the order that they come.
    fn run(&mut self, sql: &str) -> String {
        match self.try_run(sql) {
            Ok(answer) => answer,
            Err(e) => error_text(&e),
        }
    }

    fn try_run(&mut self, sql: &str) -> Result<String> {
        let mut answers = Vec::new();
        let (runtime, session) = (&self.runtime, &mut self.session);
        for statement in runtime.block_on(session.parse(sql))? {
            let described = runtime.block_on(session.describe(&statement, &[]))?;
            match runtime.block_on(session.execute(&statement, &[]))? {
                Execution::Command(tag) => answers.push(tag),
                Execution::Rows { columns, stream, .. } => {
                    let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
                    let told: Vec<String> = described.columns.unwrap().into_iter().map(|c| c.name).collect();
                    assert_eq!(names, told, "Describe and Execute differ: {sql}");
                    let batches: Vec<_> = runtime.block_on(stream.collect::<Vec<_>>());
                    for batch in batches {
                        answers.extend(lines(&batch?));
                    }
                }
                Execution::CopyOut { .. } | Execution::CopyIn { .. } => answers.push("COPY".into()),
            }
        }
        Ok(answers.join("\n"))
    }

    /// Names of the columns that a query gives.
    fn names(&mut self, sql: &str) -> Vec<String> {
        let statement = self.runtime.block_on(self.session.parse(sql)).unwrap().pop().unwrap();
        let described = self.runtime.block_on(self.session.describe(&statement, &[])).unwrap();
        described.columns.unwrap().into_iter().map(|c| c.name).collect()
    }

    fn check(&mut self, cases: &[(&str, &str)]) {
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|(sql, expected)| {
                let answer = self.run(sql);
                (answer != *expected).then(|| format!("{sql}\n  expected {expected}\n  got      {answer}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn notices(&mut self) -> Vec<String> {
        let text = |n: Notice| match n {
            Notice::Message { severity, error } => format!("{severity}: {}", error.message()),
            Notice::ParameterStatus { name, value } => format!("{name}={value}"),
        };
        self.session.take_notices().into_iter().map(text).collect()
    }
}

fn error_text(e: &Error) -> String {
    let place = e.position().map(|p| format!(" @{p}")).unwrap_or_default();
    let detail = e.detail().filter(|_| e.kind() == Kind::UniqueViolation).map(|d| format!(" ({d})")).unwrap_or_default();
    format!("{}: {}{detail}{place}", e.sqlstate(), e.message())
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let arrays: Vec<_> = batch.columns().iter().map(|c| canonical_array(c).unwrap()).collect();
    let schema = batch.schema();
    let columns: Vec<Column> = arrays.iter().zip(schema.fields()).map(|(a, f)| Column::new(f, a.as_ref(), &TextStyle::UTC).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| {
            let values: Vec<String> = columns
                .iter()
                .map(|c| {
                    let mut out = Vec::new();
                    if c.is_null(row) {
                        return "NULL".to_owned();
                    }
                    c.write(row, &mut out);
                    String::from_utf8(out).unwrap()
                })
                .collect();
            values.join("|")
        })
        .collect()
}

#[test]
fn values_and_types_are_those_of_postgres() {
    Client::new().check(&[
        ("select 1", "1"),
        (
            "select pg_typeof(1), pg_typeof(3000000000), pg_typeof(1.5), pg_typeof('a'::text), pg_typeof(now()), pg_typeof(true)",
            "integer|bigint|numeric|text|timestamp with time zone|boolean",
        ),
        ("select 7 / 2, -7 / 2, 7 % 3, 7.0 / 2", "3|-3|1|3.5000000000000000"),
        ("select 1.0 / 3", "0.3333333333333333"),
        ("select 1 / 0", "22012: division by zero"),
        ("select 2147483647 + 1", "22003: integer out of range"),
        ("select 9223372036854775807 + 1", "22003: bigint out of range"),
        ("select 0.5::int, 1.5::int, 2.5::int, 2.5::float8::int", "1|2|3|2"),
        ("select true::text, 1::text, 1.50::text, null::text", "true|1|1.50|NULL"),
        ("select 'yes'::boolean, ' 12 '::int", "t|12"),
        ("select 'x'::int", "22P02: invalid input syntax for type integer: \"x\" @8"),
        ("select '2024-01-01'::timestamp", "2024-01-01 00:00:00"),
        ("select timestamp '2024-01-01 10:00' - timestamp '2023-12-30 09:00'", "2 days 01:00:00"),
        ("select date '2024-03-01' - date '2024-02-01', date '2024-02-28' + 2", "29|2024-03-01"),
        ("select '2024-01-01 00:00:00'::timestamp + interval '1 month 1 day'", "2024-02-02 00:00:00"),
        ("select now()", "2024-05-06 07:08:09.123456+00"),
        ("select current_date, current_timestamp = now()", "2024-05-06|t"),
        ("select 'a' || 1 || null", "NULL"),
        ("select 'a' || 1 || true", "a1true"),
        ("select 'abc'::varchar(2)", "ab"),
        ("select coalesce(null, 2), nullif(1, 1), greatest(1, 3, 2)", "2|NULL|3"),
        ("select substring('hello' from 2 for 3), upper('a'), length('äb')", "ell|A|2"),
        ("select case when 1 > 2 then 'a' end", "NULL"),
        ("select 1 = '1', '2' > 1, 5 between '1' and '9', 3 in ('3', '4')", "t|t|t|t"),
        ("select array[1, 2], '{3,4}'::int[]", "{1,2}|{3,4}"),
        ("select version() like 'PostgreSQL 15%', current_database(), current_user, current_schema()", "t|tidewater|tidewater|public"),
        ("select current_setting('statement_timeout'), current_setting('nothing', true)", "5s|NULL"),
        ("select current_setting('nothing')", "42704: unrecognized configuration parameter \"nothing\""),
        ("select * from (values (1, 'a'), (2, 'b')) v (x, y) order by x desc", "2|b\n1|a"),
        ("select x from (values (1), (null), (2)) v (x) order by x", "1\n2\nNULL"),
        ("select x from (values (1), (null), (2)) v (x) order by x desc", "NULL\n2\n1"),
        ("select sum(x), avg(x), pg_typeof(sum(x)), pg_typeof(avg(x)) from (values (1), (2)) v (x)", "3|1.5000000000000000|bigint|numeric"),
        ("select sum(x), pg_typeof(sum(x)) from (values (9223372036854775807), (9223372036854775807)) v (x)", "18446744073709551614|numeric"),
        ("select count(*), count(x), min(x), max(x) from (values (1), (null)) v (x)", "2|1|1|1"),
        ("select string_agg(x, ',' order by x desc) from (values ('a'), ('b')) v (x)", "b,a"),
        ("select x, count(*) from (values (1), (1), (2)) v (x) group by x having count(*) > 1", "1|2"),
        ("with a as (select 1 as x) select x + 1 from a", "2"),
        ("select 1 union all select 2 order by 1 desc", "2\n1"),
        ("select n from tidewater.things order by n", "7\n8"),
        ("select extract(year from timestamp '2024-01-01')", "2024"),
        ("select date_trunc('hour', timestamp '2024-01-01 10:20:30')", "2024-01-01 10:00:00"),
        ("select '{\"b\": 1, \"a\": [1, 2]}'::jsonb", "{\"a\": [1, 2], \"b\": 1}"),
        ("select 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("select x, row_number() over (order by x) from (values (5), (6)) v (x)", "5|1\n6|2"),
        ("select 1, 1, 'a' as b, 'a' as b", "1|1|a|a"),
        ("select count(*) from generate_series(1, 3)", "3"),
    ]);
}

#[test]
fn columns_are_named_as_in_postgres() {
    let mut client = Client::new();
    client.run("create table t (a int, b text)");
    assert_eq!(client.names("select 1, a, count(*), 1, a::text, * from t group by a, b"), ["?column?", "a", "count", "?column?", "a", "a", "b"]);
    assert_eq!(client.names("select a, a, t.* from t"), ["a", "a", "a", "b"]);
}

#[test]
fn mistakes_get_postgres_codes_texts_and_places() {
    let mut client = Client::new();
    client.run("create table t (a int, b text)");
    client.check(&[
        ("select * from nothing", "42P01: relation \"nothing\" does not exist @15"),
        ("select * from other.nothing", "42P01: relation \"other.nothing\" does not exist @15"),
        ("select c from t", "42703: column \"c\" does not exist @8"),
        ("select\n  t.c from t", "42703: column t.c does not exist @10"),
        ("select foo(1)", "42883: function foo(integer) does not exist @8"),
        ("select a, count(*) from t group by b", "42803: column \"t.a\" must appear in the GROUP BY clause or be used in an aggregate function @8"),
        ("select a from t, t u", "42702: column reference \"a\" is ambiguous @8"),
        ("select a from t where a > 'x'", "22P02: invalid input syntax for type integer: \"x\" @27"),
        ("select * from t where a", "42804: argument of WHERE must be type boolean"),
        ("select 1::nothing", "42704: type \"nothing\" does not exist @11"),
        ("select 1 +", "42601: syntax error at end of input @11"),
        ("create table t (a int)", "42P07: relation \"t\" already exists"),
        ("create table u (a int, a int)", "42701: column \"a\" specified more than once @24"),
        ("create table u (a nothing)", "42704: type \"nothing\" does not exist @19"),
        ("create table nowhere.u (a int)", "3F000: schema \"nowhere\" does not exist @14"),
        ("create table u (a int, primary key (b))", "42703: column \"b\" named in key does not exist @37"),
        ("create table u (a int default 'x')", "22P02: invalid input syntax for type integer: \"x\" @31"),
        ("drop table nothing", "42P01: table \"nothing\" does not exist"),
        ("drop view t", "42809: \"t\" is not a view"),
        ("insert into nothing values (1)", "42P01: relation \"nothing\" does not exist @13"),
        ("insert into t (c) values (1)", "42703: column \"c\" of relation \"t\" does not exist @16"),
        ("insert into t values (1, 'a', 2)", "42601: INSERT has more expressions than target columns"),
        ("insert into t (a, b) values (1)", "42601: INSERT has more target columns than expressions"),
        ("insert into t values (true, 'a')", "42804: column \"a\" is of type integer but expression is of type boolean @23"),
        ("update t set c = 1", "42703: column \"c\" of relation \"t\" does not exist @14"),
        ("show nothing", "42704: unrecognized configuration parameter \"nothing\""),
    ]);
}

#[test]
fn rows_are_written_updated_and_deleted() {
    let mut client = Client::new();
    client.check(&[
        ("create table t (id int primary key, v text default 'none', n int, d int generated always as (n * 2))", "CREATE TABLE"),
        ("insert into t (id, n) values (1, 10), (2, default) returning id, v, d, t.n", "1|none|20|10\n2|none|NULL|NULL"),
        ("insert into t values (3, 'c', '30')", "INSERT 0 1"),
        ("insert into t values (3, 'd', 1)", "23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(3) already exists.)"),
        ("insert into t values (4, 'd', 1), (4, 'e', 1)", "23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(4) already exists.)"),
        ("insert into t values (null, 'd', 1)", "23502: null value in column \"id\" of relation \"t\" violates not-null constraint"),
        ("insert into t values (3, 'x', 1), (5, 'e', 5) on conflict do nothing", "INSERT 0 1"),
        (
            "insert into t as x values (3, 'new', 1), (6, 'f', 6) on conflict (id) do update set v = excluded.v || '!', n = x.n + excluded.n where x.n > 5 returning id, v, n, d",
            "6|f|6|12\n3|new!|31|62",
        ),
        ("insert into t values (7, 'a', 1), (7, 'b', 2) on conflict (id) do update set v = 'z'", "21000: ON CONFLICT DO UPDATE command cannot affect row a second time"),
        ("update t set n = n + 1, v = default where id <= 2 returning id, n, d", "1|11|22\n2|NULL|NULL"),
        ("update t set id = id + 100 where id = 1", "UPDATE 1"),
        ("update t set id = 101 where id = 2", "23505: duplicate key value violates unique constraint \"t_pkey\" (Key (id)=(101) already exists.)"),
        ("update t set (v, n) = ('tuple', 5) where id = 2", "UPDATE 1"),
        ("delete from t where n is null or n > 20 returning id", "3"),
        ("delete from t where id = 12345", "DELETE 0"),
        ("select id, v, n, d from t order by id", "2|tuple|5|10\n5|e|5|10\n6|f|6|12\n101|none|11|22"),
        ("insert into t (id, n) select id + 1000, n from t where id < 6", "INSERT 0 2"),
        ("select count(*) from t", "6"),
    ]);
}

#[test]
fn values_are_assigned_and_checked() {
    let mut client = Client::new();
    client.check(&[
        ("create table t (a varchar(3), b numeric(4, 1), c timestamp, d jsonb, e int[], f smallint)", "CREATE TABLE"),
        ("insert into t values ('abcd')", "22001: value too long for type character varying(3)"),
        ("insert into t (b) values (12345)", "22003: numeric field overflow"),
        ("insert into t (b) values (1.25), (2.5)", "INSERT 0 2"),
        ("insert into t (c) values ('2024-01-01'), (date '2024-01-02')", "INSERT 0 2"),
        ("insert into t (d) values ('{\"a\":1}')", "INSERT 0 1"),
        ("insert into t (d) values ('{')", "22P02: invalid input syntax for type json"),
        ("insert into t (e) values ('{1,2}'), (array[3])", "INSERT 0 2"),
        ("insert into t (f) values (70000)", "22003: smallint out of range"),
        ("insert into t (a) values (5)", "INSERT 0 1"),
        ("insert into t (f) select 'x'::text", "42804: column \"f\" is of type smallint but expression is of type text"),
        ("select b from t where b is not null order by b", "1.3\n2.5"),
        ("select c from t where c is not null order by c", "2024-01-01 00:00:00\n2024-01-02 00:00:00"),
        ("select d from t where d is not null", "{\"a\": 1}"),
        ("select a, e from t where e is not null or a is not null order by a, e", "5|NULL\nNULL|{1,2}\nNULL|{3}"),
        ("create table g (id int, ts timestamp) append only", "CREATE TABLE"),
        ("insert into g values (1, now()) returning ts", "2024-05-06 07:08:09.123456"),
        ("delete from g", "0A000: cannot delete from append-only table \"g\""),
    ]);
}

#[test]
fn views_depend_on_what_they_read() {
    let mut client = Client::new();
    client.check(&[
        ("create table t (a int, b int)", "CREATE TABLE"),
        ("insert into t values (1, 2), (3, 4)", "INSERT 0 2"),
        ("create view v as select a, a + b as s from t", "CREATE VIEW"),
        ("create view w (x) as select s * 2 from v", "CREATE VIEW"),
        ("select x from w order by x", "6\n14"),
        ("select v.s, w.x from v join w on w.x = v.s * 2 where v.a = 1", "3|6"),
        ("create materialized view m as select a, count(*) as n from t group by a", "CREATE MATERIALIZED VIEW"),
        ("create materialized view if not exists m as select 1 as x", "CREATE MATERIALIZED VIEW"),
        ("create materialized view bad as select a, a from t", "42701: column \"a\" specified more than once"),
        ("create materialized view bad with (fast = true) as select a from t", "22023: unrecognized parameter \"fast\""),
        ("create view bad as select * from tidewater.things", "0A000: system relations cannot be read by views @34"),
        ("insert into m values (1, 2)", "42809: cannot insert into materialized view \"m\" @13"),
        ("drop table t", "2BP01: cannot drop table t because other objects depend on it"),
        ("show materialized views", "m"),
        ("show create view v", "public.v|create view v as select a, a + b as s from t"),
        ("describe t", "a|integer|yes|NULL|NULL\nb|integer|yes|NULL|NULL"),
        ("drop table t cascade", "DROP TABLE"),
        ("show views", ""),
        ("drop table if exists t", "DROP TABLE"),
    ]);
    let notices = client.notices();
    assert!(notices.contains(&"NOTICE: relation \"m\" already exists, skipping".to_owned()), "{notices:?}");
    assert!(notices.contains(&"NOTICE: drop cascades to 3 other objects".to_owned()), "{notices:?}");
    assert!(notices.contains(&"NOTICE: table \"t\" does not exist, skipping".to_owned()), "{notices:?}");
}

#[test]
fn windows_run_in_batch_in_both_spellings() {
    let mut client = Client::new();
    client.check(&[
        ("create table bid (id int, ts timestamp)", "CREATE TABLE"),
        ("insert into bid values (1, '2024-01-01 00:00:03'), (2, '2024-01-01 00:00:11'), (3, null)", "INSERT 0 3"),
        (
            "select id, window_start, window_end from tumble(bid, ts, interval '10 seconds') order by id",
            "1|2024-01-01 00:00:00|2024-01-01 00:00:10\n2|2024-01-01 00:00:10|2024-01-01 00:00:20\n3|NULL|NULL",
        ),
        ("select count(*) from table(tumble(table bid, descriptor(ts), interval '10' second)) w where w.window_start is not null", "2"),
        (
            "select bid.id, window_end from hop(bid, ts, interval '5 seconds', interval '10 seconds') order by 1, 2",
            "1|2024-01-01 00:00:05\n1|2024-01-01 00:00:10\n2|2024-01-01 00:00:15\n2|2024-01-01 00:00:20",
        ),
        ("select * from tumble(bid, ts, interval '1 month')", "0A000: windows of months are not supported"),
        ("select * from tumble(bid, id, interval '1 day')", "42804: the time column of a window must be a timestamp"),
        (
            "select window_start, count(*) from tumble(bid, ts, interval '10 seconds') group by window_start having count(*) > 0 order by 1 limit 1",
            "2024-01-01 00:00:00|1",
        ),
    ]);
}

#[test]
fn sources_are_checked_when_made() {
    let mut client = Client::new();
    client.check(&[
        ("create source s (a int)", "42601: a source needs a connector"),
        ("create source s (a int) with (connector = 'nothing')", "22023: connector \"nothing\" does not exist"),
        (
            "create source n (a bigint, ts timestamp, watermark for ts as ts - interval '5 seconds') with (connector = 'datagen', rows = 10)",
            "CREATE SOURCE",
        ),
        ("create source n2 (a bigint, ts timestamp, watermark for b as ts) with (connector = 'datagen')", "42703: column \"b\" does not exist @57"),
        ("create table t (a int, ts timestamp, watermark for ts as ts)", "0A000: WATERMARK is for sources and append-only tables @52"),
        ("create source n3 (a bigint primary key) with (connector = 'datagen')", "0A000: a source has no primary key: it keeps no rows @15"),
        ("show sources", "n"),
        (
            "create materialized view w as select window_start, count(*) as c from tumble(n, ts, interval '10 seconds') group by window_start emit on window close",
            "CREATE MATERIALIZED VIEW",
        ),
        ("drop source n", "2BP01: cannot drop source n because other objects depend on it"),
    ]);
    let plan = client.run("explain create materialized view x as select a, sum(a) from n group by a");
    assert!(plan.contains("Bound plan") && plan.contains("Incremental plan") && plan.contains("Aggregate"), "{plan}");
}

#[test]
fn settings_are_the_sessions() {
    let mut client = Client::new();
    client.check(&[
        ("show statement_timeout", "5s"),
        ("set application_name = 'x'; show application_name", "SET\nx"),
        ("reset all; show application_name", "RESET\n"),
        ("commit", "COMMIT"),
        ("discard all", "DISCARD ALL"),
        ("set rw_streaming_parallelism = 4", "SET"),
        ("flush", "FLUSH"),
        ("", ""),
    ]);
    let notices = client.notices();
    assert!(notices.contains(&"application_name=x".to_owned()), "{notices:?}");
    assert!(notices.contains(&"WARNING: there is no transaction in progress".to_owned()), "{notices:?}");
}
