-- TPC-H Q17, small-quantity-order revenue.
-- What it exercises: a correlated average, against which each change compares all rows of its part.
CREATE MATERIALIZED VIEW IF NOT EXISTS q17 AS
SELECT sum(l_extendedprice) / 7.0 AS avg_yearly
FROM lineitem, part
WHERE p_partkey = l_partkey
  AND p_brand = 'Brand#23'
  AND p_container = 'MED BOX'
  AND l_quantity < (
    SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey
  );
