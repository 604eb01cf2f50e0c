import static java.sql.ResultSet.*;

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

/** pgjdbc: metadata, fetch size, statements prepared on the server with binary results, batches, updatable results. */
final class WithPgjdbc {
    private static final Suite suite = new Suite("pgjdbc");
    private static final String AWKWARD = "tab\there, quote ' and \", back\\slash, {brace}, å, 🌊";

    public static void main(String[] arguments) {
        suite.prepare("a table, rows and a materialized view", c -> {
            Suite.execute(
                    c,
                    "drop view if exists jdbc_large",
                    "drop materialized view if exists jdbc_totals",
                    "drop table if exists jdbc_orders",
                    "drop table if exists jdbc_lines",
                    "create table jdbc_orders (id bigint primary key, customer varchar(20) not null, amount numeric(12,2) default 0, at timestamptz)",
                    "insert into jdbc_orders values (1, 'ann', 10.50, '2024-01-01 00:00:00+00'), (2, 'bob', 20.25, '2024-01-02 00:00:00+00'), (3, 'ann', 5.00, null)",
                    "create materialized view jdbc_totals as select customer, count(*) as orders, sum(amount) as total from jdbc_orders group by customer");
            Suite.equal(totals(c), "ann|2|15.50\nbob|1|20.25");
        });
        suite.prepare("a second table, a view, an index", c -> Suite.execute(
                c,
                "create table jdbc_lines (order_id bigint, line integer, note text default 'none', tags integer[], primary key (order_id, line))",
                "create view jdbc_large as select id, customer from jdbc_orders where amount > 10",
                "create index jdbc_by_customer on jdbc_orders (customer, id desc)"));
        types();
        metadata();
        results();
        statements();
        transactions();
        session();
        suite.prepare("the view follows an INSERT", c -> {
            try (PreparedStatement p = c.prepareStatement("insert into jdbc_orders values (?, ?, ?, now())")) {
                p.setLong(1, 4);
                p.setString(2, "ann");
                p.setBigDecimal(3, new BigDecimal("1.25"));
                Suite.equal(p.executeUpdate(), 1);
            }
            Suite.eventually(() -> totals(c), "ann|3|16.75\nbob|1|20.25");
        });
        suite.run();
    }

    private static String totals(Connection c) throws SQLException {
        if (Suite.CONTROL) Suite.execute(c, "refresh materialized view jdbc_totals");
        return Suite.rows(c, "select customer, orders, total from jdbc_totals order by customer");
    }

    // Types

