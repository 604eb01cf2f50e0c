//! `ALTER … RENAME TO`, and what clients change definitions with beside it (`CREATE TABLE AS`, temporary tables, TRUNCATE, DROP in a transaction): what
//! reads a renamed object follows it, through restarts and kills, and ROLLBACK brings everything back.

use crate::client::Client;
use crate::server::Server;

fn shop(client: &mut Client) {
    client.run("CREATE TABLE orders (id BIGINT PRIMARY KEY, customer TEXT, amount NUMERIC(12,2))");
    client.run("CREATE VIEW large AS SELECT orders.id, customer FROM orders WHERE amount > 10");
    client.run(
        "CREATE MATERIALIZED VIEW totals AS WITH orders AS (SELECT * FROM public.orders) SELECT customer, sum(amount) AS total FROM orders GROUP BY customer",
    );
    client.run("CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM large");
    client.run("CREATE INDEX by_customer ON orders (customer)");
    client.run("INSERT INTO orders VALUES (1, 'ann', 10.50), (2, 'bob', 3), (3, 'ann', 20)");
}

#[test]
fn what_reads_a_renamed_object_follows_it_through_a_kill() {
    let mut server = Server::start();
    let mut a = server.connect();
    shop(&mut a);
    a.run("ALTER TABLE orders RENAME TO purchases");
    assert_eq!(a.fails("SELECT * FROM orders").code, "42P01");
    a.run("ALTER VIEW large RENAME TO \"Large ones\"; ALTER MATERIALIZED VIEW totals RENAME TO sums; ALTER INDEX by_customer RENAME TO purchases_by_customer");
    a.run("INSERT INTO purchases VALUES (4, 'bob', 30)");
    let read = |client: &mut Client| {
        assert_eq!(client.one("SELECT string_agg(id::text, ',' ORDER BY id) FROM \"Large ones\""), "1,3,4");
        assert_eq!(client.one("SELECT total FROM sums WHERE customer = 'bob'"), "33.00");
        assert_eq!(client.one("SELECT n FROM counted"), "3");
        assert!(client.texts("EXPLAIN SELECT * FROM purchases WHERE customer = 'ann'").concat().concat().contains("purchases_by_customer"));
    };
    read(&mut a);
    let definition = a.one("SELECT pg_get_viewdef('counted'::regclass)");
    assert!(definition.contains("FROM \"Large ones\" AS large"), "{definition}");
    assert!(a.rows("SHOW CREATE TABLE purchases")[0][1].as_ref().unwrap().starts_with("CREATE TABLE purchases (id"));
    server.kill();
    server.restart();
    let mut a = server.connect();
    read(&mut a);
    // A second name takes the place of the first one, and the old names are free.
    a.run("CREATE TABLE orders (n INT); ALTER TABLE purchases RENAME TO bought; INSERT INTO bought VALUES (5, 'cid', 1)");
    assert_eq!(a.one("SELECT count(*) FROM sums"), "3");
    server.terminate();
    server.restart();
    assert_eq!(server.connect().one("SELECT count(*) FROM sums"), "3");
}

#[test]
fn renames_are_refused_as_in_postgres() {
    let server = Server::start();
    let mut a = server.connect();
    shop(&mut a);
    assert_eq!(a.fails("ALTER TABLE nosuch RENAME TO x").code, "42P01");
    a.run("ALTER TABLE IF EXISTS nosuch RENAME TO x");
    assert_eq!(a.notices().last().unwrap().message, "relation \"nosuch\" does not exist, skipping");
    assert_eq!(a.fails("ALTER TABLE orders RENAME TO large").code, "42P07");
    assert_eq!(a.fails("ALTER TABLE orders RENAME TO orders").code, "42P07");
    assert_eq!(a.fails("ALTER VIEW orders RENAME TO x").code, "42809");
    a.run("CREATE ROLE ann LOGIN; GRANT SELECT ON orders TO ann");
    let mut b = Client::connect_as(server.sql_port, "ann", "tidewater").unwrap();
    assert_eq!(b.fails("ALTER TABLE orders RENAME TO mine").code, "42501");
    // What another transaction may take back is for nobody else.
    a.run("BEGIN; ALTER TABLE orders RENAME TO x");
    let mut c = server.connect();
    assert_eq!(c.fails("ALTER TABLE x RENAME TO y").code, "40001");
    assert_eq!(c.fails("CREATE TABLE orders (n INT)").code, "42P07");
    a.run("ROLLBACK");
    assert_eq!(c.one("SELECT count(*) FROM orders"), "3");
}

/// As dbt does it: the new relation takes the old one's name, and the old one goes.
#[test]
fn a_transaction_swaps_relations_or_leaves_them() {
    let mut server = Server::start();
    let mut a = server.connect();
    shop(&mut a);
    let swap = "BEGIN; CREATE TABLE orders_new AS SELECT id, customer, amount FROM orders WHERE id > 1; \
                ALTER TABLE orders RENAME TO orders_old; ALTER TABLE orders_new RENAME TO orders";
    a.run(swap);
    assert_eq!(a.one("SELECT count(*) FROM orders"), "2");
    a.run("ROLLBACK");
    let whole = |client: &mut Client| {
        assert_eq!(client.one("SELECT count(*) FROM orders"), "3");
        assert_eq!(client.one("SELECT count(*) FROM pg_class WHERE relname IN ('orders_old', 'orders_new')"), "0");
        assert_eq!(client.one("SELECT sum(total) FROM totals"), "33.50");
    };
    whole(&mut a);
    a.run("BEGIN; SAVEPOINT s; ALTER TABLE orders RENAME TO x; ALTER TABLE x RENAME TO y; ROLLBACK TO s; COMMIT");
    whole(&mut a);
    a.run(swap);
    server.kill();
    server.restart();
    let mut a = server.connect();
    whole(&mut a);
    a.run(swap);
    a.run("COMMIT");
    assert_eq!(a.one("SELECT count(*) FROM orders"), "2");
    assert_eq!(a.one("SELECT count(*) FROM counted"), "1");
    a.run("DROP TABLE orders_old CASCADE");
    assert_eq!(a.fails("SELECT * FROM totals").code, "42P01");
}

