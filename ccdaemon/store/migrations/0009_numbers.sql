-- Numbers get one form once a country is home: those that are here already are brought into it by
-- the daemon, a few at a time, each daemon those of its own calls.

-- How far a daemon is. home: for what country; since: newer calls have their form already.
CREATE TABLE numbering (
    node  text PRIMARY KEY,
    home  text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    after text NOT NULL DEFAULT '',
    done  boolean NOT NULL DEFAULT false
);
-- Forms that were made of other spellings: they are not read a second time. Emptied at the end.
CREATE TABLE renumbered (node text, form text, PRIMARY KEY (node, form));

-- A number that is spelled otherwise makes no call missed, and calls nobody back.
DROP TRIGGER call_missed ON call;
CREATE TRIGGER call_missed AFTER INSERT OR UPDATE OF state ON call
    FOR EACH ROW WHEN (new.direction = 'inbound' AND new.final AND new.answered IS NULL)
    EXECUTE FUNCTION note_missed();
DROP TRIGGER call_called_back ON call;
CREATE TRIGGER call_called_back AFTER INSERT OR UPDATE OF state ON call
    FOR EACH ROW WHEN (new.direction = 'outbound' AND new.answered IS NOT NULL)
    EXECUTE FUNCTION note_called_back();

-- The next numbers in the history behind this one, each once, by the index alone.
CREATE FUNCTION phones_after(last text, most integer) RETURNS SETOF text
    LANGUAGE sql STABLE AS $$
    WITH RECURSIVE p (phone) AS (
        (SELECT s.phone FROM state s WHERE s.phone > last ORDER BY s.phone LIMIT 1)
        UNION ALL
        SELECT (SELECT s.phone FROM state s WHERE s.phone > p.phone ORDER BY s.phone LIMIT 1)
        FROM p WHERE p.phone IS NOT NULL
    )
    SELECT phone FROM p WHERE phone IS NOT NULL LIMIT most
$$;

-- Give calls of a node with a number its form, no more than so many: how many there were. What was
-- sent stays beside it, with the client's leg.
CREATE FUNCTION renumber(
    of_node text, spelled text, form text, before timestamptz, most integer
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    ids integer[] := ARRAY(
        SELECT call_id FROM state
        WHERE phone = spelled AND date < before AND node = of_node AND seq = 1 LIMIT most
    );
BEGIN
    UPDATE state SET phone = form WHERE call_id = ANY (ids) AND phone = spelled;
    UPDATE record SET phone = form WHERE call_id = ANY (ids) AND phone = spelled;
    UPDATE call SET phone = form, legs = (
        SELECT jsonb_agg(
            CASE
                WHEN leg ->> 'name' = 'client' AND leg ->> 'phone' = spelled
                THEN leg || jsonb_build_object(
                    'phone', form, 'sent', coalesce(leg ->> 'sent', spelled)
                )
                ELSE leg
            END ORDER BY n
        ) FROM jsonb_array_elements(nullif(legs, 'null')) WITH ORDINALITY AS l (leg, n)
    )
    WHERE call_id = ANY (ids) AND phone = spelled;
    UPDATE missed SET phone = form WHERE call_id = ANY (ids) AND phone = spelled;
    RETURN cardinality(ids);
END $$;

-- Who was missed under one spelling and called back under another has been called back.
CREATE FUNCTION close_missed(form text) RETURNS void LANGUAGE sql AS $$
    UPDATE missed m SET direction = 'called_back', called_back = b.call_id, back_date = b.date,
        back_sip = b.sip
    FROM missed open JOIN LATERAL (
        SELECT o.call_id, o.date, o.sip FROM call o
        WHERE o.direction = 'outbound' AND o.phone = open.phone AND o.date > open.date
            AND o.answered IS NOT NULL
        ORDER BY o.date LIMIT 1
    ) b ON true
    WHERE open.phone = form AND open.called_back IS NULL AND m.call_id = open.call_id
$$;
