-- Nexmark q0, pass through: every bid becomes a row of the view.
-- What it exercises: the cost of input and of keeping a view's rows; no operator state.
CREATE MATERIALIZED VIEW IF NOT EXISTS q0 AS
SELECT auction, bidder, price, date_time, extra
FROM bid;
