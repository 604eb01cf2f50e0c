-- Nexmark q4, average closing price of each category: the winning bid of an auction is its highest in time.
-- What it exercises: a join with a time condition, an aggregate over an aggregate, retractions between the two.
CREATE MATERIALIZED VIEW IF NOT EXISTS q4 AS
SELECT q.category, avg(q.final) AS avg_final
FROM (
  SELECT max(b.price) AS final, a.category
  FROM auction a
  JOIN bid b ON a.id = b.auction
  WHERE b.date_time BETWEEN a.date_time AND a.expires
  GROUP BY a.id, a.category
) q
GROUP BY q.category;
