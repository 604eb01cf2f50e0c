-- Nexmark q11, user sessions: how many bids did a bidder make in each of his times of activity, which end when he makes none for 10 seconds?
-- What it exercises: session windows, whose bounds are not known before they are over: a bid can extend a session and join two.
CREATE MATERIALIZED VIEW IF NOT EXISTS q11 AS
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end;
