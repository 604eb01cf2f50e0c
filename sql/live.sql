-- Following a view: what it holds, then its changes, through a cursor. A program that wants them pushed runs SUBSCRIBE itself; psql shows them with
-- COPY (SUBSCRIBE sales) TO STDOUT.
CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY, item text, price numeric(10,2));
CREATE MATERIALIZED VIEW IF NOT EXISTS sales AS SELECT item, sum(price) AS taken FROM orders GROUP BY item;
DELETE FROM orders;
INSERT INTO orders VALUES (1, 'tea', 5);

BEGIN;
DECLARE changes CURSOR FOR SUBSCRIBE sales;
-- As soon as there are 100 rows, or when the second is over.
FETCH 100 changes WITH (timeout = '1s');
COMMIT;
