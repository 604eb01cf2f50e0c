-- Nexmark q9, winning bids: the highest bid of every auction, the earliest of equal ones.
-- What it exercises: a join with a time condition, then the first row of each group (Top-N by ROW_NUMBER).
CREATE MATERIALIZED VIEW IF NOT EXISTS q9 AS
SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra,
       auction, bidder, price, bid_date_time, bid_extra
FROM (
  SELECT a.*, b.auction, b.bidder, b.price, b.date_time AS bid_date_time, b.extra AS bid_extra,
         row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time ASC) AS rownum
  FROM auction a
  JOIN bid b ON a.id = b.auction
  WHERE b.date_time BETWEEN a.date_time AND a.expires
) ranked
WHERE rownum <= 1;
