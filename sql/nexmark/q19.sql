-- Nexmark q19, the ten highest bids of every auction.
-- What it exercises: Top-N with the rank as a column: a row that comes in above moves those below it.
CREATE MATERIALIZED VIEW IF NOT EXISTS q19 AS
SELECT *
FROM (
  SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC) AS rank_number
  FROM bid
) ranked
WHERE rank_number <= 10;