#[test]
fn a_transaction_that_drops_may_do_anything_else() {
    let mut server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    shop(&mut a);
    let anew = "BEGIN; DROP TABLE orders CASCADE; CREATE TABLE orders (id INT); INSERT INTO orders VALUES (7); \
                CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM orders";
    a.run(anew);
    assert_eq!(a.one("SELECT id FROM orders"), "7");
    a.run("ROLLBACK");
    assert_eq!(a.one("SELECT sum(total) FROM totals"), "33.50");
    a.run(anew);
    assert_eq!(b.fails("ALTER TABLE pg_dropped_0 RENAME TO x").code, "42P01");
    server.kill();
    server.restart();
    let mut a = server.connect();
    assert_eq!(a.one("SELECT sum(total) FROM totals"), "33.50");
    a.run(anew);
    a.run("COMMIT");
    assert_eq!(a.one("SELECT n FROM totals"), "1");
    a.run("INSERT INTO orders VALUES (8)");
    server.kill();
    server.restart();
    let mut a = server.connect();
    assert_eq!(a.one("SELECT n FROM totals"), "2");
    assert_eq!(a.one("SELECT count(*) FROM pg_class WHERE relname LIKE 'pg_dropped%'"), "0");
    a.run("BEGIN; CREATE TABLE made (n INT); SAVEPOINT s; DROP TABLE made; ROLLBACK TO s; INSERT INTO made VALUES (1); COMMIT");
    assert_eq!(a.one("SELECT n FROM made"), "1");
}

#[test]
fn tables_made_of_queries() {
    let server = Server::start();
    let mut a = server.connect();
    shop(&mut a);
    a.run("CREATE TABLE copied (key) AS SELECT id, customer, amount * 2 AS twice, 'x' AS t FROM orders");
    assert_eq!(a.one("SELECT sum(twice) FROM copied WHERE key > 1 AND t = 'x'"), "46.00");
    a.run("CREATE TABLE empty AS SELECT * FROM copied WITH NO DATA; CREATE TABLE IF NOT EXISTS empty AS SELECT 1");
    assert_eq!(a.one("SELECT count(*) FROM empty"), "0");
    assert_eq!(a.fails("CREATE TABLE copied AS SELECT 1").code, "42P07");
    assert_eq!(a.fails("CREATE TABLE short (a, b) AS SELECT 1").code, "42601");
    assert_eq!(a.fails("CREATE TABLE broken AS SELECT 1 / (id - 1) AS x FROM orders").code, "22012");
    assert_eq!(a.fails("SELECT * FROM broken").code, "42P01");
    a.run("TRUNCATE TABLE copied, orders");
    assert_eq!((a.one("SELECT count(*) FROM copied"), a.one("SELECT count(*) FROM orders")), ("0".into(), "0".into()));
    assert_eq!(a.fails("TRUNCATE totals").code, "42809");
    a.run("REFRESH MATERIALIZED VIEW totals");
    assert_eq!(a.one("SELECT count(*) FROM totals"), "0");
}

#[test]
fn temporary_tables_are_their_sessions_own() {
    let mut server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    shop(&mut a);
    a.run("CREATE TEMP TABLE orders AS SELECT 7 AS id");
    a.run("CREATE TEMPORARY TABLE other (n INT PRIMARY KEY); INSERT INTO other VALUES (1)");
    assert_eq!(a.one("SELECT id FROM orders"), "7");
    assert_eq!(a.one("SELECT count(*) FROM public.orders"), "3");
    assert_eq!(b.one("SELECT count(*) FROM orders"), "3");
    assert_eq!(b.fails("SELECT * FROM other").code, "42P01");
    assert_eq!(a.fails("CREATE MATERIALIZED VIEW v AS SELECT * FROM other").code, "0A000");
    a.run("BEGIN; DROP TABLE other; CREATE TEMP TABLE third (n INT); ROLLBACK");
    assert_eq!(a.one("SELECT n FROM other"), "1");
    assert_eq!(a.fails("SELECT * FROM third").code, "42P01");
    a.run("BEGIN; CREATE TEMP TABLE third (n INT); INSERT INTO third VALUES (3); COMMIT");
    assert_eq!(a.one("SELECT n FROM third"), "3");
    let left = "SELECT count(*) FROM pg_class WHERE relname IN ('other', 'third')";
    a.run("DISCARD TEMP");
    assert_eq!(b.one(left), "0");
    a.run("CREATE TEMP TABLE other (n INT)");
    drop(a);
    b.until(left, "0", std::time::Duration::from_secs(30));
    b.run("CREATE TEMP TABLE other (n INT)");
    server.kill();
    server.restart();
    assert_eq!(server.connect().one(left), "0");
}
