-- Missed calls of one of our numbers are tallied as those of an operator are: their total is read,
-- and a deep page is begun at its own day, however many the number has missed.

-- The tally's list of them: there the number stands for the operator.
CREATE VIEW missed_of_did AS
    SELECT event_id, date, did AS sip, direction FROM missed WHERE did IS NOT NULL;

CREATE FUNCTION keep_did_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tally AS t (list, sip, direction, grain, bucket, n)
    SELECT 'missed_of_did', c.did, k.direction, g.grain, g.bucket, tg_argv[0]::integer * count(*)
    FROM changed c
    CROSS JOIN LATERAL (VALUES (''), (c.direction)) k (direction)
    CROSS JOIN LATERAL (VALUES
        ('all', timestamptz '-infinity'), ('day', date_trunc('day', c.date, 'UTC'))
    ) g (grain, bucket)
    WHERE c.did IS NOT NULL
    GROUP BY c.did, k.direction, g.grain, g.bucket
    ORDER BY c.did, k.direction, g.grain, g.bucket
    ON CONFLICT (list, sip, direction, grain, bucket) DO UPDATE SET n = t.n + excluded.n;
    RETURN NULL;
END $$;

CREATE TRIGGER missed_did_added AFTER INSERT ON missed
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_did_tally('1');
CREATE TRIGGER missed_did_removed AFTER DELETE ON missed
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_did_tally('-1');
CREATE TRIGGER missed_did_before AFTER UPDATE ON missed
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_did_tally('-1');
CREATE TRIGGER missed_did_after AFTER UPDATE ON missed
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_did_tally('1');

-- Those that were here before.
INSERT INTO tally (list, sip, direction, grain, bucket, n)
SELECT 'missed_of_did', m.did, k.direction, g.grain, g.bucket, count(*)
FROM missed m
CROSS JOIN LATERAL (VALUES (''), (m.direction)) k (direction)
CROSS JOIN LATERAL (VALUES
    ('all', timestamptz '-infinity'), ('day', date_trunc('day', m.date, 'UTC'))
) g (grain, bucket)
WHERE m.did IS NOT NULL
GROUP BY m.did, k.direction, g.grain, g.bucket;

-- Few are open: those of a number are not to be looked for among all that it has missed.
CREATE INDEX missed_open_by_did ON missed (did, date, event_id) WHERE direction = 'open';
