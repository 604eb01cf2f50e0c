-- Nexmark q13, bounded side input: each bid with what a table says of its auction.
-- What it exercises: a join of a stream with a table, by a computed key. A change of the table corrects the rows that it made.
CREATE TABLE IF NOT EXISTS side_input (key BIGINT PRIMARY KEY, value VARCHAR);

INSERT INTO side_input
SELECT n, 'value ' || n FROM generate_series(0, 9999) AS s(n)
ON CONFLICT (key) DO NOTHING;

CREATE MATERIALIZED VIEW IF NOT EXISTS q13 AS
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid b
JOIN side_input s ON b.auction % 10000 = s.key;
