"""What BI tools send, replayed: the statements of Grafana, Metabase, DBeaver and Power BI (npgsql's type loader among them), in the forms that their sources have.

The tools themselves have forms to be clicked; here psycopg sends what they would, over a table and a view that BI users would have. What is expected is what PostgreSQL answers.
"""

import datetime as dt
import decimal

import psycopg

import check
from check import Suite, equal, eventually, holds

SUITE_PREFIX = "bi"


def connect():
    # The tools mean the text as it stands.
    return psycopg.connect(host=check.HOST, port=check.PORT, user=check.USER, dbname=check.DATABASE, autocommit=True, options="-c TimeZone=UTC")


suite = Suite("bi", connect)


def rows(c, statement):
    return [tuple(r) for r in c.execute(statement).fetchall()]


def one(c, statement):
    return rows(c, statement)[0][0]


def named(c, statement):
    """Rows as dictionaries: the tools look columns up by name."""
    cur = c.execute(statement)
    names = [d.name for d in cur.description]
    return [dict(zip(names, r)) for r in cur.fetchall()]


@suite.check("a table, rows and a materialized view", prepares=True)
def begin(c):
    for statement in check.beginning(SUITE_PREFIX):
        c.execute(statement)
    c.execute("comment on table bi_orders is 'what was ordered'")
    equal(totals(c), check.FIRST_TOTALS)


def totals(c):
    if check.CONTROL:
        c.execute("refresh materialized view bi_totals")
    return rows(c, "select customer, orders, total from bi_totals order by customer")


# Grafana (postgresMetaQuery.ts)

IN_PATH = """
        SELECT
          CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
        FROM
          generate_series(
            array_lower(string_to_array(current_setting('search_path'),','),1),
            array_upper(string_to_array(current_setting('search_path'),','),1)
          ) as i,
          string_to_array(current_setting('search_path'),',') s"""


