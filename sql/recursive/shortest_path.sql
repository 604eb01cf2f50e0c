-- The cheapest way from one place to all others, maintained while roads open, close and change their price.
--
-- The recursion lists the different costs at which a place can be reached, and the minimum is taken outside of it. An aggregate inside would
-- be quicker to write and is refused, as in PostgreSQL: were the cheapest way withdrawn, the loop could not tell the next best
-- from what it has thrown away. What bounds the recursion is the price: without `< 100` a circle of roads would be driven
-- for ever. (UNION ends when nothing new comes, but a longer way round has a new cost each time.)
CREATE TABLE IF NOT EXISTS road (a text, b text, cost int, PRIMARY KEY (a, b));

CREATE MATERIALIZED VIEW IF NOT EXISTS cheapest AS
WITH RECURSIVE way (place, cost) AS (
  SELECT 'home', 0
  UNION
  SELECT road.b, way.cost + road.cost FROM way JOIN road ON road.a = way.place WHERE way.cost + road.cost < 100
)
SELECT place, min(cost) AS cost FROM way GROUP BY place;

DELETE FROM road;
INSERT INTO road VALUES ('home', 'mill', 10), ('mill', 'port', 10), ('home', 'port', 35), ('port', 'mill', 1), ('port', 'isle', 30);

-- The bridge behind the mill is closed: the port is 35 away now, the isle 65, the mill still 10.
DELETE FROM road WHERE a = 'mill' AND b = 'port';
