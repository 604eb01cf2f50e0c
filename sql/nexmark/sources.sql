-- The Nexmark benchmark's three streams, made in the server: an online auction with persons, auctions and bids (1 : 3 : 46).
-- The sources share their base time and rates, so that the streams fit together, and event n is the same in every run.
--
-- What it exercises: the generator `nexmark`, watermarks. The queries of this folder read these names.
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
) WITH (connector = 'nexmark', event_type = 'person', rate = '10000', event_rate = '10000', base_time = '1700000000000');

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
) WITH (connector = 'nexmark', event_type = 'auction', rate = '10000', event_rate = '10000', base_time = '1700000000000');

CREATE SOURCE IF NOT EXISTS bid (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  channel   VARCHAR,
  url       VARCHAR,
  date_time TIMESTAMP,
  extra     VARCHAR,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (connector = 'nexmark', event_type = 'bid', rate = '10000', event_rate = '10000', base_time = '1700000000000');
