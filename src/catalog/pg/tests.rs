//! One object of each kind, and what PostgreSQL 15 answers for the same schema.

use super::oids::{self, Part};
use super::*;
use crate::catalog::catalog::{Catalog, decode, encode};
use crate::catalog::object::{Body, Column, Feed, Index, IndexColumn, MaterializedView, Object, Sink, Source, Table, View};
use crate::catalog::roles::{Membership, Role, Roles};
use crate::types::ids::ObjectId;
use crate::types::text::{TYPE_KEY, TYPMOD_KEY};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int16Type, Int32Type, Int64Type, IntervalUnit, Schema, TimeUnit};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

const SHOP: u32 = 16385;

fn column(name: &str, data_type: DataType, marks: &[(&str, &str)], sql_type: &str) -> Column {
    let metadata: HashMap<String, String> = marks.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Column {
        name: name.into(),
        field: Field::new(name, data_type, true).with_metadata(metadata),
        sql_type: sql_type.into(),
        not_null: false,
        default: None,
        generated: None,
        include: None,
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn numeric() -> Column {
    column("amount", DataType::Decimal128(12, 2), &[(TYPMOD_KEY, "786438")], "numeric(12,2)")
}

fn name() -> Column {
    column("name", DataType::Utf8, &[(TYPE_KEY, "varchar"), (TYPMOD_KEY, "24")], "character varying(20)")
}

/// The columns of `t` in the statements that real clients sent.
fn columns_of_t() -> Vec<Column> {
    let micros = TimeUnit::Microsecond;
    vec![
        column("id", DataType::Int64, &[], "bigint"),
        Column { not_null: true, ..name() },
        Column { default: Some("0".into()), ..numeric() },
        Column { default: Some("now()".into()), ..column("at", DataType::Timestamp(micros, Some("UTC".into())), &[], "timestamp with time zone") },
        column("tags", list(DataType::Int32), &[], "integer[]"),
        column("doc", DataType::Utf8, &[(TYPE_KEY, "jsonb")], "jsonb"),
        column("ref", DataType::FixedSizeBinary(16), &[(TYPE_KEY, "uuid")], "uuid"),
        Column { default: Some("true".into()), ..column("ok", DataType::Boolean, &[], "boolean") },
        column("day", DataType::Date32, &[], "date"),
        column("small", DataType::Int16, &[], "smallint"),
        column("d", DataType::Float64, &[], "double precision"),
        column("raw", DataType::Binary, &[], "bytea"),
        column("dur", DataType::Interval(IntervalUnit::MonthDayNano), &[], "interval"),
        column("ts", DataType::Timestamp(micros, None), &[(TYPMOD_KEY, "3")], "timestamp(3) without time zone"),
        column("names", list(DataType::Utf8), &[], "text[]"),
        Column { generated: Some("id * 2".into()), ..column("twice", DataType::Int64, &[], "bigint") },
        column("pair", DataType::Struct(vec![Field::new("a", DataType::Int32, true)].into()), &[], "struct<a integer>"),
    ]
}

fn object(id: u32, name: &str, depends_on: &[u32], body: Body) -> Object {
    Object {
        id: ObjectId(id),
        schema: "public".into(),
        name: name.into(),
        sql: String::new(),
        depends_on: depends_on.iter().map(|d| ObjectId(*d)).collect(),
        body,
        path: vec!["public".into()],
        zone: None,
        uncommitted: false,
        pending: Default::default(),
        comments: BTreeMap::new(),
        access: Default::default(),
    }
}

fn table(columns: Vec<Column>, primary_key: Vec<usize>) -> Body {
    Body::Table(Table { columns, primary_key, append_only: false, watermark: None, feed: None, state: vec![] })
}

fn index(on: u32, key: Vec<(usize, bool, bool)>, include: Option<Vec<usize>>) -> Body {
    let key = key.into_iter().map(|(column, descending, nulls_first)| IndexColumn { column, descending, nulls_first }).collect();
    Body::Index(Index { on: ObjectId(on), key, include, state: vec![], plan: String::new(), building: false })
}

fn feed() -> Feed {
    let options = [("topic", "a"), ("sasl.password", "hidden")].map(|(k, v)| (k.to_string(), v.to_string()));
    Feed { connector: "kafka".into(), options: options.into(), format: None, watermark: None, start: BTreeMap::new(), created_at: 0 }
}

fn view_over_t(query: &str) -> Body {
    Body::View(View { query: query.into(), columns: vec![column("id", DataType::Int64, &[], "bigint"), name()] })
}

fn materialized(building: bool) -> Body {
    Body::MaterializedView(MaterializedView {
        query: "select name, count(*) as n from t group by name ;\n".into(),
        columns: vec![name(), Column { not_null: true, ..column("n", DataType::Int64, &[], "bigint") }],
        emit_on_window_close: false,
        options: [("isolated".to_string(), "true".to_string())].into(),
        state: vec![],
        plan: String::new(),
        building,
    })
}

fn objects() -> Vec<Object> {
    let integer = |name: &str| column(name, DataType::Int32, &[], "integer");
    let u = vec![column("t_id", DataType::Int64, &[], "bigint"), integer("pos"), Column { not_null: true, ..integer("qty") }];
    let mixed = vec![integer("a B"), column("order", DataType::Utf8, &[], "text"), integer("c")];
    let sink = Sink {
        query: String::new(),
        columns: vec![],
        options: BTreeMap::new(),
        format: None,
        first_name: None,
        token: String::new(),
        state: vec![],
        plan: String::new(),
        building: false,
    };
    let mut t = object(16386, "t", &[], table(columns_of_t(), vec![0]));
    t.comments = [(0, "the table of the test".to_string()), (3, "in euros".to_string())].into();
    vec![
        t,
        object(16397, "u", &[], table(u, vec![0, 1])),
        object(16402, "u_qty", &[16397], index(16397, vec![(2, false, false)], None)),
        object(16403, "u_two", &[16397], index(16397, vec![(2, true, true), (1, false, false)], None)),
        Object { schema: "shop".into(), ..object(16404, "item", &[], table(vec![column("sku", DataType::Utf8, &[], "text")], vec![0])) },
        object(16411, "v", &[16386], view_over_t("select id, name from t where ok")),
        object(16415, "mv", &[16386], materialized(true)),
        object(16421, "mv_name", &[16415], index(16415, vec![(0, false, false)], None)),
        object(16430, "events", &[], Body::Source(Source { columns: vec![Column { not_null: true, ..integer("n") }], feed: feed() })),
        object(16431, "out", &[16415], Body::Sink(sink)),
        object(16432, "Mixed Case", &[], table(mixed, vec![0])),
        object(16433, "Mixed Case_order_idx", &[16432], index(16432, vec![(1, true, false), (0, false, true)], Some(vec![2]))),
        // Names that others have by rule.
        object(16434, "_t", &[], table(vec![integer("a")], vec![])),
        object(16435, "u_pkey1", &[], table(vec![integer("a")], vec![])),
        object(16436, "_t_pkey", &[], view_over_t("select 1")),
    ]
}

fn facts_of(objects: impl IntoIterator<Item = Object>) -> Facts {
    let mut roles = Roles::default();
    roles.add(Role::new(16500, "readers")).unwrap();
    roles.get_mut(10).unwrap().member_of = vec![Membership { role: 16500, admin: false, grantor: 10 }];
    Facts {
        catalog: Arc::new(Catalog::with_objects(objects).unwrap().with_roles(roles)),
        schemas: vec![SchemaFact { oid: SHOP, name: "shop".into(), owner: 10 }],
        listings: vec![Listing { name: "sources".into(), schema: Arc::new(Schema::new(vec![Field::new("lag", DataType::Int64, true)])) }],
        settings: Asked::of(|| {
            vec![Setting {
                name: "jit".into(),
                value: "off".into(),
                default: "off".into(),
                unit: None,
                category: "Query Tuning",
                description: "",
                context: "user",
                value_type: "enum",
                choices: vec!["on".into(), "off".into()],
            }]
        }),
        sessions: Asked::of(|| {
            vec![SessionFact {
                pid: 7,
                role: 10,
                user: "tidewater".into(),
                application_name: "psql".into(),
                client_addr: Some("127.0.0.1".into()),
                client_port: 5000,
                encrypted: true,
                backend_start: 1,
                xact_start: None,
                query_start: Some(2),
                state: "idle".into(),
                query: "select 1".into(),
            }]
        }),
        prepared: vec![PreparedFact { name: "p".into(), statement: "select $1".into(), prepare_time: 3, parameter_types: vec![23, 25], from_sql: true }],
        cursors: vec![CursorFact {
            name: "c".into(),
            statement: "select 1".into(),
            is_holdable: false,
            is_binary: false,
            is_scrollable: false,
            creation_time: 4,
        }],
        role: 10,
        started_at: 0,
        now: 1_700_000_000_000_000,
    }
}

fn facts() -> Facts {
    facts_of(objects())
}

fn catalog_rows(name: &str, facts: &Facts) -> RecordBatch {
    rows("pg_catalog", name, facts).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The integers of a column, NULLs left out, lists opened.
fn integers(batch: &RecordBatch, column: &str) -> Vec<i64> {
    fn of(array: &dyn Array) -> Vec<i64> {
        match array.data_type() {
            DataType::Int16 => array.as_primitive::<Int16Type>().iter().flatten().map(i64::from).collect(),
            DataType::Int32 => array.as_primitive::<Int32Type>().iter().flatten().map(i64::from).collect(),
            DataType::List(_) => array.as_list::<i32>().iter().flatten().flat_map(|list| of(&list)).collect(),
            _ => array.as_primitive::<Int64Type>().iter().flatten().collect(),
        }
    }
    of(batch.column_by_name(column).unwrap_or_else(|| panic!("no column {column}")))
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    batch.column_by_name(column).unwrap().as_string::<i32>().iter().map(|t| t.unwrap_or("NULL").to_owned()).collect()
}

/// The row in which a column has a text, as texts by column.
fn row(batch: &RecordBatch, column: &str, value: &str) -> HashMap<String, String> {
    let place = texts(batch, column).iter().position(|t| t == value).unwrap_or_else(|| panic!("no row with {column} = {value}"));
    let format = arrow::util::display::FormatOptions::default().with_null("NULL");
    let cell = |name: &str| {
        let formatter = arrow::util::display::ArrayFormatter::try_new(batch.column_by_name(name).unwrap(), &format).unwrap();
        formatter.value(place).to_string()
    };
    batch.schema().fields().iter().map(|f| (f.name().clone(), cell(f.name()))).collect()
}

#[test]
fn every_relation_can_be_read_and_has_the_columns_that_it_is_described_with() {
    let facts = facts();
    let class = catalog_rows("pg_class", &facts);
    let attributes = catalog_rows("pg_attribute", &facts);
    let by_name: HashMap<String, i64> = texts(&class, "relname").into_iter().zip(integers(&class, "oid")).collect();
    let owners = integers(&attributes, "attrelid");
    for (schema, name) in all() {
        let described = owners.iter().filter(|oid| **oid == by_name[name]).count();
        match find(schema, name).unwrap() {
            Found::Rows(fields) => {
                let batch = rows(schema, name, &facts).unwrap_or_else(|e| panic!("{schema}.{name}: {e}"));
                assert_eq!(batch.schema(), fields, "{name}");
                assert_eq!(fields.fields().len(), described, "{name}");
                assert!(fields.fields().iter().all(|f| f.is_nullable()), "{name}");
                if batch.column_by_name("oid").is_some() && batch.num_rows() > 0 {
                    let oids = integers(&batch, "oid");
                    assert!(oids.is_sorted() && oids.iter().collect::<HashSet<_>>().len() == oids.len(), "{name}");
                }
            }
            Found::View { columns, query } => {
                assert_eq!(columns.len(), described, "{name}");
                assert!(columns.iter().all(|c| query.contains(&format!(" AS {c}"))), "{name}");
            }
        }
    }
    assert!(find("pg_catalog", "nosuch").is_none() && find("public", "pg_class").is_none());
    assert_eq!(rows("pg_catalog", "nosuch", &facts).unwrap_err().sqlstate(), "42P01");
}

/// Relation, column, relation whose OIDs it holds. 0 is nothing.
const REFERENCES: &[(&str, &str, &str)] = &[
    ("pg_class", "relnamespace", "pg_namespace"),
    ("pg_class", "relowner", "pg_authid"),
    ("pg_class", "reltype", "pg_type"),
    ("pg_class", "relam", "pg_am"),
    ("pg_attribute", "attrelid", "pg_class"),
    ("pg_attribute", "atttypid", "pg_type"),
    ("pg_attribute", "attcollation", "pg_collation"),
    ("pg_attrdef", "adrelid", "pg_class"),
    ("pg_type", "typnamespace", "pg_namespace"),
    ("pg_type", "typowner", "pg_authid"),
    ("pg_type", "typrelid", "pg_class"),
    ("pg_type", "typelem", "pg_type"),
    ("pg_type", "typarray", "pg_type"),
    ("pg_type", "typbasetype", "pg_type"),
    ("pg_type", "typcollation", "pg_collation"),
    ("pg_type", "typsubscript", "pg_proc"),
    ("pg_type", "typinput", "pg_proc"),
    ("pg_type", "typoutput", "pg_proc"),
    ("pg_type", "typreceive", "pg_proc"),
    ("pg_type", "typsend", "pg_proc"),
    ("pg_type", "typmodin", "pg_proc"),
    ("pg_type", "typmodout", "pg_proc"),
    ("pg_proc", "pronamespace", "pg_namespace"),
    ("pg_proc", "proowner", "pg_authid"),
    ("pg_proc", "prolang", "pg_language"),
    ("pg_proc", "prorettype", "pg_type"),
    ("pg_proc", "proargtypes", "pg_type"),
    ("pg_proc", "proallargtypes", "pg_type"),
    ("pg_operator", "oprleft", "pg_type"),
    ("pg_operator", "oprright", "pg_type"),
    ("pg_operator", "oprresult", "pg_type"),
    ("pg_operator", "oprcom", "pg_operator"),
    ("pg_operator", "oprnegate", "pg_operator"),
    ("pg_cast", "castsource", "pg_type"),
    ("pg_cast", "casttarget", "pg_type"),
    ("pg_cast", "castfunc", "pg_proc"),
    ("pg_opclass", "opcfamily", "pg_opfamily"),
    ("pg_opclass", "opcintype", "pg_type"),
    ("pg_opclass", "opckeytype", "pg_type"),
    ("pg_opclass", "opcmethod", "pg_am"),
    ("pg_index", "indexrelid", "pg_class"),
    ("pg_index", "indrelid", "pg_class"),
    ("pg_index", "indclass", "pg_opclass"),
    ("pg_index", "indcollation", "pg_collation"),
    ("pg_constraint", "connamespace", "pg_namespace"),
    ("pg_constraint", "conrelid", "pg_class"),
    ("pg_constraint", "conindid", "pg_class"),
    ("pg_rewrite", "ev_class", "pg_class"),
    ("pg_depend", "classid", "pg_class"),
    ("pg_depend", "refclassid", "pg_class"),
    ("pg_description", "classoid", "pg_class"),
    ("pg_foreign_server", "srvfdw", "pg_foreign_data_wrapper"),
    ("pg_foreign_table", "ftrelid", "pg_class"),
    ("pg_foreign_table", "ftserver", "pg_foreign_server"),
    ("pg_database", "datdba", "pg_authid"),
    ("pg_database", "dattablespace", "pg_tablespace"),
    ("pg_namespace", "nspowner", "pg_authid"),
    ("pg_auth_members", "roleid", "pg_authid"),
    ("pg_auth_members", "member", "pg_authid"),
    ("pg_stat_user_tables", "relid", "pg_class"),
    ("pg_stat_user_indexes", "indexrelid", "pg_class"),
];

#[test]
fn every_reference_resolves() {
    let facts = facts();
    let known = |name: &str| -> HashSet<i64> { integers(&catalog_rows(name, &facts), "oid").into_iter().collect() };
    for (relation, column, target) in REFERENCES {
        let targets = known(target);
        let held = integers(&catalog_rows(relation, &facts), column);
        assert!(!held.is_empty(), "{relation}.{column} is empty");
        let lost: Vec<i64> = held.into_iter().filter(|oid| *oid != 0 && !targets.contains(oid)).collect();
        assert!(lost.is_empty(), "{relation}.{column} -> {target}: {lost:?}");
    }
}

#[test]
fn what_depends_on_what_exists_on_both_sides() {
    let facts = facts();
    let classes: HashMap<i64, String> = {
        let batch = catalog_rows("pg_class", &facts);
        integers(&batch, "oid").into_iter().zip(texts(&batch, "relname")).collect()
    };
    for (relation, class, oid) in [("pg_depend", "classid", "objid"), ("pg_depend", "refclassid", "refobjid"), ("pg_description", "classoid", "objoid")] {
        let batch = catalog_rows(relation, &facts);
        for (class, oid) in integers(&batch, class).into_iter().zip(integers(&batch, oid)) {
            let listed = integers(&catalog_rows(&classes[&class], &facts), "oid");
            assert!(listed.contains(&oid), "{relation}: {oid} is not in {}", classes[&class]);
        }
    }
    // As dbt asks: which relations a materialized view reads.
    let depend = catalog_rows("pg_depend", &facts);
    let rule = i64::from(oids::of_part(ObjectId(16415), Part::Rule));
    let read: Vec<i64> = integers(&depend, "objid").into_iter().zip(integers(&depend, "refobjid")).filter(|d| d.0 == rule).map(|d| d.1).collect();
    assert_eq!(read, [16386, 16415]);
}

#[test]
fn names_are_unique_in_their_schema() {
    let facts = facts();
    for (relation, name, namespace) in [("pg_class", "relname", "relnamespace"), ("pg_type", "typname", "typnamespace")] {
        let batch = catalog_rows(relation, &facts);
        let names: Vec<_> = texts(&batch, name).into_iter().zip(integers(&batch, namespace)).collect();
        let mut seen = HashSet::new();
        let twice: Vec<_> = names.iter().filter(|n| !seen.insert(*n)).collect();
        assert!(twice.is_empty(), "{relation}: {twice:?}");
    }
    let class = catalog_rows("pg_class", &facts);
    assert!(!texts(&class, "relname").contains(&"out".to_string()), "a sink is no relation");
    assert_eq!(row(&class, "relname", "Mixed Case_pkey")["oid"], oids::of_part(ObjectId(16432), Part::KeyIndex).to_string());
}

#[test]
fn everything_is_the_same_after_a_restart_and_beside_other_objects() {
    let before = facts();
    let after = facts_of(objects().iter().map(|o| decode(&encode(o).unwrap()).unwrap()));
    for (schema, name) in all() {
        if matches!(find(schema, name), Some(Found::Rows(_))) {
            assert_eq!(rows(schema, name, &before).unwrap(), rows(schema, name, &after).unwrap(), "{schema}.{name}");
        }
    }
    let alone = facts_of(objects().into_iter().filter(|o| o.name == "t"));
    for (relation, key) in [("pg_class", "relname"), ("pg_type", "typname"), ("pg_constraint", "conname")] {
        let name = if key == "conname" { "t_pkey" } else { "t" };
        assert_eq!(row(&catalog_rows(relation, &alone), key, name)["oid"], row(&catalog_rows(relation, &before), key, name)["oid"]);
    }
}

/// Columns of pg_class, pg_attribute and pg_index that clients read, with the values of a real PostgreSQL.
#[test]
fn rows_are_those_of_postgres() {
    let facts = facts();
    let class = catalog_rows("pg_class", &facts);
    for (name, kind, am, natts, hasindex, rules, replident, populated) in [
        ("t", "r", "2", "17", "true", "false", "d", "true"),
        ("v", "v", "0", "2", "false", "true", "n", "true"),
        ("mv", "m", "2", "2", "true", "true", "d", "false"),
        ("u_two", "i", "403", "2", "false", "false", "n", "true"),
        ("u_pkey", "i", "403", "2", "false", "false", "n", "true"),
        ("events", "f", "0", "1", "false", "false", "n", "true"),
        ("pg_class", "r", "2", "33", "false", "false", "n", "true"),
        ("pg_tables", "v", "0", "8", "false", "true", "n", "true"),
    ] {
        let row = row(&class, "relname", name);
        let found = ["relkind", "relam", "relnatts", "relhasindex", "relhasrules", "relreplident", "relispopulated"].map(|c| row[c].clone());
        assert_eq!(found, [kind, am, natts, hasindex, rules, replident, populated], "{name}");
    }
    let attributes = catalog_rows("pg_attribute", &facts);
    for (name, type_oid, length, ndims, modifier, by_value, align, storage, not_null, has_default, generated, collation) in [
        ("id", "20", "8", "0", "-1", "true", "d", "p", "true", "false", "", "0"),
        ("name", "1043", "-1", "0", "24", "false", "i", "x", "true", "false", "", "100"),
        ("amount", "1700", "-1", "0", "786438", "false", "i", "m", "false", "true", "", "0"),
        ("tags", "1007", "-1", "1", "-1", "false", "i", "x", "false", "false", "", "0"),
        ("ref", "2950", "16", "0", "-1", "false", "c", "p", "false", "false", "", "0"),
        ("ts", "1114", "8", "0", "3", "true", "d", "p", "false", "false", "", "0"),
        ("names", "1009", "-1", "1", "-1", "false", "i", "x", "false", "false", "", "100"),
        ("twice", "20", "8", "0", "-1", "true", "d", "p", "false", "true", "s", "0"),
        ("pair", "2249", "-1", "0", "-1", "false", "d", "x", "false", "false", "", "0"),
        ("relname", "19", "64", "0", "-1", "false", "c", "p", "true", "false", "", "950"),
        ("indkey", "22", "-1", "0", "-1", "false", "i", "p", "true", "false", "", "0"),
    ] {
        // The columns of the test's table come after those of the catalogs.
        let last = if name == "relname" || name == "indkey" { attributes.clone() } else { users(&attributes) };
        let row = row(&last, "attname", name);
        let columns = ["atttypid", "attlen", "attndims", "atttypmod", "attbyval", "attalign", "attstorage", "attnotnull", "atthasdef", "attgenerated"];
        let found = columns.map(|c| row[c].clone());
        assert_eq!(found, [type_oid, length, ndims, modifier, by_value, align, storage, not_null, has_default, generated], "{name}");
        assert_eq!(row["attcollation"], collation, "{name}");
    }
    let indexes = catalog_rows("pg_index", &facts);
    let place = |oid: u32| integers(&indexes, "indexrelid").iter().position(|i| *i == i64::from(oid)).unwrap();
    let list = |oid: u32, column: &str| integers(&indexes.slice(place(oid), 1), column);
    assert_eq!((list(16403, "indkey"), list(16403, "indoption"), list(16403, "indclass")), (vec![3, 2], vec![3, 0], vec![1978, 1978]));
    assert_eq!((list(16433, "indkey"), list(16433, "indoption")), (vec![2, 1, 3], vec![1, 2]));
    assert_eq!((list(16433, "indclass"), list(16433, "indcollation")), (vec![3126, 1978], vec![100, 0]));
    assert_eq!((list(16433, "indnatts"), list(16433, "indnkeyatts")), (vec![3], vec![2]));
    let key = oids::of_part(ObjectId(16397), Part::KeyIndex);
    assert_eq!((list(key, "indkey"), list(key, "indclass")), (vec![1, 2], vec![3124, 1978]));
}

/// The rows of pg_attribute behind those of the catalogs.
fn users(attributes: &RecordBatch) -> RecordBatch {
    let first = integers(attributes, "attrelid").iter().position(|oid| *oid >= 16384).unwrap();
    attributes.slice(first, attributes.num_rows() - first)
}

#[test]
fn types_have_the_names_that_postgres_gives_them() {
    let facts = facts();
    let t = oids::of_part(ObjectId(16386), Part::RowType);
    let item = oids::of_part(ObjectId(16404), Part::RowArray);
    for (oid, modifier, name) in [
        (0, Some(-1), "-"),
        (99_999, Some(-1), "???"),
        (1042, None, "character"),
        (1042, Some(-1), "bpchar"),
        (1042, Some(9), "character(5)"),
        (1043, Some(24), "character varying(20)"),
        (1700, Some(786_438), "numeric(12,2)"),
        (1114, Some(3), "timestamp(3) without time zone"),
        (1184, Some(0), "timestamp(0) with time zone"),
        (1083, Some(2), "time(2) without time zone"),
        (1186, Some(-1), "interval"),
        (1186, Some((32767 << 16) | 3), "interval(3)"),
        (1007, None, "integer[]"),
        (18, None, "\"char\""),
        (1002, None, "\"char\"[]"),
        (19, None, "name"),
        (1231, Some(786_438), "numeric(12,2)[]"),
        (1015, Some(24), "character varying(20)[]"),
        (23, Some(5), "integer"),
        (13226, Some(-1), "information_schema.sql_identifier"),
        (t, None, "t"),
        (item, None, "shop.item[]"),
        (22, Some(-1), "int2vector"),
        (30, Some(-1), "oidvector"),
        (2249, None, "record"),
        (705, None, "unknown"),
    ] {
        assert_eq!(format_type(&facts, oid, modifier), name, "{oid}");
    }
    assert_eq!(user_name(&facts, 10), "tidewater");
    assert_eq!(user_name(&facts, 77), "unknown (OID=77)");
}

fn path(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

#[test]
fn oids_have_the_names_that_find_them() {
    let facts = facts();
    let public = path(&["$user", "public"]);
    for (kind, text, expected) in [
        (Reg::Class, "t", "t"),
        (Reg::Class, " \"t\" ", "t"),
        (Reg::Class, "T", "t"),
        (Reg::Class, "tidewater.public.t", "t"),
        (Reg::Class, "shop.item", "shop.item"),
        (Reg::Class, "\"Mixed Case\"", "\"Mixed Case\""),
        (Reg::Class, "\"Mixed Case_pkey\"", "\"Mixed Case_pkey\""),
        (Reg::Class, "item_pkey", "?"),
        (Reg::Class, "shop.item_pkey", "shop.item_pkey"),
        (Reg::Class, "pg_class", "pg_class"),
        (Reg::Class, "information_schema.tables", "information_schema.tables"),
        (Reg::Class, "tidewater.sources", "tidewater.sources"),
        (Reg::Class, "1247", "pg_type"),
        (Reg::Class, "-", "-"),
        (Reg::Type, "00023", "integer"),
        (Reg::Type, "int[3][]", "integer[]"),
        (Reg::Type, "int array[4]", "integer[]"),
        (Reg::Type, "_int4", "integer[]"),
        (Reg::Type, "char", "character"),
        (Reg::Type, "\"char\"", "\"char\""),
        (Reg::Type, "pg_catalog.\"char\"", "\"char\""),
        (Reg::Type, "char varying", "character varying"),
        (Reg::Type, "character varying(20)", "character varying"),
        (Reg::Type, "national character varying(4)", "character varying"),
        (Reg::Type, "nchar", "character"),
        (Reg::Type, "dec", "numeric"),
        (Reg::Type, "numeric(12,2)[]", "numeric[]"),
        (Reg::Type, "float(10)", "real"),
        (Reg::Type, "float(30)", "double precision"),
        (Reg::Type, "float", "double precision"),
        (Reg::Type, "timestamp(3) with time zone", "timestamp with time zone"),
        (Reg::Type, "time without time zone", "time without time zone"),
        (Reg::Type, "interval day to second(3)", "interval"),
        (Reg::Type, "Int4", "integer"),
        (Reg::Type, "pg_catalog.text", "text"),
        (Reg::Type, "t", "t"),
        (Reg::Type, "public.t[]", "t[]"),
        (Reg::Type, "_t", "_t"),
        (Reg::Type, "_u", "u[]"),
        (Reg::Type, "shop.item", "shop.item"),
        (Reg::Type, "\"Mixed Case\"[]", "\"Mixed Case\"[]"),
        (Reg::Type, "information_schema.sql_identifier", "information_schema.sql_identifier"),
        (Reg::Proc, "array_recv", "array_recv"),
        (Reg::Proc, "pg_catalog.now", "now"),
        (Reg::Proc, "1395", "pg_catalog.abs"),
        (Reg::Procedure, "abs(float8)", "abs(double precision)"),
        (Reg::Procedure, "now()", "now()"),
        (Reg::Operator, "+(int,int4)", "+(integer,integer)"),
        (Reg::Namespace, "public", "public"),
        (Reg::Namespace, "11", "pg_catalog"),
        (Reg::Role, "tidewater", "tidewater"),
        (Reg::Role, "10", "tidewater"),
    ] {
        let found = oid_of(&facts, kind, text, &public);
        let printed = found.map(|oid| name_of(&facts, kind, oid, &public).unwrap_or_else(|| oid.to_string()));
        assert_eq!(printed.as_deref().unwrap_or("?"), expected, "{text}: {:?}", printed.as_ref().err());
    }
    let shop = path(&["shop"]);
    assert_eq!(oid_of(&facts, Reg::Class, "item", &shop).unwrap(), 16404);
    assert_eq!(name_of(&facts, Reg::Class, 16404, &shop).unwrap(), "item");
    assert_eq!(name_of(&facts, Reg::Class, 16386, &shop).unwrap(), "public.t");
    assert_eq!(name_of(&facts, Reg::Type, oids::of_part(ObjectId(16386), Part::RowType), &shop).unwrap(), "public.t");
    for kind in [Reg::Class, Reg::Type, Reg::Proc, Reg::Procedure, Reg::Operator, Reg::Namespace, Reg::Role] {
        assert_eq!(name_of(&facts, kind, 99_999, &public), None);
        assert_eq!(name_of(&facts, kind, 0, &public).as_deref(), Some("-"));
    }
}

#[test]
fn what_no_name_finds_is_told_as_postgres_tells_it() {
    let facts = facts();
    let public = path(&["public"]);
    for (kind, text, sqlstate, message) in [
        (Reg::Class, "nosuch", "42P01", "relation \"nosuch\" does not exist"),
        (Reg::Class, "public.such", "42P01", "relation \"public.such\" does not exist"),
        (Reg::Class, "\"T\"", "42P01", "relation \"T\" does not exist"),
        (Reg::Class, "out", "42P01", "relation \"out\" does not exist"),
        (Reg::Class, "nos.such", "3F000", "schema \"nos\" does not exist"),
        (Reg::Class, "other.public.such", "0A000", "cross-database references are not implemented: \"other.public.such\""),
        (Reg::Class, "a.b.c.d", "42601", "improper relation name (too many dotted names): a.b.c.d"),
        (Reg::Class, "4294967296", "22003", "value \"4294967296\" is out of range for type oid"),
        (Reg::Type, "nosuch", "42704", "type \"nosuch\" does not exist"),
        (Reg::Type, "public.nosuch", "42704", "type \"public.nosuch\" does not exist"),
        (Reg::Type, "nos.such", "3F000", "schema \"nos\" does not exist"),
        (Reg::Type, "\"integer\"", "42704", "type \"integer\" does not exist"),
        (Reg::Type, "pg_catalog.integer", "42704", "type \"pg_catalog.integer\" does not exist"),
        (Reg::Type, "int4(3)", "42601", "type modifier is not allowed for type \"int4\""),
        (Reg::Type, "a.b.c.d", "42601", "improper qualified name (too many dotted names): a.b.c.d"),
        (Reg::Proc, "nosuch", "42883", "function \"nosuch\" does not exist"),
        (Reg::Proc, "public.abs", "42883", "function \"public.abs\" does not exist"),
        (Reg::Proc, "abs", "42883", "more than one function named \"abs\""),
        (Reg::Procedure, "nosuch(int)", "42883", "function \"nosuch(int)\" does not exist"),
        (Reg::Procedure, "abs(text)", "42883", "function \"abs(text)\" does not exist"),
        (Reg::Procedure, "abs", "22P02", "expected a left parenthesis"),
        (Reg::Namespace, "nosuch", "3F000", "schema \"nosuch\" does not exist"),
        (Reg::Namespace, "a.b", "42601", "invalid name syntax"),
        (Reg::Role, "nosuch", "42704", "role \"nosuch\" does not exist"),
    ] {
        let error = oid_of(&facts, kind, text, &public).unwrap_err();
        assert_eq!((error.sqlstate(), error.message()), (sqlstate, message), "{text}");
    }
}

#[test]
fn definitions_are_statements() {
    let facts = facts();
    let key = |id: u32, part| oids::of_part(ObjectId(id), part);
    let index = |oid, pretty| index_definition(&facts, oid, 0, pretty).unwrap();
    assert_eq!(index(16403, false), "CREATE INDEX u_two ON public.u USING btree (qty DESC, pos)");
    assert_eq!(index(16403, true), "CREATE INDEX u_two ON u USING btree (qty DESC, pos)");
    assert_eq!(index(key(16397, Part::KeyIndex), false), "CREATE UNIQUE INDEX u_pkey ON public.u USING btree (t_id, pos)");
    assert_eq!(
        index(16433, false),
        "CREATE INDEX \"Mixed Case_order_idx\" ON public.\"Mixed Case\" USING btree (\"order\" DESC NULLS LAST, \"a B\" NULLS FIRST) INCLUDE (c)"
    );
    let parts = |oid| [1, 2, 3, 4].map(|column| index_definition(&facts, oid, column, true).unwrap());
    assert_eq!(parts(16433), ["\"order\"", "\"a B\"", "c", ""]);
    assert_eq!(index_definition(&facts, 16386, 0, true), None);
    assert_eq!(constraint_definition(&facts, key(16397, Part::KeyConstraint)).unwrap(), "PRIMARY KEY (t_id, pos)");
    assert_eq!(constraint_definition(&facts, key(16432, Part::KeyConstraint)).unwrap(), "PRIMARY KEY (\"a B\")");
    assert_eq!(constraint_definition(&facts, key(16434, Part::KeyConstraint)), None);
    assert_eq!(view_definition(&facts, 16411).unwrap(), "select id, name from t where ok;");
    assert_eq!(view_definition(&facts, 16415).unwrap(), "select name, count(*) as n from t group by name;");
    assert!(view_definition(&facts, 16386).is_none() && view_definition(&facts, oids::PG_CLASS).is_none());
    assert!(rule_definition(&facts, key(16411, Part::Rule)).unwrap().ends_with("ON SELECT TO public.v DO INSTEAD select id, name from t where ok;"));
    assert_eq!(description(&facts, 16386, "pg_class", 0).as_deref(), Some("the table of the test"));
    assert_eq!(description(&facts, 16386, "pg_class", 3).as_deref(), Some("in euros"));
    assert_eq!(description(&facts, 16386, "pg_type", 0), None);
    assert_eq!(function_arguments(&facts, 2096).unwrap(), "pid integer, timeout bigint");
    assert_eq!(function_result(&facts, 3208).unwrap(), "SETOF record");
}

#[test]
fn a_name_without_a_schema_sees_what_the_path_shows() {
    let facts = facts();
    let (public, shop) = (path(&["public"]), path(&["shop"]));
    let visible = |class: &str, oid, path: &[String]| is_visible(&facts, class, oid, path);
    assert_eq!((visible("pg_class", 16386, &public), visible("pg_class", 16386, &shop)), (Some(true), Some(false)));
    assert_eq!((visible("pg_class", 16404, &public), visible("pg_class", 16404, &shop)), (Some(false), Some(true)));
    assert_eq!((visible("pg_class", oids::PG_CLASS, &shop), visible("pg_class", 99_999, &shop)), (Some(true), None));
    let row = |id| oids::of_part(ObjectId(id), Part::RowType);
    assert_eq!((visible("pg_type", 23, &shop), visible("pg_type", 13226, &shop)), (Some(true), Some(false)));
    assert_eq!((visible("pg_type", row(16386), &public), visible("pg_type", row(16386), &shop)), (Some(true), Some(false)));
    assert_eq!((visible("pg_proc", 1299, &shop), visible("pg_operator", 1, &shop), visible("pg_collation", 950, &shop)), (Some(true), None, Some(true)));
}

#[test]
fn information_schema_says_what_postgres_says() {
    let facts = facts();
    let read = |name: &str| rows("information_schema", name, &facts).unwrap();
    let tables = read("tables");
    for (name, kind, insertable) in [("t", "BASE TABLE", "YES"), ("v", "VIEW", "NO"), ("events", "FOREIGN", "NO")] {
        let row = row(&tables, "table_name", name);
        assert_eq!((row["table_type"].as_str(), row["is_insertable_into"].as_str()), (kind, insertable));
    }
    assert!(!texts(&tables, "table_name").contains(&"mv".to_string()));
    let columns = read("columns");
    let first = texts(&columns, "table_name").iter().position(|t| t == "t").unwrap();
    let of_t = columns.slice(first, columns_of_t().len());
    for (name, data_type, udt, length, octets, precision, radix, scale, time) in [
        ("id", "bigint", "int8", "NULL", "NULL", "64", "2", "0", "NULL"),
        ("name", "character varying", "varchar", "20", "80", "NULL", "NULL", "NULL", "NULL"),
        ("amount", "numeric", "numeric", "NULL", "NULL", "12", "10", "2", "NULL"),
        ("at", "timestamp with time zone", "timestamptz", "NULL", "NULL", "NULL", "NULL", "NULL", "6"),
        ("tags", "ARRAY", "_int4", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"),
        ("doc", "jsonb", "jsonb", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"),
        ("day", "date", "date", "NULL", "NULL", "NULL", "NULL", "NULL", "0"),
        ("small", "smallint", "int2", "NULL", "NULL", "16", "2", "0", "NULL"),
        ("d", "double precision", "float8", "NULL", "NULL", "53", "2", "NULL", "NULL"),
        ("dur", "interval", "interval", "NULL", "NULL", "NULL", "NULL", "NULL", "6"),
        ("ts", "timestamp without time zone", "timestamp", "NULL", "NULL", "NULL", "NULL", "NULL", "3"),
    ] {
        let row = row(&of_t, "column_name", name);
        let names = ["data_type", "udt_name", "character_maximum_length", "character_octet_length", "numeric_precision", "numeric_precision_radix"];
        assert_eq!(names.map(|n| row[n].as_str()), [data_type, udt, length, octets, precision, radix], "{name}");
        assert_eq!([row["numeric_scale"].as_str(), row["datetime_precision"].as_str(), row["udt_schema"].as_str()], [scale, time, "pg_catalog"], "{name}");
    }
    let amount = row(&of_t, "column_name", "amount");
    assert_eq!((amount["column_default"].as_str(), amount["is_nullable"].as_str(), amount["dtd_identifier"].as_str()), ("0", "YES", "3"));
    let twice = row(&of_t, "column_name", "twice");
    assert_eq!((twice["is_generated"].as_str(), twice["generation_expression"].as_str(), twice["column_default"].as_str()), ("ALWAYS", "id * 2", "NULL"));
    let typed = row(&columns, "column_name", "is_typed");
    assert_eq!((typed["domain_name"].as_str(), typed["character_maximum_length"].as_str(), typed["collation_name"].as_str()), ("yes_or_no", "3", "C"));
    let constraints = read("table_constraints");
    assert_eq!(row(&constraints, "constraint_name", "u_pkey")["constraint_type"], "PRIMARY KEY");
    assert_eq!(row(&constraints, "constraint_name", "2200_16397_3_not_null")["table_name"], "u");
    assert_eq!(row(&read("check_constraints"), "constraint_name", "2200_16397_3_not_null")["check_clause"], "qty IS NOT NULL");
    assert_eq!(row(&read("key_column_usage"), "column_name", "pos")["ordinal_position"], "2");
    assert_eq!(texts(&read("schemata"), "schema_name"), ["pg_catalog", "public", "information_schema", "tidewater", "shop"]);
    assert_eq!(row(&read("element_types"), "object_name", "t")["data_type"], "integer");
    assert_eq!(row(&read("foreign_tables"), "foreign_table_name", "events")["foreign_server_name"], "kafka");
}

#[test]
fn sessions_roles_and_settings_are_told() {
    let facts = facts();
    let one = |relation: &str, column: &str, value: &str| row(&catalog_rows(relation, &facts), column, value);
    assert_eq!(one("pg_stat_activity", "application_name", "psql")["wait_event"], "ClientRead");
    let encrypted = catalog_rows("pg_stat_ssl", &facts);
    assert_eq!((integers(&encrypted, "pid"), encrypted.column_by_name("ssl").unwrap().as_boolean().value(0)), (vec![7], true));
    assert_eq!(one("pg_settings", "name", "jit")["source"], "default");
    assert_eq!(one("pg_roles", "rolname", "tidewater")["rolpassword"], "********");
    assert_eq!(one("pg_authid", "rolname", "tidewater")["rolpassword"], "NULL");
    assert_eq!(one("pg_shadow", "usename", "tidewater")["passwd"], "NULL");
    assert_eq!(one("pg_group", "groname", "readers")["grolist"], "[10]");
    assert_eq!(one("pg_prepared_statements", "name", "p")["parameter_types"], "[23, 25]");
    assert_eq!(one("pg_database", "datname", "tidewater")["datallowconn"], "true");
    assert_eq!(texts(&catalog_rows("pg_am", &facts), "amname"), ["heap", "btree"]);
    assert_eq!(catalog_rows("pg_locks", &facts).num_rows(), 0);
    let options = catalog_rows("pg_foreign_table", &facts).column_by_name("ftoptions").unwrap().as_list::<i32>().value(0);
    assert_eq!(options.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["topic=a"]);
    assert!(catalog_rows("pg_timezone_names", &facts).num_rows() > 400);
    assert_eq!(one("pg_timezone_names", "name", "Europe/Paris")["abbrev"], "CET");
}
