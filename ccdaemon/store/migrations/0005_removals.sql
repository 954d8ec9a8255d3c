-- Who listened, recordings by the channel that was recorded, and the log of operators of long ago.
CREATE INDEX action_listened ON action (date, event_id)
    WHERE action IN ('listen', 'whisper', 'barge', 'playRecord');
CREATE INDEX record_by_uniqueid ON record (uniqueid);

-- Remove rows of the operators' log from before a moment, so many at most; the last row of each
-- operator stays. Answers how many were removed.
CREATE FUNCTION remove_operator_changes(before timestamptz, most integer) RETURNS bigint
    LANGUAGE sql AS $$
    WITH removed AS (
        DELETE FROM operator_change WHERE (node, event_id) IN (
            SELECT o.node, o.event_id FROM operator_change o
            WHERE o.date < before AND EXISTS (
                SELECT FROM operator_change n
                WHERE n.sip = o.sip AND (n.date, n.event_id) > (o.date, o.event_id)
            )
            ORDER BY o.date LIMIT most
        ) RETURNING 1
    )
    SELECT count(*) FROM removed
$$;

-- The same for what was done to calls that are not here any more.
CREATE FUNCTION remove_actions(before timestamptz, most integer) RETURNS bigint LANGUAGE sql AS $$
    WITH removed AS (
        DELETE FROM action WHERE (node, event_id) IN (
            SELECT a.node, a.event_id FROM action a
            WHERE a.date < before AND NOT EXISTS (SELECT FROM call WHERE call_id = a.call_id)
            ORDER BY a.date LIMIT most
        ) RETURNING 1
    )
    SELECT count(*) FROM removed
$$;
