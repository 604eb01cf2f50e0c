-- Nexmark q6, average selling price of each seller over the last auctions: of each auction the winning bid (as in q9), of each seller the
-- mean of that bid and the ten before it.
-- What it exercises: a moving average over a Top-N that retracts: a better bid changes a price, or the place of an auction among the others.
CREATE MATERIALIZED VIEW IF NOT EXISTS q6 AS
SELECT seller, id, final,
       avg(final) OVER (PARTITION BY seller ORDER BY bid_date_time, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS avg_final
FROM (
  SELECT a.id, a.seller, b.price AS final, b.date_time AS bid_date_time,
         row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time ASC) AS rownum
  FROM auction a
  JOIN bid b ON a.id = b.auction
  WHERE b.date_time BETWEEN a.date_time AND a.expires
) winners
WHERE rownum <= 1;
