-- The nearest row in time: each trade with the quote that was the newest when it was made, and orders with the exchange rate of their moment.
--
-- What it exercises: ASOF joins over tables whose rows change, FOR SYSTEM_TIME AS OF the event's time over sources with watermarks, windows above such a join that close.
CREATE TABLE IF NOT EXISTS quotes (symbol text, at timestamp, bid numeric(10, 2), PRIMARY KEY (symbol, at));
CREATE TABLE IF NOT EXISTS trades (id int PRIMARY KEY, symbol text, at timestamp, paid numeric(10, 2));

-- At most one quote for each trade: the last one at or before it. A trade before the first quote stays, with NULLs.
CREATE MATERIALIZED VIEW IF NOT EXISTS slippage AS
SELECT t.id, t.symbol, q.at AS quoted_at, t.paid - q.bid AS over_bid
FROM trades t ASOF LEFT JOIN quotes q MATCH_CONDITION (t.at >= q.at) ON t.symbol = q.symbol;

DELETE FROM trades;
DELETE FROM quotes;
INSERT INTO trades VALUES (1, 'ACME', '2024-01-02 09:00:01', 10.20), (2, 'ACME', '2024-01-02 09:00:07', 10.40), (3, 'EMCA', '2024-01-02 09:00:07', 5.00);
INSERT INTO quotes VALUES ('ACME', '2024-01-02 09:00:00', 10.00), ('ACME', '2024-01-02 09:00:05', 10.30), ('EMCA', '2024-01-02 09:00:09', 4.90);

-- A quote that was missing, and one that was wrong: the trades behind them follow.
INSERT INTO quotes VALUES ('ACME', '2024-01-02 09:00:06', 10.35), ('EMCA', '2024-01-02 09:00:02', 4.95);
DELETE FROM quotes WHERE symbol = 'ACME' AND at = '2024-01-02 09:00:00';
SELECT * FROM slippage ORDER BY id;

-- A rate every second for one of five currencies; ten orders a second.
CREATE SOURCE IF NOT EXISTS rates (
  n        BIGINT,
  currency BIGINT,
  rate     BIGINT,
  ts       TIMESTAMP AS (TIMESTAMP '2024-01-02 09:00:00' + n * INTERVAL '1 second'),
  WATERMARK FOR ts AS ts - INTERVAL '2 seconds'
) WITH (
  connector = 'datagen',
  rows = '2000',
  fields.n.kind = 'sequence',
  fields.n.start = '0',
  fields.currency.kind = 'random',
  fields.currency.min = '1',
  fields.currency.max = '5',
  fields.rate.kind = 'random',
  fields.rate.min = '90',
  fields.rate.max = '110'
);
CREATE SOURCE IF NOT EXISTS orders (
  n        BIGINT,
  currency BIGINT,
  amount   BIGINT,
  ts       TIMESTAMP AS (TIMESTAMP '2024-01-02 09:01:00' + n * INTERVAL '100 milliseconds'),
  WATERMARK FOR ts AS ts - INTERVAL '2 seconds'
) WITH (
  connector = 'datagen',
  rows = '18000',
  fields.n.kind = 'sequence',
  fields.n.start = '0',
  fields.currency.kind = 'random',
  fields.currency.min = '1',
  fields.currency.max = '5',
  fields.amount.kind = 'random',
  fields.amount.min = '1',
  fields.amount.max = '1000'
);

-- Every order at the rate that was valid at its own time, whichever of both came first. Behind both watermarks a result is final, so the minutes close; of older rates only the newest of
-- each currency is kept.
CREATE MATERIALIZED VIEW IF NOT EXISTS revenue_per_minute AS
SELECT window_start, window_end, count(*) AS orders, sum(amount * rate) AS revenue
FROM TUMBLE((SELECT o.ts, o.amount, r.rate FROM orders o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency), ts, INTERVAL '1 minute')
GROUP BY window_start, window_end
EMIT ON WINDOW CLOSE;
