import java.sql.*;
import java.util.*;
import java.util.concurrent.*;

/**
 * Checks that stand alone, each with its own connection and its own time limit, as in check.py: a check passes when it returns, and
 * one line is printed for each.
 */
final class Suite {
    static final String ENDLESS = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a + b < 0";
    static final boolean CONTROL = "1".equals(System.getenv("TIDEWATER_CONTROL"));
    private static final long LIMIT_SECONDS = 20;
    private static final long FOLLOW_MS = 5000;
    private static final String ONLY = env("TIDEWATER_CHECK", "");

    interface Body {
        void run(Connection c) throws Exception;
    }

    interface Reader {
        Object read() throws Exception;
    }

    /** A value that is not the expected one. */
    static final class Different extends Exception {
        Different(Object expected, Object got) {
            super("expected " + shown(expected) + " got " + shown(got));
        }
    }

    private record Check(String what, Body body) {}

    private final String client;
    private final List<Check> checks = new ArrayList<>();

    Suite(String client) {
        this.client = client;
    }

    void check(String what, Body body) {
        if (what.contains(ONLY)) checks.add(new Check(what, body));
    }

    /** A check on which others depend: it runs also when only some are chosen. */
    void prepare(String what, Body body) {
        checks.add(new Check(what, body));
    }

    void run() {
        int failed = 0;
        ExecutorService threads = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        try {
            connect("").close();
        } catch (SQLException e) {
            System.out.println("FAIL " + client + ": connect: expected no error got " + oneLine(e) + "\nend " + client);
            System.exit(1);
        }
        for (Check check : checks) {
            String problem = outcome(threads, check.body);
            if (problem != null) failed++;
            System.out.println(problem == null ? "ok " + client + ": " + check.what : "FAIL " + client + ": " + check.what + ": " + problem);
        }
        System.out.println("end " + client);
        // A check that was given up may still hang in its thread.
        Runtime.getRuntime().halt(failed > 0 ? 1 : 0);
    }

    private static String outcome(ExecutorService threads, Body body) {
        Connection[] held = new Connection[1];
        Future<?> running = threads.submit(() -> {
            try (Connection c = connect("")) {
                held[0] = c;
                body.run(c);
            }
            return null;
        });
        try {
            running.get(LIMIT_SECONDS, TimeUnit.SECONDS);
            return null;
        } catch (TimeoutException late) {
            try {
                if (held[0] != null) held[0].abort(threads);
            } catch (SQLException ignored) {
                // It is given up anyway.
            }
            return "expected an answer got none in " + LIMIT_SECONDS + " s";
        } catch (ExecutionException e) {
            return e.getCause() instanceof Different ? oneLine(e.getCause()) : "expected no error got " + oneLine(e.getCause());
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static String oneLine(Throwable error) {
        String state = error instanceof SQLException ? ((SQLException) error).getSQLState() + " " : "";
        String kind = error instanceof Different ? "" : error.getClass().getSimpleName() + " ";
        String text = (kind + state + error.getMessage()).replaceAll("\\s+", " ").trim();
        return text.length() <= 500 ? text : text.substring(0, 500) + "…";
    }

    static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    static String url(String database) {
        return "jdbc:postgresql://" + env("PGHOST", "127.0.0.1") + ":" + env("PGPORT", "8433") + "/" + database;
    }

    static Connection connect(String options) throws SQLException {
        return DriverManager.getConnection(url(env("PGDATABASE", "tidewater")) + "?user=" + env("PGUSER", "tidewater") + "&ApplicationName=pgjdbc" + options);
    }

    static void equal(Object got, Object expected) throws Different {
        if (!Objects.deepEquals(got, expected)) throw new Different(expected, got);
    }

    static String shown(Object value) {
        return value instanceof Object[] ? Arrays.deepToString((Object[]) value) : value instanceof byte[] ? Arrays.toString((byte[]) value) : String.valueOf(value);
    }

    static SQLException refused(String sqlstate, Reader call) throws Exception {
        Object result;
        try {
            result = call.read();
        } catch (SQLException e) {
            if (!sqlstate.equals(e.getSQLState())) throw new Different("error " + sqlstate, e.getSQLState() + ": " + e.getMessage());
            return e;
        }
        throw new Different("error " + sqlstate, result);
    }

    static void eventually(Reader read, Object expected) throws Exception {
        long end = System.currentTimeMillis() + FOLLOW_MS;
        while (true) {
            Object got = read.read();
            if (Objects.deepEquals(got, expected)) return;
            if (System.currentTimeMillis() > end) throw new Different(expected, got);
            Thread.sleep(20);
        }
    }

    static void execute(Connection c, String... statements) throws SQLException {
        try (Statement s = c.createStatement()) {
            for (String statement : statements) s.execute(statement);
        }
    }

    static void fresh(Connection c, String name) throws SQLException {
        execute(c, "drop table if exists " + name, "create table " + name + " (id bigint primary key, n int)");
    }

    /** All rows, each as its values parted by |. */
    static String rows(Connection c, String query, Object... parameters) throws SQLException {
        try (PreparedStatement p = c.prepareStatement(query)) {
            for (int i = 0; i < parameters.length; i++) p.setObject(i + 1, parameters[i]);
            try (ResultSet r = p.executeQuery()) {
                return rows(r);
            }
        }
    }

    /** Of a result, the named columns (all if none is named). */
    static String rows(ResultSet r, String... columns) throws SQLException {
        StringJoiner lines = new StringJoiner("\n");
        while (r.next()) {
            StringJoiner line = new StringJoiner("|");
            if (columns.length == 0) for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) line.add(r.getString(i));
            for (String column : columns) line.add(r.getString(column));
            lines.add(line.toString());
        }
        r.close();
        return lines.toString();
    }
}
