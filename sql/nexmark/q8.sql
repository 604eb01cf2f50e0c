-- Nexmark q8, monitor new users: who opened an auction within the same 10 seconds in which they registered?
-- What it exercises: tumbling windows on both sides of a join, grouping without an aggregate.
CREATE MATERIALIZED VIEW IF NOT EXISTS q8 AS
SELECT p.id, p.name, p.window_start
FROM (
  SELECT id, name, window_start, window_end
  FROM TUMBLE(person, date_time, INTERVAL '10 seconds')
  GROUP BY id, name, window_start, window_end
) p
JOIN (
  SELECT seller, window_start, window_end
  FROM TUMBLE(auction, date_time, INTERVAL '10 seconds')
  GROUP BY seller, window_start, window_end
) a
ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end;
