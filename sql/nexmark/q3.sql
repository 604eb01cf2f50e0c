-- Nexmark q3, local item suggestion: who sells in category 10 from Oregon, Idaho or California? (The generator writes states
-- in lower case.)
-- What it exercises: an inner join of two unbounded streams, filters pushed below it.
CREATE MATERIALIZED VIEW IF NOT EXISTS q3 AS
SELECT p.name, p.city, p.state, a.id
FROM auction a
JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('or', 'id', 'ca');
