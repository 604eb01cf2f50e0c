-- The rule of fraud.sql over a Kafka topic of JSON payments, for instance
--   {"payment_id": 7, "card": "4000 0000 0000 0042", "merchant": "merchant-17", "amount": 199.90, "ts": "2026-01-31T12:00:00.250"}
-- Set the broker and the topic to yours. Several partitions are read at once; the watermark is the minimum over them.
--
-- What it exercises: Kafka offsets in the checkpoint, metadata columns, records that do not decode (tidewater.dead_letters),
-- results that appear once and never change (EMIT ON WINDOW CLOSE).
CREATE SOURCE IF NOT EXISTS kafka_payments (
  payment_id BIGINT,
  card       VARCHAR,
  merchant   VARCHAR,
  amount     NUMERIC(10, 2),
  ts         TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
)
INCLUDE partition AS kafka_partition
INCLUDE offset AS kafka_offset
WITH (
  connector = 'kafka',
  topic = 'payments',
  properties.bootstrap.server = '127.0.0.1:9092',
  scan.startup.mode = 'earliest'
) FORMAT PLAIN ENCODE JSON;

-- Corrected while the window is open, like fraud.sql.
CREATE MATERIALIZED VIEW IF NOT EXISTS kafka_fraud_windows AS
SELECT card,
       window_start,
       window_end,
       count(DISTINCT merchant) AS merchants,
       count(*)                 AS payments,
       sum(amount)              AS spent
FROM HOP(kafka_payments, ts, INTERVAL '5 seconds', INTERVAL '2 minutes')
GROUP BY card, window_start, window_end
HAVING count(DISTINCT merchant) >= 3 AND sum(amount) > 500;

-- The same, each row once, when its window has closed: what an alert that cannot be taken back should read.
CREATE MATERIALIZED VIEW IF NOT EXISTS kafka_fraud_final AS
SELECT card,
       window_start,
       window_end,
       count(DISTINCT merchant) AS merchants,
       count(*)                 AS payments,
       sum(amount)              AS spent
FROM HOP(kafka_payments, ts, INTERVAL '5 seconds', INTERVAL '2 minutes')
GROUP BY card, window_start, window_end
HAVING count(DISTINCT merchant) >= 3 AND sum(amount) > 500
EMIT ON WINDOW CLOSE;
