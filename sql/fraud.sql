-- Card fraud, live: a card that pays at three or more different merchants, more than $500 together, within two
-- minutes. The windows slide by five seconds. `make demo` runs this file; it may be run again at any time.
--
-- What it exercises: a generator with late and duplicate events, a watermark, sliding windows (HOP), count(DISTINCT),
-- HAVING, a view on a view, and results that are corrected while a window is open.

-- 5,000 payments a second with 10,000 cards. A normal card has two home merchants, so whatever is flagged was planted: one
-- fraud in every 25,000 payments. Planted frauds lie within 115 seconds, for a window that slides by 5 s cannot promise
-- the last 5 of its 120. Two payments in a thousand come up to 30 s late, one in a thousand comes twice.
CREATE SOURCE IF NOT EXISTS payments (
  payment_id BIGINT,
  card       VARCHAR,
  merchant   VARCHAR,
  amount     NUMERIC(10, 2),
  country    VARCHAR,
  ts         TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (
  connector = 'payments',
  rate = '5000',
  cards = '10000',
  merchants = '1000',
  fraud_every = '25000',
  late_share = '0.002',
  max_lateness = '30 seconds',
  duplicate_share = '0.001',
  seed = '42'
);

-- One row per card and window that breaks the rule. A payment that comes for a window already closed is not used there:
-- it is counted, and kept in tidewater.late_rows.
CREATE MATERIALIZED VIEW IF NOT EXISTS fraud_windows AS
SELECT card,
       window_start,
       window_end,
       count(DISTINCT merchant) AS merchants,
       count(*)                 AS payments,
       sum(amount)              AS spent
FROM HOP(payments, ts, INTERVAL '5 seconds', INTERVAL '2 minutes')
GROUP BY card, window_start, window_end
HAVING count(DISTINCT merchant) >= 3 AND sum(amount) > 500;

-- One row per card: what an analyst looks at.
CREATE MATERIALIZED VIEW IF NOT EXISTS flagged_cards AS
SELECT card,
       max(merchants)    AS merchants,
       max(spent)        AS spent,
       min(window_start) AS first_seen,
       max(window_end)   AS last_window
FROM fraud_windows
GROUP BY card;
