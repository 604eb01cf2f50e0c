-- Nexmark q1, currency conversion: prices in euros.
-- What it exercises: a projection with exact decimal arithmetic.
CREATE MATERIALIZED VIEW IF NOT EXISTS q1 AS
SELECT auction, bidder, 0.908 * price AS price, date_time, extra
FROM bid;
