-- Nexmark q7, highest bid: the bids with the highest price of every 10 seconds.
-- What it exercises: tumbling windows, a join of a stream with its own aggregate, by price and time.
CREATE MATERIALIZED VIEW IF NOT EXISTS q7 AS
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (
  SELECT max(price) AS maxprice, window_end
  FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
  GROUP BY window_start, window_end
) w ON b.price = w.maxprice
WHERE b.date_time BETWEEN w.window_end - INTERVAL '10 seconds' AND w.window_end;