@suite.check("Grafana: version and extensions")
def grafana_version(c):
    equal(one(c, "SELECT current_setting('server_version_num')::int/100 as version"), 1500)
    equal(rows(c, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"), [])


@suite.check("Grafana: tables of the search path")
def grafana_tables(c):
    found = rows(c, f"""
      SELECT
        CASE WHEN quote_ident(table_schema) IN ({IN_PATH})
          THEN quote_ident(table_name)
          ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
        END AS "table"
      FROM information_schema.tables
      WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache', '_timescaledb_catalog', 'timescaledb_information')
      ORDER BY CASE WHEN quote_ident(table_schema) IN ({IN_PATH}) THEN 0 ELSE 1 END, 1""")
    holds(("bi_orders",) in found, "bi_orders among the tables", found[:20])


@suite.check("Grafana: columns of a table, and its time column")
def grafana_columns(c):
    where = f"""
      WHERE CASE
        WHEN array_length(parse_ident('public.bi_orders'),1) = 2
          THEN quote_ident(table_schema) = (parse_ident('public.bi_orders'))[1] AND quote_ident(table_name) = (parse_ident('public.bi_orders'))[2]
        ELSE quote_ident(table_name) = 'public.bi_orders' AND quote_ident(table_schema) IN ({IN_PATH}) END"""
    found = rows(c, f"""SELECT quote_ident(column_name) as "column", data_type as "type" FROM information_schema.columns {where}""")
    equal(found, [("id", "bigint"), ("customer", "character varying"), ("amount", "numeric"), ("at", "timestamp with time zone")])
    times = f"SELECT quote_ident(column_name) as column FROM information_schema.columns {where} AND data_type IN ('timestamp without time zone', 'timestamp with time zone', 'bigint', 'integer', 'double precision', 'real') ORDER BY ordinal_position DESC LIMIT 1"
    equal(rows(c, times), [("at",)])


@suite.check("Grafana: a panel of grouped time, and a table of raw rows")
def grafana_panel(c):
    found = rows(c, """SELECT floor(extract(epoch from "at")/86400)*86400 AS "time", customer AS metric, sum(amount) AS "amount" FROM bi_orders
      WHERE "at" BETWEEN '2024-01-01T00:00:00Z' AND '2024-01-02T00:00:00.001Z' GROUP BY 1, 2 ORDER BY 1, 2""")
    equal([(float(t), m, a) for t, m, a in found], [(1704067200.0, "ann", decimal.Decimal("10.50")), (1704153600.0, "bob", decimal.Decimal("20.25"))])
    found = rows(c, """SELECT extract(epoch from "at") AS "time", id AS "value" FROM bi_orders WHERE "at" >= '2024-01-01T00:00:00Z' AND "at" <= '2024-01-03T00:00:00Z' ORDER BY 1 LIMIT 50""")
    equal([(float(t), v) for t, v in found], [(1704067200.0, 1), (1704153600.0, 2)])


# Metabase (driver/postgres.clj, driver/sql_jdbc)

SYSTEM_SCHEMAS = "(n.nspname !~ '^pg_') AND (n.nspname <> 'information_schema')"


@suite.check("Metabase: session's zone")
def metabase_zone(c):
    c.execute("SET SESSION TIMEZONE TO 'Europe/Berlin'")
    equal(one(c, "show timezone"), "Europe/Berlin")
    equal(one(c, """SELECT to_char(date_trunc('day', "at"), 'YYYY-MM-DD HH24:MI') FROM bi_orders WHERE id = 2"""), "2024-01-02 00:00")


@suite.check("Metabase: tables, views and materialized views, with comments")
def metabase_tables(c):
    found = named(c, f"""SELECT "n"."nspname" AS "schema", "c"."relname" AS "name",
      CASE "c"."relkind" WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS "type",
      "d"."description" AS "description", NULLIF("stat"."n_live_tup", 0) AS "estimated_row_count"
      FROM "pg_catalog"."pg_class" AS "c"
      INNER JOIN "pg_catalog"."pg_namespace" AS "n" ON "c"."relnamespace" = "n"."oid"
      LEFT JOIN "pg_catalog"."pg_description" AS "d" ON ("c"."oid" = "d"."objoid") AND ("d"."objsubid" = 0) AND ("d"."classoid" = 'pg_class'::regclass)
      LEFT JOIN "pg_stat_user_tables" AS "stat" ON ("n"."nspname" = "stat"."schemaname") AND ("c"."relname" = "stat"."relname")
      WHERE ("c"."relnamespace" = "n"."oid") AND {SYSTEM_SCHEMAS} AND c.relkind in ('r', 'p', 'v', 'f', 'm') AND ("n"."nspname" IN ('public'))
      ORDER BY "type" ASC, "schema" ASC, "name" ASC""")
    ours = [(r["name"], r["type"], r["description"]) for r in found if r["name"].startswith("bi_")]
    equal(ours, [("bi_totals", "MATERIALIZED VIEW", None), ("bi_orders", "TABLE", "what was ordered")])


@suite.check("Metabase: fields of tables and of materialized views")
def metabase_fields(c):
    found = named(c, """SELECT "c"."column_name" AS "name", "c"."udt_name" AS "database-type", "c"."ordinal_position" - 1 AS "database-position", "c"."table_schema" AS "table-schema", "c"."table_name" AS "table-name",
      "pk"."column_name" IS NOT NULL AS "pk?", COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST("c"."table_schema" AS TEXT), CAST("c"."table_name" AS TEXT)) AS REGCLASS) AS OID), "c"."ordinal_position") AS "field-comment",
      (("column_default" IS NULL) OR (LOWER("column_default") = 'null')) AND ("is_nullable" = 'NO') AND NOT ((("column_default" IS NOT NULL) AND ("column_default" LIKE '%nextval(%')) OR ("is_identity" <> 'NO')) AS "database-required"
      FROM "information_schema"."columns" AS "c"
      LEFT JOIN (SELECT "tc"."table_schema", "tc"."table_name", "kc"."column_name" FROM "information_schema"."table_constraints" AS "tc"
        INNER JOIN "information_schema"."key_column_usage" AS "kc" ON ("tc"."constraint_name" = "kc"."constraint_name") AND ("tc"."table_schema" = "kc"."table_schema") AND ("tc"."table_name" = "kc"."table_name")
        WHERE "tc"."constraint_type" = 'PRIMARY KEY') AS "pk"
        ON ("c"."table_schema" = "pk"."table_schema") AND ("c"."table_name" = "pk"."table_name") AND ("c"."column_name" = "pk"."column_name")
      WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND ("c"."table_schema" IN ('public')) AND ("c"."table_name" IN ('bi_orders', 'bi_totals'))
      UNION ALL
      SELECT "pa"."attname" AS "name", "pt"."typname" AS "database-type", "pa"."attnum" - 1 AS "database-position", "pn"."nspname" AS "table-schema", "pc"."relname" AS "table-name", FALSE AS "pk?", NULL AS "field-comment", FALSE AS "database-required"
      FROM "pg_catalog"."pg_class" AS "pc"
      INNER JOIN "pg_catalog"."pg_namespace" AS "pn" ON "pn"."oid" = "pc"."relnamespace"
      INNER JOIN "pg_catalog"."pg_attribute" AS "pa" ON "pa"."attrelid" = "pc"."oid"
      INNER JOIN "pg_catalog"."pg_type" AS "pt" ON "pt"."oid" = "pa"."atttypid"
      WHERE ("pc"."relkind" = 'm') AND ("pa"."attnum" >= 1) AND ("pn"."nspname" IN ('public')) AND ("pc"."relname" IN ('bi_orders', 'bi_totals'))
      ORDER BY "table-schema" ASC, "table-name" ASC, "database-position" ASC""")
    equal(
        [(r["table-name"], r["name"], r["database-type"], r["pk?"], r["database-required"]) for r in found],
        [
            ("bi_orders", "id", "int8", True, True),
            ("bi_orders", "customer", "varchar", False, True),
            ("bi_orders", "amount", "numeric", False, False),
            ("bi_orders", "at", "timestamptz", False, False),
            ("bi_totals", "customer", "varchar", False, False),
            ("bi_totals", "orders", "int8", False, False),
            ("bi_totals", "total", "numeric", False, False),
        ],
    )


@suite.check("Metabase: privileges over tables, views and materialized views")
def metabase_privileges(c):
    found = rows(c, """with table_privileges as (
      select NULL as role, t.schemaname as schema, t.objectname as table,
        pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'update') as update,
        pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'select') as select,
        pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'insert') as insert,
        pg_catalog.has_table_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'delete') as delete
      from (
        select schemaname, tablename as objectname from pg_catalog.pg_tables
        union select schemaname, viewname as objectname from pg_catalog.pg_views
        union select schemaname, matviewname as objectname from pg_catalog.pg_matviews) t
      where t.schemaname !~ '^pg_' and t.schemaname <> 'information_schema' and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage'))
      select t.* from table_privileges t where t.table like 'bi\\_%' order by t.table""")
    equal(found, [(None, "public", "bi_orders", True, True, True, True), (None, "public", "bi_totals", True, True, True, True)])


@suite.check("Metabase: questions: sums by month, fingerprints, distinct values")
def metabase_questions(c):
    found = rows(c, """SELECT CAST(DATE_TRUNC('month', "public"."bi_orders"."at") AS date) AS "at", SUM("public"."bi_orders"."amount") AS "sum" FROM "public"."bi_orders"
      WHERE "public"."bi_orders"."at" >= timestamp with time zone '2024-01-01 00:00:00.000Z' GROUP BY CAST(DATE_TRUNC('month', "public"."bi_orders"."at") AS date) ORDER BY CAST(DATE_TRUNC('month', "public"."bi_orders"."at") AS date) ASC""")
    equal(found, [(dt.date(2024, 1, 1), decimal.Decimal("30.75"))])
    equal(rows(c, """SELECT "public"."bi_orders"."id" AS "id", SUBSTRING("public"."bi_orders"."customer", 1, 1234) AS "substring1" FROM "public"."bi_orders" ORDER BY 1 LIMIT 10000"""), [(1, "ann"), (2, "bob"), (3, "ann")])
    equal(rows(c, """SELECT "public"."bi_totals"."customer" AS "customer" FROM "public"."bi_totals" GROUP BY "public"."bi_totals"."customer" ORDER BY "public"."bi_totals"."customer" ASC LIMIT 1001"""), [("ann",), ("bob",)])
    equal(rows(c, """SELECT COUNT(*) AS "count" FROM (SELECT * FROM "public"."bi_totals") AS "source" WHERE ("source"."total" > 16) AND (LOWER("source"."customer") LIKE '%bo%')"""), [(1,)])
    equal(rows(c, 'SELECT TRUE FROM "public"."bi_totals" WHERE 1 <> 1 LIMIT 0'), [])


# DBeaver (org.jkiss.dbeaver.ext.postgresql)


@suite.check("DBeaver: databases, schemas, settings, keywords")
def dbeaver_begin(c):
    equal(rows(c, "SELECT current_schema(),session_user"), [("public", check.USER)])
    found = named(c, "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate OR db.datname ='nosuch' ORDER BY db.datname")
    holds(check.DATABASE in [r["datname"] for r in found], "the database", found)
    found = named(c, "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname")
    holds({"information_schema", "pg_catalog", "public"} <= {r["nspname"] for r in found}, "the schemas", found)
    equal(named(c, "select * from pg_catalog.pg_settings where name='standard_conforming_strings'")[0]["setting"], "on")
    words = one(c, "select string_agg(word, ',') from pg_catalog.pg_get_keywords() where word <> ALL ('{a,abs,absolute,action}'::text[])")
    holds("select" in words.split(",") and "action" not in words.split(","), "the key words", words[:200])


def class_oid(c, name):
    return one(c, f"select '{name}'::regclass::oid::bigint")


@suite.check("DBeaver: relations of a schema, and their sizes")
def dbeaver_tables(c):
    found = named(c, """SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key
      FROM pg_catalog.pg_class c
      LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass
      WHERE c.relnamespace='public'::regnamespace AND c.relkind not in ('i','I','c') AND c.relname LIKE 'bi\\_%' ORDER BY c.relname""")
    equal([(r["relname"], r["relkind"], r["description"], r["partition_key"]) for r in found], [("bi_orders", "r", "what was ordered", None), ("bi_totals", "m", None, None)])
    found = rows(c, "select c.oid,pg_catalog.pg_total_relation_size(c.oid) as total_rel_size,pg_catalog.pg_relation_size(c.oid) as rel_size FROM pg_class c WHERE c.relnamespace='public'::regnamespace and c.relname = 'bi_orders'")
    equal(len(found), 1)


@suite.check("DBeaver: columns, constraints and indexes of a table")
def dbeaver_table(c):
    oid = class_oid(c, "bi_orders")
    found = named(c, f"""SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid
      FROM pg_catalog.pg_attribute a
      INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid)
      LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum)
      LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)
      LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid
      WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND c.oid={oid} AND a.attnum > 0 ORDER BY a.attnum""")
    equal([(r["attname"], r["attnotnull"], r["def_value"]) for r in found], [("id", True, None), ("customer", True, None), ("amount", False, "0"), ("at", False, None)])
    found = named(c, f"""SELECT c.oid,c.*,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description, null as consrc_copy
      FROM pg_catalog.pg_constraint c
      INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid
      LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid
      LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass
      WHERE c.conrelid={oid}""")
    equal([(r["conname"], r["contype"], r["conkey"]) for r in found], [("bi_orders_pkey", "p", [1])])
    found = named(c, f"""SELECT i.*,i.indkey as keys,c.relname,c.relnamespace,c.relam,c.reltablespace,tc.relname as tabrelname,dsc.description,pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr,
      pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) as expr,pg_catalog.pg_relation_size(i.indexrelid) as index_rel_size,pg_catalog.pg_stat_get_numscans(i.indexrelid) as index_num_scans
      FROM pg_catalog.pg_index i
      INNER JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid
      INNER JOIN pg_catalog.pg_class tc ON tc.oid=i.indrelid
      LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid=dsc.objoid
      WHERE i.indrelid={oid} ORDER BY tabrelname, c.relname""")
    equal([(r["relname"], r["indisprimary"], r["pred_expr"]) for r in found], [("bi_orders_pkey", True, None)])


@suite.check("DBeaver: data types, a view's source, pages of data")
def dbeaver_rest(c):
    found = named(c, """SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description
      FROM pg_catalog.pg_type t
      LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem
      LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid
      LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid
      WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')""")
    holds({"int8", "text", "numeric", "timestamptz", "jsonb", "uuid"} <= {r["typname"] for r in found}, "the types", len(found))
    source = one(c, f"SELECT pg_catalog.pg_get_viewdef({class_oid(c, 'bi_totals')}, true)")
    holds("bi_orders" in source and "amount)" in source.lower(), "the view's query", source)
    equal(rows(c, "SELECT x.* FROM public.bi_orders x ORDER BY x.id LIMIT 2 OFFSET 1")[0][:2], (2, "bob"))
    equal(rows(c, "SELECT count(*) AS counted FROM public.bi_totals"), [(2,)])


# Power BI: npgsql, and what its query editor asks

NPGSQL_TYPES = """
SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid
FROM (
    -- Arrays have typtype=b - this subquery identifies them by their typreceive and converts their typtype to a
    -- We first do this for the type (innerest-most subquery), and then for its element type
    SELECT
        typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, typ.relkind,
        elemtyp.oid AS elemtypoid, elemtyp.typname AS elemtypname, elemcls.relkind AS elemrelkind,
        CASE WHEN elemproc.proname='array_recv' THEN 'a' ELSE elemtyp.typtype END AS elemtyptype
    FROM (
        SELECT typ.oid, typnamespace, typname, typrelid, typnotnull, relkind, typelem AS elemoid,
            CASE WHEN proc.proname='array_recv' THEN 'a' ELSE typ.typtype END AS typtype,
            CASE
                WHEN proc.proname='array_recv' THEN typ.typelem
                WHEN typ.typtype='r' THEN rngsubtype
                WHEN typ.typtype='m' THEN (SELECT rngtypid FROM pg_range WHERE rngmultitypid = typ.oid)
                WHEN typ.typtype='d' THEN typ.typbasetype
            END AS elemtypoid
        FROM pg_type AS typ
        LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid)
        LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive
        LEFT JOIN pg_range ON (pg_range.rngtypid = typ.oid)
    ) AS typ
    LEFT JOIN pg_type AS elemtyp ON elemtyp.oid = elemtypoid
    LEFT JOIN pg_class AS elemcls ON (elemcls.oid = elemtyp.typrelid)
    LEFT JOIN pg_proc AS elemproc ON elemproc.oid = elemtyp.typreceive
) AS t
JOIN pg_namespace AS ns ON (ns.oid = typnamespace)
WHERE
    typtype IN ('b', 'r', 'm', 'e', 'd') OR
    (typtype = 'c' AND relkind='c') OR
    (typtype = 'p' AND typname IN ('record', 'void', 'unknown')) OR
    (typtype = 'a' AND (
        elemtyptype IN ('b', 'r', 'm', 'e', 'd') OR
        (elemtyptype = 'p' AND elemtypname IN ('record', 'void')) OR
        (elemtyptype = 'c' AND elemrelkind='c')))
ORDER BY CASE
       WHEN typtype IN ('b', 'e', 'p') THEN 0
       WHEN typtype = 'r' THEN 1
       WHEN typtype = 'm' THEN 2
       WHEN typtype = 'c' THEN 3
       WHEN typtype = 'd' AND elemtyptype <> 'a' THEN 4
       WHEN typtype = 'a' THEN 5
       WHEN typtype = 'd' AND elemtyptype = 'a' THEN 6
END"""


@suite.check("Power BI: npgsql's types, enums and composites")
def powerbi_types(c):
    found = {r[2]: r for r in rows(c, NPGSQL_TYPES)}
    equal([(found[t][3], found[t][5]) for t in ("int8", "text", "numeric", "timestamptz", "uuid")], [("b", None)] * 5)
    equal([(found[t][3], found[t][5]) for t in ("_int8", "_text", "_numeric")], [("a", 20), ("a", 25), ("a", 1700)])
    equal(rows(c, "SELECT pg_type.oid, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid=enumtypid ORDER BY oid, enumsortorder"), [])
    found = rows(c, """SELECT typ.oid, att.attname, att.atttypid FROM pg_type AS typ
      JOIN pg_namespace AS ns ON (ns.oid = typ.typnamespace)
      JOIN pg_class AS cls ON (cls.oid = typ.typrelid)
      JOIN pg_attribute AS att ON (att.attrelid = typ.typrelid)
      WHERE (typ.typtype = 'c' AND cls.relkind='c') AND attnum > 0 AND NOT attisdropped ORDER BY typ.oid, att.attnum""")
    equal(found, [])


@suite.check("Power BI: the navigator: tables, columns, keys")
def powerbi_navigator(c):
    found = rows(c, "select TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE from INFORMATION_SCHEMA.tables where TABLE_SCHEMA not in ('information_schema', 'pg_catalog') order by TABLE_SCHEMA, TABLE_NAME")
    holds(("public", "bi_orders", "BASE TABLE") in found, "bi_orders, a base table", found[:20])
    equal(rows(c, "select CHARACTER_SET_NAME from INFORMATION_SCHEMA.character_sets"), [("UTF8",)])
    found = rows(c, """select COLUMN_NAME, ORDINAL_POSITION, IS_NULLABLE, case when (data_type like '%unsigned%') then DATA_TYPE || ' unsigned' else DATA_TYPE end as DATA_TYPE
      from INFORMATION_SCHEMA.columns where TABLE_SCHEMA = 'public' and TABLE_NAME = 'bi_orders' order by TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION""")
    equal(found, [("id", 1, "NO", "bigint"), ("customer", 2, "NO", "character varying"), ("amount", 3, "YES", "numeric"), ("at", 4, "YES", "timestamp with time zone")])
    found = rows(c, """select i.CONSTRAINT_SCHEMA || '_' || i.CONSTRAINT_NAME as INDEX_NAME, ii.COLUMN_NAME, ii.ORDINAL_POSITION, case when i.CONSTRAINT_TYPE = 'PRIMARY KEY' then 'Y' else 'N' end as PRIMARY_KEY
      from INFORMATION_SCHEMA.table_constraints i
      inner join INFORMATION_SCHEMA.key_column_usage ii on i.CONSTRAINT_SCHEMA = ii.CONSTRAINT_SCHEMA and i.CONSTRAINT_NAME = ii.CONSTRAINT_NAME and i.TABLE_SCHEMA = ii.TABLE_SCHEMA and i.TABLE_NAME = ii.TABLE_NAME
      where i.TABLE_SCHEMA = 'public' and i.TABLE_NAME = 'bi_orders' and i.CONSTRAINT_TYPE in ('PRIMARY KEY', 'UNIQUE')
      order by i.CONSTRAINT_SCHEMA || '_' || i.CONSTRAINT_NAME, ii.TABLE_SCHEMA, ii.TABLE_NAME, ii.ORDINAL_POSITION""")
    equal(found, [("public_bi_orders_pkey", "id", 1, "Y")])
    found = rows(c, """select pkcol.COLUMN_NAME as PK_COLUMN_NAME, fkcol.TABLE_SCHEMA AS FK_TABLE_SCHEMA, fkcol.TABLE_NAME AS FK_TABLE_NAME, fkcol.COLUMN_NAME as FK_COLUMN_NAME, fkcol.ORDINAL_POSITION as ORDINAL, fkcon.CONSTRAINT_SCHEMA || '_' || fkcol.TABLE_NAME || '_public_' || fkcon.CONSTRAINT_NAME as FK_NAME
      from (select distinct constraint_catalog, constraint_schema, unique_constraint_schema, constraint_name, unique_constraint_name from INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS) fkcon
      inner join INFORMATION_SCHEMA.KEY_COLUMN_USAGE fkcol on fkcon.CONSTRAINT_SCHEMA = fkcol.CONSTRAINT_SCHEMA and fkcon.CONSTRAINT_NAME = fkcol.CONSTRAINT_NAME
      inner join INFORMATION_SCHEMA.KEY_COLUMN_USAGE pkcol on fkcon.UNIQUE_CONSTRAINT_SCHEMA = pkcol.CONSTRAINT_SCHEMA and fkcon.UNIQUE_CONSTRAINT_NAME = pkcol.CONSTRAINT_NAME
      where pkcol.TABLE_SCHEMA = 'public' and pkcol.TABLE_NAME = 'bi_orders' and pkcol.ORDINAL_POSITION = fkcol.ORDINAL_POSITION order by FK_NAME, fkcol.ORDINAL_POSITION""")
    equal(found, [])


@suite.check("Power BI: imported and aggregated data")
def powerbi_data(c):
    found = rows(c, """select "$Table"."customer" as "customer", "$Table"."orders" as "orders", "$Table"."total" as "total" from "public"."bi_totals" "$Table" order by "$Table"."customer" limit 1000""")
    equal(found, check.FIRST_TOTALS)
    found = rows(c, """select "rows"."customer" as "customer", sum("rows"."amount") as "a0" from (select "_"."customer", "_"."amount" from "public"."bi_orders" "_" where "_"."amount" >= 6 and "_"."amount" is not null) "rows" group by "customer" order by 1 limit 1000001""")
    equal(found, [("ann", decimal.Decimal("10.50")), ("bob", decimal.Decimal("20.25"))])


@suite.check("an INSERT arrives in the view")
def follow(c):
    c.execute("insert into bi_orders values (4, 'ann', 1.25, null)")
    eventually(lambda: totals(c), check.LAST_TOTALS)


if __name__ == "__main__":
    suite.run()