    private static void types() {
        UUID id = UUID.fromString("0188b1c2-7b2c-7def-8123-456789abcdef");
        type("boolean", true, "true");
        type("smallint", (short) -32768, "-32768", -32768);
        type("integer", 2147483647, "2147483647");
        type("bigint", Long.MIN_VALUE, "-9223372036854775808");
        type("real", 1.5f, "1.5");
        type("double precision", 1e300, "1e+300");
        type("numeric(20,5)", new BigDecimal("123456789012345.67800"), "123456789012345.67800");
        type("text", AWKWARD, AWKWARD);
        type("varchar(5)", "abcde", "abcde");
        type("bytea", new byte[] {0, -1, 92, 39}, "\\x00ff5c27");
        type("date", LocalDate.of(2024, 2, 29), "2024-02-29");
        type("time", LocalTime.of(23, 59, 59, 999999000), "23:59:59.999999");
        type("timestamp", LocalDateTime.of(2024, 2, 29, 12, 34, 56, 789000000), "2024-02-29 12:34:56.789");
        type("timestamptz", OffsetDateTime.of(2024, 2, 29, 12, 34, 56, 0, ZoneOffset.UTC), null);
        type("uuid", id, id.toString());
        suite.check("interval as parameter and result, text and binary", c -> {
            try (PreparedStatement p = c.prepareStatement("select ?::interval, (?::interval)::text")) {
                for (int i = 0; i < 8; i++) {
                    p.setObject(1, new PGInterval(1, 2, 3, 4, 5, 6.5));
                    p.setObject(2, new PGInterval(1, 2, 3, 4, 5, 6.5));
                    try (ResultSet r = p.executeQuery()) {
                        r.next();
                        Suite.equal(r.getObject(1), new PGInterval(1, 2, 3, 4, 5, 6.5));
                        Suite.equal(r.getString(2), "1 year 2 mons 3 days 04:05:06.5");
                    }
                }
            }
        });
        for (String json : List.of("json", "jsonb")) {
            suite.check(json + " as parameter and result", c -> {
                PGobject value = new PGobject();
                value.setType(json);
                value.setValue("{\"a\": [1, null]}");
                for (int i = 0; i < 8; i++) Suite.equal(Suite.rows(c, "select ?::" + json + ", ?", value, value), "{\"a\": [1, null]}|{\"a\": [1, null]}");
            });
        }
        array("int4", new Integer[] {1, null, 3}, "{1,NULL,3}");
        array("int8", new Long[] {1L, null}, "{1,NULL}");
        array("text", new String[] {"a b", "c\"d", null, "", "e,f"}, "{\"a b\",\"c\\\"d\",NULL,\"\",\"e,f\"}");
        array("float8", new Double[] {0.5, 1e10}, "{0.5,10000000000}");
        array("bool", new Boolean[] {true, false}, "{t,f}");
        array("numeric", new BigDecimal[] {new BigDecimal("1.50")}, "{1.50}");
        array("uuid", new UUID[] {id}, "{" + id + "}");
        suite.check("NULL of every type", c -> {
            String[] names = {"boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "text", "bytea", "date", "time", "timestamp", "timestamptz", "integer[]", "uuid", "text"};
            int[] types = {Types.BOOLEAN, Types.SMALLINT, Types.INTEGER, Types.BIGINT, Types.REAL, Types.DOUBLE, Types.NUMERIC, Types.VARCHAR, Types.BINARY, Types.DATE, Types.TIME, Types.TIMESTAMP, Types.TIMESTAMP_WITH_TIMEZONE, Types.ARRAY, Types.OTHER, Types.NULL};
            for (int i = 0; i < types.length; i++) {
                try (PreparedStatement p = c.prepareStatement("select ?::" + names[i])) {
                    p.setNull(1, types[i]);
                    Suite.equal(Suite.rows(p.executeQuery()), "null");
                }
            }
        });
        suite.check("a declared type other than the column's: int4, float8 and text for bigint and numeric", c -> {
            Suite.fresh(c, "jdbc_declared");
            try (PreparedStatement p = c.prepareStatement("insert into jdbc_declared values (?, ?)")) {
                p.setInt(1, 1);
                p.setLong(2, 10);
                p.executeUpdate();
                p.setObject(1, 2);
                p.setNull(2, Types.NULL);
                p.executeUpdate();
            }
            Suite.equal(Suite.rows(c, "select count(*) from jdbc_declared where id = ?", 1), "1");
            Suite.equal(Suite.rows(c, "select count(*) from jdbc_orders where amount > ?", 10), "2");
            Suite.equal(Suite.rows(c, "select count(*) from jdbc_orders where amount > ?", 10.5), "1");
            Suite.equal(Suite.rows(c, "select count(*) from jdbc_orders where id = ?", new BigDecimal("2")), "1");
        });
        suite.check("strings without a type (stringtype=unspecified)", c -> {
            try (Connection loose = Suite.connect("&stringtype=unspecified")) {
                Suite.equal(Suite.rows(loose, "select count(*) from jdbc_orders where id = ? and at < ?", "2", "2025-01-01"), "1");
            }
        });
        suite.check("= ANY(?) with an array", c -> Suite.equal(Suite.rows(c, "select count(*) from jdbc_orders where id = any(?)", c.createArrayOf("int8", new Long[] {1L, 2L, 99L})), "2"));
        suite.check("java.sql dates and timestamps", c -> {
            Timestamp instant = Timestamp.from(Instant.parse("2024-02-29T12:34:56.789Z"));
            try (PreparedStatement p = c.prepareStatement("select ?::timestamptz, ?::date, ?::time")) {
                p.setTimestamp(1, instant);
                p.setDate(2, java.sql.Date.valueOf("2024-02-29"));
                p.setTime(3, Time.valueOf("12:34:56"));
                for (int i = 0; i < 8; i++) {
                    try (ResultSet r = p.executeQuery()) {
                        r.next();
                        Suite.equal(List.of(r.getTimestamp(1), r.getDate(2), r.getTime(3)), List.of(instant, java.sql.Date.valueOf("2024-02-29"), Time.valueOf("12:34:56")));
                    }
                }
            }
        });
    }

    private static void type(String name, Object value, String text) {
        type(name, value, text, value);
    }

    /** Sent and read eight times: from the fifth on prepared on the server, with binary results. */
    private static void type(String name, Object value, String text, Object back) {
        suite.check(name + " as parameter and result, text and binary", c -> {
            try (PreparedStatement p = c.prepareStatement("select ?::" + name + ", (?::" + name + ")::text, null::" + name)) {
                for (int i = 0; i < 8; i++) {
                    p.setObject(1, value);
                    p.setObject(2, value);
                    try (ResultSet r = p.executeQuery()) {
                        r.next();
                        boolean plain = back instanceof byte[] || back instanceof Integer;
                        Suite.equal(plain ? r.getObject(1) : r.getObject(1, back.getClass()), back);
                        if (text != null) Suite.equal(r.getString(2), text);
                        Suite.equal(r.getObject(3), null);
                    }
                }
            }
        });
    }

    private static void array(String element, Object[] values, String text) {
        suite.check(element + "[] as parameter and result, text and binary", c -> {
            try (PreparedStatement p = c.prepareStatement("select ?::" + element + "[], (?::" + element + "[])::text")) {
                for (int i = 0; i < 8; i++) {
                    p.setArray(1, c.createArrayOf(element, values));
                    p.setArray(2, c.createArrayOf(element, values));
                    try (ResultSet r = p.executeQuery()) {
                        r.next();
                        Suite.equal(r.getArray(1).getArray(), values);
                        Suite.equal(r.getArray(1).getBaseTypeName(), element);
                        Suite.equal(r.getString(2), text);
                    }
                }
            }
        });
    }

    // DatabaseMetaData

    private static void metadata() {
        suite.check("getTables: tables, views and materialized views, each with its kind", c -> {
            DatabaseMetaData m = c.getMetaData();
            String user = c.getMetaData().getUserName();
            Suite.equal(user, Suite.env("PGUSER", "tidewater"));
            Suite.equal(Suite.rows(m.getTables(null, "public", "jdbc\\_%s", new String[] {"TABLE", "VIEW", "MATERIALIZED VIEW"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE"), "public|jdbc_totals|MATERIALIZED VIEW\npublic|jdbc_lines|TABLE\npublic|jdbc_orders|TABLE");
            Suite.equal(Suite.rows(m.getTables(null, null, "jdbc_large", new String[] {"VIEW"}), "TABLE_NAME", "TABLE_TYPE"), "jdbc_large|VIEW");
            Suite.equal(Suite.rows(m.getTables(null, "public", "jdbc_by_customer", new String[] {"INDEX"}), "TABLE_NAME"), "jdbc_by_customer");
            Suite.equal(Suite.rows(m.getTables(null, "pg_catalog", "pg_class", null), "TABLE_TYPE"), "SYSTEM TABLE");
            Suite.equal(Suite.rows(m.getTables(null, "nosuch", "%", null)), "");
        });
        suite.check("getColumns", c -> Suite.equal(
                Suite.rows(c.getMetaData().getColumns(null, "public", "jdbc_orders", "%"), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "NULLABLE", "COLUMN_DEF", "ORDINAL_POSITION", "IS_NULLABLE", "IS_AUTOINCREMENT"),
                "id|-5|int8|19|0|0|null|1|NO|NO\ncustomer|12|varchar|20|0|0|null|2|NO|NO\namount|2|numeric|12|2|1|0|3|YES|NO\nat|93|timestamptz|35|6|1|null|4|YES|NO"));
        suite.check("getColumns of a materialized view, of arrays and defaults", c -> {
            Suite.equal(Suite.rows(c.getMetaData().getColumns(null, "public", "jdbc_totals", null), "COLUMN_NAME", "TYPE_NAME"), "customer|varchar\norders|int8\ntotal|numeric");
            Suite.equal(Suite.rows(c.getMetaData().getColumns(null, null, "jdbc_lines", "%"), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_DEF"), "order_id|-5|int8|null\nline|4|int4|null\nnote|12|text|'none'::text\ntags|2003|_int4|null");
        });
        suite.check("getPrimaryKeys", c -> {
            Suite.equal(Suite.rows(c.getMetaData().getPrimaryKeys(null, "public", "jdbc_lines"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"), "order_id|1|jdbc_lines_pkey\nline|2|jdbc_lines_pkey");
            Suite.equal(Suite.rows(c.getMetaData().getPrimaryKeys(null, null, "jdbc_totals")), "");
        });
        suite.check("getIndexInfo", c -> {
            Suite.equal(Suite.rows(c.getMetaData().getIndexInfo(null, "public", "jdbc_orders", false, true), "INDEX_NAME", "NON_UNIQUE", "ORDINAL_POSITION", "COLUMN_NAME", "ASC_OR_DESC", "TYPE"), "jdbc_orders_pkey|f|1|id|A|3\njdbc_by_customer|t|1|customer|A|3\njdbc_by_customer|t|2|id|D|3");
            Suite.equal(Suite.rows(c.getMetaData().getIndexInfo(null, "public", "jdbc_orders", true, true), "INDEX_NAME"), "jdbc_orders_pkey");
        });
        suite.check("getBestRowIdentifier", c -> Suite.equal(Suite.rows(c.getMetaData().getBestRowIdentifier(null, "public", "jdbc_orders", DatabaseMetaData.bestRowSession, false), "COLUMN_NAME", "TYPE_NAME"), "id|int8"));
        suite.check("getImportedKeys, getExportedKeys, getCrossReference: none", c -> {
            Suite.equal(Suite.rows(c.getMetaData().getImportedKeys(null, "public", "jdbc_orders")), "");
            Suite.equal(Suite.rows(c.getMetaData().getExportedKeys(null, "public", "jdbc_orders")), "");
            Suite.equal(Suite.rows(c.getMetaData().getCrossReference(null, "public", "jdbc_orders", null, "public", "jdbc_lines")), "");
        });
        suite.check("getSchemas, getCatalogs, getTableTypes", c -> {
            Suite.equal(List.of(Suite.rows(c.getMetaData().getSchemas(), "TABLE_SCHEM").split("\n")).containsAll(List.of("public", "pg_catalog", "information_schema")), true);
            Suite.equal(Suite.rows(c.getMetaData().getSchemas(null, "pub%"), "TABLE_SCHEM"), "public");
            Suite.equal(List.of(Suite.rows(c.getMetaData().getCatalogs(), "TABLE_CAT").split("\n")).contains(c.getCatalog()), true);
            Suite.equal(Suite.rows(c.getMetaData().getTableTypes()).contains("MATERIALIZED VIEW"), true);
        });
        suite.check("getTypeInfo: every type with its number", c -> {
            List<String> types = List.of(Suite.rows(c.getMetaData().getTypeInfo(), "TYPE_NAME", "DATA_TYPE").split("\n"));
            for (String type : List.of("int2|5", "int4|4", "int8|-5", "float8|8", "numeric|2", "bool|-7", "text|12", "varchar|12", "bytea|-2", "date|91", "time|92", "timestamp|93", "timestamptz|93", "uuid|1111", "jsonb|1111", "interval|1111", "_int4|2003")) {
                if (!types.contains(type)) throw new Suite.Different("a type " + type, types);
            }
        });
        suite.check("getTablePrivileges, getColumnPrivileges: the owner's", c -> {
            Suite.equal(List.of(Suite.rows(c.getMetaData().getTablePrivileges(null, "public", "jdbc_orders"), "GRANTEE", "PRIVILEGE").split("\n")).containsAll(List.of(c.getMetaData().getUserName() + "|SELECT", c.getMetaData().getUserName() + "|INSERT")), true);
            Suite.equal(Suite.rows(c.getMetaData().getColumnPrivileges(null, "public", "jdbc_orders", "amount"), "COLUMN_NAME", "PRIVILEGE").contains("amount|SELECT"), true);
        });
        suite.check("getFunctions, getProcedures, getFunctionColumns", c -> {
            Suite.equal(Suite.rows(c.getMetaData().getFunctions(null, "pg_catalog", "initcap"), "FUNCTION_SCHEM", "FUNCTION_NAME"), "pg_catalog|initcap");
            Suite.equal(Suite.rows(c.getMetaData().getFunctionColumns(null, "pg_catalog", "initcap", null), "COLUMN_NAME", "TYPE_NAME"), "returnValue|text\n$1|text");
            Suite.equal(Suite.rows(c.getMetaData().getProcedures(null, "public", "%")), "");
        });
        suite.check("names, limits, keywords, capabilities", c -> {
            DatabaseMetaData m = c.getMetaData();
            Suite.equal(List.of(m.getDatabaseProductName(), m.getDatabaseMajorVersion(), m.getMaxColumnNameLength(), m.getMaxTableNameLength()), List.of("PostgreSQL", 15, 63, 63));
            Suite.equal(m.getMaxIndexLength() >= 0 && m.getMaxColumnsInIndex() > 0, true);
            Suite.equal(m.getSQLKeywords().isEmpty(), false);
            Suite.equal(List.of(m.supportsTransactions(), m.supportsSavepoints(), m.isReadOnly(), m.getDefaultTransactionIsolation()), List.of(true, true, false, Connection.TRANSACTION_READ_COMMITTED));
            Suite.equal(m.getURL().startsWith("jdbc:postgresql:"), true);
        });
        suite.check("getUDTs, getClientInfoProperties, getVersionColumns answer", c -> {
            Suite.equal(Suite.rows(c.getMetaData().getUDTs(null, "nosuch", "%", null)), "");
            Suite.equal(Suite.rows(c.getMetaData().getClientInfoProperties()).contains("ApplicationName"), true);
            Suite.equal(Suite.rows(c.getMetaData().getVersionColumns(null, "public", "jdbc_orders"), "COLUMN_NAME"), "ctid");
        });
        suite.check("ResultSetMetaData: types, sizes, the table behind a column", c -> {
            try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("select o.id, o.customer as who, o.amount, o.at, 1 as one from jdbc_orders o")) {
                ResultSetMetaData m = r.getMetaData();
                StringJoiner got = new StringJoiner("\n");
                for (int i = 1; i <= m.getColumnCount(); i++) got.add(String.join("|", m.getColumnLabel(i), ((org.postgresql.PGResultSetMetaData) m).getBaseColumnName(i), m.getColumnTypeName(i), "" + m.getPrecision(i), "" + m.getScale(i), "" + m.isNullable(i), ((org.postgresql.PGResultSetMetaData) m).getBaseTableName(i), ((org.postgresql.PGResultSetMetaData) m).getBaseSchemaName(i), m.getColumnClassName(i)));
                Suite.equal(got.toString(), "id|id|int8|19|0|0|jdbc_orders|public|java.lang.Long\nwho|customer|varchar|20|0|0|jdbc_orders|public|java.lang.String\namount|amount|numeric|12|2|1|jdbc_orders|public|java.math.BigDecimal\nat|at|timestamptz|35|6|1|jdbc_orders|public|java.sql.Timestamp\none||int4|10|0|2|||java.lang.Integer");
            }
        });
        suite.check("ParameterMetaData", c -> {
            try (PreparedStatement p = c.prepareStatement("insert into jdbc_orders values (?, ?, ?, ?)")) {
                ParameterMetaData m = p.getParameterMetaData();
                Suite.equal(List.of(m.getParameterCount(), m.getParameterTypeName(1), m.getParameterTypeName(2), m.getParameterTypeName(3), m.getParameterTypeName(4)), List.of(4, "int8", "varchar", "numeric", "timestamptz"));
            }
        });
    }

    // Results

    private static void results() {
        suite.check("fetch size: portions through a portal", c -> {
            c.setAutoCommit(false);
            try (PreparedStatement p = c.prepareStatement("select g from generate_series(1, ?) g")) {
                p.setInt(1, 100000);
                p.setFetchSize(1000);
                long sum = 0;
                try (ResultSet r = p.executeQuery()) {
                    while (r.next()) sum += r.getInt(1);
                }
                Suite.equal(sum, 5000050000L);
            }
            c.commit();
        });
        suite.check("two portals at a time", c -> {
            c.setAutoCommit(false);
            try (Statement a = c.createStatement(); Statement b = c.createStatement()) {
                a.setFetchSize(2);
                b.setFetchSize(3);
                ResultSet first = a.executeQuery("select g from generate_series(1, 10) g order by g");
                ResultSet second = b.executeQuery("select g from generate_series(101, 110) g order by g");
                for (int i = 0; i < 10; i++) {
                    first.next();
                    second.next();
                    Suite.equal(first.getInt(1) + 100, second.getInt(1));
                }
            }
            c.rollback();
        });
        suite.check("setMaxRows, small and as large as it can be", c -> {
            try (Statement s = c.createStatement()) {
                s.setMaxRows(7);
                Suite.equal(Suite.rows(s.executeQuery("select g from generate_series(1, 100) g order by g")), "1\n2\n3\n4\n5\n6\n7");
                s.setMaxRows(Integer.MAX_VALUE);
                Suite.equal(Suite.rows(s.executeQuery("select g from generate_series(1, 3) g order by g")), "1\n2\n3");
                s.setFetchSize(Integer.MAX_VALUE);
                c.setAutoCommit(false);
                Suite.equal(Suite.rows(s.executeQuery("select g from generate_series(1, 3) g order by g")), "1\n2\n3");
                c.rollback();
            }
        });
        suite.check("a result that scrolls", c -> {
            try (Statement s = c.createStatement(TYPE_SCROLL_INSENSITIVE, CONCUR_READ_ONLY); ResultSet r = s.executeQuery("select g from generate_series(1, 10) g order by g")) {
                r.last();
                Suite.equal(List.of(r.getRow(), r.getInt(1)), List.of(10, 10));
                r.absolute(3);
                Suite.equal(r.getInt(1), 3);
            }
        });
        suite.check("an updatable result: update, insert, delete", c -> {
            Suite.fresh(c, "jdbc_updatable");
            Suite.execute(c, "insert into jdbc_updatable values (1, 1), (2, 2)");
            try (Statement s = c.createStatement(TYPE_SCROLL_INSENSITIVE, CONCUR_UPDATABLE); ResultSet r = s.executeQuery("select id, n from jdbc_updatable order by id")) {
                r.next();
                r.updateInt("n", 10);
                r.updateRow();
                r.moveToInsertRow();
                r.updateLong(1, 3);
                r.updateInt(2, 30);
                r.insertRow();
                r.absolute(2);
                r.deleteRow();
            }
            Suite.equal(Suite.rows(c, "select id, n from jdbc_updatable order by id"), "1|10\n3|30");
        });
        suite.check("several results of one text", c -> {
            try (Statement s = c.createStatement()) {
                Suite.equal(s.execute("select 1; select 2, 3"), true);
                Suite.equal(Suite.rows(s.getResultSet()), "1");
                Suite.equal(s.getMoreResults(), true);
                Suite.equal(Suite.rows(s.getResultSet()), "2|3");
            }
        });
        suite.check("generated keys by RETURNING", c -> {
            Suite.fresh(c, "jdbc_returning");
            try (PreparedStatement p = c.prepareStatement("insert into jdbc_returning values (?, ?)", new String[] {"id", "n"})) {
                p.setLong(1, 5);
                p.setInt(2, 50);
                p.executeUpdate();
                Suite.equal(Suite.rows(p.getGeneratedKeys()), "5|50");
            }
        });
        suite.check("the simple protocol (preferQueryMode=simple)", c -> {
            try (Connection simple = Suite.connect("&preferQueryMode=simple")) {
                Suite.equal(Suite.rows(simple, "select customer, ?::int, ?::numeric from jdbc_orders where id = ?", 5, new BigDecimal("1.5"), 2L), "bob|5|1.5");
            }
        });
    }

    // Statements

    private static void statements() {
        suite.check("prepared on the server from the fifth execution on", c -> {
            try (PreparedStatement p = c.prepareStatement("select customer, id from jdbc_orders where id = ?")) {
                for (int i = 0; i < 20; i++) {
                    p.setLong(1, 1 + i % 2);
                    Suite.equal(Suite.rows(p.executeQuery()), i % 2 == 0 ? "ann|1" : "bob|2");
                }
                Suite.equal(p.unwrap(PGStatement.class).isUseServerPrepare(), true);
                Suite.equal(Suite.rows(c, "select count(*) from pg_prepared_statements where name like 'S\\_%'"), "1");
            }
        });
        suite.check("a prepared statement after its table was made anew", c -> {
            Suite.fresh(c, "jdbc_replan");
            Suite.execute(c, "insert into jdbc_replan values (1, 1)");
            try (PreparedStatement p = c.prepareStatement("select n from jdbc_replan where id = 1")) {
                for (int i = 0; i < 8; i++) Suite.equal(Suite.rows(p.executeQuery()), "1");
                Suite.fresh(c, "jdbc_replan");
                Suite.execute(c, "insert into jdbc_replan values (1, 2)");
                Suite.equal(Suite.rows(p.executeQuery()), "2");
            }
        });
        for (String option : List.of("", "&reWriteBatchedInserts=true")) {
            suite.check("a batch of a thousand INSERTs " + option, c -> {
                try (Connection batching = Suite.connect(option)) {
                    Suite.fresh(batching, "jdbc_batch");
                    batching.setAutoCommit(false);
                    try (PreparedStatement p = batching.prepareStatement("insert into jdbc_batch values (?, ?)")) {
                        for (int i = 0; i < 1000; i++) {
                            p.setLong(1, i);
                            p.setInt(2, i % 10);
                            p.addBatch();
                        }
                        Suite.equal(p.executeBatch().length, 1000);
                    }
                    batching.commit();
                    Suite.equal(Suite.rows(batching, "select count(*), sum(n) from jdbc_batch"), "1000|4500");
                    batching.commit();
                }
            });
        }
        suite.check("a batch that fails tells which of its statements did", c -> {
            Suite.fresh(c, "jdbc_bad");
            try (PreparedStatement p = c.prepareStatement("insert into jdbc_bad values (?, 1)")) {
                for (long id : new long[] {1, 2, 1, 3}) {
                    p.setLong(1, id);
                    p.addBatch();
                }
                BatchUpdateException error = (BatchUpdateException) Suite.refused("23505", p::executeBatch);
                Suite.equal(error.getNextException().getSQLState(), "23505");
            }
        });
        suite.check("COPY in and out", c -> {
            Suite.fresh(c, "jdbc_copy");
            CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            Suite.equal(copy.copyIn("copy jdbc_copy from stdin with (format csv, header)", new StringReader("id,n\n1,10\n2,\n")), 2L);
            StringWriter out = new StringWriter();
            Suite.equal(copy.copyOut("copy (select id, n from jdbc_copy order by id) to stdout", out), 2L);
            Suite.equal(out.toString(), "1\t10\n2\t\\N\n");
            Suite.refused("22P02", () -> copy.copyIn("copy jdbc_copy from stdin", new StringReader("3\t3\nx\t4\n")));
            Suite.equal(Suite.rows(c, "select count(*) from jdbc_copy"), "2");
        });
        suite.check("errors: SQLSTATE, position, constraint", c -> {
            String[][] errors = {{"42601", "selct 1", "1"}, {"42P01", "select * from nosuch", "15"}, {"42703", "select nosuch from jdbc_orders", "8"}, {"42883", "select nosuch(1)", "8"}, {"22012", "select 1/0", "0"}, {"22P02", "select 'x'::int", "8"}, {"42P07", "create table jdbc_orders (id int)", "0"}};
            for (String[] error : errors) {
                PSQLException told = (PSQLException) Suite.refused(error[0], () -> Suite.rows(c, error[1]));
                Suite.equal(error[1] + " " + told.getServerErrorMessage().getPosition(), error[1] + " " + error[2]);
            }
            PSQLException told = (PSQLException) Suite.refused("23505", () -> c.createStatement().executeUpdate("insert into jdbc_orders values (1, 'x')"));
            Suite.equal(told.getServerErrorMessage().getConstraint(), "jdbc_orders_pkey");
        });
        suite.check("notices are warnings of the statement", c -> {
            try (Statement s = c.createStatement()) {
                s.execute("drop table if exists jdbc_nosuch");
                Suite.equal(s.getWarnings().getMessage(), "table \"jdbc_nosuch\" does not exist, skipping");
            }
        });
        suite.check("escapes: {d}, {ts}, {fn}, LIMIT ?", c -> {
            Suite.equal(Suite.rows(c, "select {d '2024-02-29'}, {ts '2024-02-29 01:02:03'}, {fn ucase('a')}, {fn concat('a', 'b')}"), "2024-02-29|2024-02-29 01:02:03|A|ab");
            Suite.equal(Suite.rows(c, "select id from jdbc_orders order by id limit ? offset ?", 1, 1), "2");
        });
        suite.check("text of eight megabytes", c -> {
            String text = "ünïcode ".repeat(1 << 20);
            Suite.equal(Suite.rows(c, "select ?::text", text).equals(text), true);
        });
    }

    // Transactions

    private static void transactions() {
        suite.check("COMMIT, ROLLBACK, savepoints", c -> {
            Suite.fresh(c, "jdbc_tx");
            c.setAutoCommit(false);
            Suite.execute(c, "insert into jdbc_tx values (1, 1)");
            Savepoint a = c.setSavepoint("a");
            Suite.refused("23505", () -> c.createStatement().executeUpdate("insert into jdbc_tx values (1, 1)"));
            Suite.refused("25P02", () -> Suite.rows(c, "select 1"));
            c.rollback(a);
            Suite.execute(c, "insert into jdbc_tx values (2, 2)");
            c.releaseSavepoint(a);
            c.commit();
            Suite.execute(c, "delete from jdbc_tx");
            c.rollback();
            Suite.equal(Suite.rows(c, "select count(*) from jdbc_tx"), "2");
            c.rollback();
        });
        suite.check("autosave: a savepoint before each statement", c -> {
            Suite.fresh(c, "jdbc_autosave");
            try (Connection saving = Suite.connect("&autosave=always")) {
                saving.setAutoCommit(false);
                Suite.execute(saving, "insert into jdbc_autosave values (1, 1)");
                Suite.refused("22012", () -> Suite.rows(saving, "select 1/0"));
                Suite.execute(saving, "insert into jdbc_autosave values (2, 2)");
                saving.commit();
            }
            Suite.equal(Suite.rows(c, "select count(*) from jdbc_autosave"), "2");
        });
        suite.check("isolation levels and read only", c -> {
            int[] levels = {Connection.TRANSACTION_READ_UNCOMMITTED, Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE};
            for (int level : levels) {
                c.setTransactionIsolation(level);
                Suite.equal(c.getTransactionIsolation(), level);
            }
            c.setReadOnly(true);
            c.setAutoCommit(false);
            Suite.refused("25006", () -> c.createStatement().executeUpdate("insert into jdbc_orders values (1, 'x')"));
            c.rollback();
        });
        suite.check("CREATE TABLE and its first rows in one transaction", c -> {
            Suite.execute(c, "drop table if exists jdbc_script");
            c.setAutoCommit(false);
            Suite.execute(c, "create table jdbc_script (id bigint primary key)", "insert into jdbc_script values (1)");
            c.commit();
            Suite.equal(Suite.rows(c, "select count(*) from jdbc_script"), "1");
            c.rollback();
        });
    }

    // Session

    private static void session() {
        suite.check("isValid, getSchema, setSchema, setClientInfo, network timeout", c -> {
            Suite.equal(c.isValid(2), true);
            Suite.equal(List.of(c.getSchema(), c.getCatalog()), List.of("public", Suite.env("PGDATABASE", "tidewater")));
            c.setSchema("public");
            c.setClientInfo("ApplicationName", "renamed");
            Suite.equal(Suite.rows(c, "show application_name"), "renamed");
            c.setNetworkTimeout(Runnable::run, 5000);
            Suite.equal(Suite.rows(c, "select 1"), "1");
        });
        suite.check("options of the URL: currentSchema, options, readOnly, binaryTransfer", c -> {
            try (Connection other = Suite.connect("&currentSchema=public&options=-c%20statement_timeout=3000&readOnly=true&defaultRowFetchSize=10")) {
                Suite.equal(Suite.rows(other, "select current_setting('search_path'), current_setting('statement_timeout')"), "public|3s");
            }
            try (Connection other = Suite.connect("&prepareThreshold=0&binaryTransfer=false")) {
                Suite.equal(Suite.rows(other, "select 1.5::float8, true"), "1.5|t");
            }
            try (Connection other = Suite.connect("&prepareThreshold=-1")) {
                Suite.equal(Suite.rows(other, "select 1.5::float8, true, ?::int8, now() is not null", 7L), "1.5|t|7|t");
            }
        });
        suite.check("an unknown database: 3D000", c -> Suite.refused("3D000", () -> DriverManager.getConnection(Suite.url("nosuch_db"), Suite.env("PGUSER", "tidewater"), "")));
        // What would keep a server busy if it went wrong stands last.
        suite.check("setQueryTimeout: 57014, and the connection goes on", c -> {
            try (Statement s = c.createStatement()) {
                s.setQueryTimeout(1);
                Suite.refused("57014", () -> s.executeQuery(Suite.ENDLESS));
                Suite.equal(Suite.rows(c, "select 1"), "1");
            }
        });
        suite.check("cancel from another thread", c -> {
            try (Statement s = c.createStatement()) {
                new Timer(true).schedule(new TimerTask() {
                    @Override
                    public void run() {
                        try {
                            s.cancel();
                        } catch (SQLException ignored) {
                            // Seen in the check.
                        }
                    }
                }, 300);
                Suite.refused("57014", () -> s.executeQuery(Suite.ENDLESS));
                Suite.equal(Suite.rows(c, "select 1"), "1");
            }
        });
    }
}
