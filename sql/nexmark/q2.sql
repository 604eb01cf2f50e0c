-- Nexmark q2, selection: bids on every 123rd auction.
-- What it exercises: a filter that keeps few rows.
CREATE MATERIALIZED VIEW IF NOT EXISTS q2 AS
SELECT auction, price
FROM bid
WHERE auction % 123 = 0;
