-- Nexmark q10, log to files: every bid with the parts of its time that name the file it would be written to. The view is the log.
-- What it exercises: formatting times to text; the cost of keeping a view's rows.
CREATE MATERIALIZED VIEW IF NOT EXISTS q10 AS
SELECT auction, bidder, price, date_time, extra,
       to_char(date_time, 'YYYY-MM-DD') AS dt,
       to_char(date_time, 'HH24:MI') AS hm
FROM bid;
