-- Nexmark q18, last bid: the newest bid of every bidder on every auction.
-- What it exercises: deduplication that keeps the last row (Top-N by ROW_NUMBER with a limit of 1); each newer row takes the older one back.
CREATE MATERIALIZED VIEW IF NOT EXISTS q18 AS
SELECT auction, bidder, price, channel, url, date_time, extra
FROM (
  SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC) AS rank_number
  FROM bid
) ranked
WHERE rank_number <= 1;
