-- The Nexmark streams as JSON from three Kafka topics. Times in the records are milliseconds since 1970, or ISO 8601 text.
-- Set the broker to yours. Use either this file or sources.sql: they make the same names.
--
-- What it exercises: Kafka, JSON, watermarks per partition.
CREATE SOURCE IF NOT EXISTS person (
  id            BIGINT,
  name          VARCHAR,
  email_address VARCHAR,
  credit_card   VARCHAR,
  city          VARCHAR,
  state         VARCHAR,
  date_time     TIMESTAMP,
  extra         VARCHAR,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'kafka', topic = 'person', properties.bootstrap.server = '127.0.0.1:9092', scan.startup.mode = 'earliest')
FORMAT PLAIN ENCODE JSON;

CREATE SOURCE IF NOT EXISTS auction (
  id          BIGINT,
  item_name   VARCHAR,
  description VARCHAR,
  initial_bid BIGINT,
  reserve     BIGINT,
  date_time   TIMESTAMP,
  expires     TIMESTAMP,
  seller      BIGINT,
  category    BIGINT,
  extra       VARCHAR,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'kafka', topic = 'auction', properties.bootstrap.server = '127.0.0.1:9092', scan.startup.mode = 'earliest')
FORMAT PLAIN ENCODE JSON;

CREATE SOURCE IF NOT EXISTS bid (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  channel   VARCHAR,
  url       VARCHAR,
  date_time TIMESTAMP,
  extra     VARCHAR,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'kafka', topic = 'bid', properties.bootstrap.server = '127.0.0.1:9092', scan.startup.mode = 'earliest')
FORMAT PLAIN ENCODE JSON;
