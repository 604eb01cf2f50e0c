-- Nexmark q12, windows of processing time: how many bids did a bidder make in each 10 seconds of the server's clock?
-- What it exercises: PROCTIME(): rows are dated by the epoch that takes them in, windows close by the clock, also when nothing comes. After a crash the rows have the times that they had.
CREATE MATERIALIZED VIEW IF NOT EXISTS q12 AS
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM TUMBLE((SELECT bidder, PROCTIME() AS p_time FROM bid), p_time, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end;
