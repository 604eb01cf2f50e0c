-- Who reports to whom, at any distance, always up to date: the transitive closure of a table of pairs.
--
-- The view keeps each pair once, with the lengths of the chains that lead to it. One changed pair costs what it changes: the pairs
-- that appear, disappear, or are reached by a chain of another length. Cycles are no danger: UNION knows what it has.
CREATE TABLE IF NOT EXISTS reports_to (employee text, boss text, PRIMARY KEY (employee, boss));

CREATE MATERIALIZED VIEW IF NOT EXISTS chain_of_command AS
WITH RECURSIVE chain (employee, superior) AS (
  SELECT employee, boss FROM reports_to
  UNION
  SELECT chain.employee, r.boss FROM chain JOIN reports_to r ON r.employee = chain.superior
)
SELECT employee, superior FROM chain;

-- Views over it are maintained in turn: how many people everyone has below.
CREATE MATERIALIZED VIEW IF NOT EXISTS headcount AS
SELECT superior, count(*) AS people FROM chain_of_command GROUP BY superior;

DELETE FROM reports_to;
INSERT INTO reports_to VALUES ('ann', 'bea'), ('cal', 'bea'), ('bea', 'dan'), ('eve', 'dan'), ('dan', 'fay');

-- Bea changes sides: she, Ann and Cal go to Gus; Dan and Fay lose all three.
UPDATE reports_to SET boss = 'gus' WHERE employee = 'bea';

-- A circle by mistake: Gus below Ann. Everyone in it is above everyone in it, until the row goes.
INSERT INTO reports_to VALUES ('gus', 'ann');
SELECT count(*) AS in_circles FROM chain_of_command WHERE employee = superior;
DELETE FROM reports_to WHERE employee = 'gus';
