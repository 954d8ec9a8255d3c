-- A missed call is open until somebody of ours talked with the client: in a call back, or because
-- the client rang again. And while it is open, one operator may have it for some minutes.

-- The later inbound call in which the client talked. direction says what closed it: 'called_back',
-- 'called_again', whichever was first. A call back stands in called_back in either case.
ALTER TABLE missed
    ADD COLUMN called_again integer,
    ADD COLUMN again_date   timestamptz,
    ADD COLUMN again_sip    text;

CREATE INDEX call_talked ON call (phone, direction, answered) WHERE answered IS NOT NULL;

-- By which calls a client was reached after a moment. Of those who hide their number nobody knows
-- whether they are the same.
CREATE FUNCTION reached(client text, since timestamptz) RETURNS TABLE (
    how text, called_back integer, back_date timestamptz, back_sip text,
    called_again integer, again_date timestamptz, again_sip text
) LANGUAGE sql STABLE AS $$
    SELECT CASE
            WHEN b.call_id IS NULL AND a.call_id IS NULL THEN 'open'
            WHEN b.call_id IS NULL OR a.answered < b.answered THEN 'called_again'
            ELSE 'called_back'
        END,
        b.call_id, b.date, b.sip, a.call_id, a.date, a.sip
    FROM (VALUES (1)) one
    LEFT JOIN LATERAL (
        SELECT o.call_id, o.date, o.sip, o.answered FROM call o
        WHERE o.phone = client AND o.direction = 'outbound' AND o.answered > since
        ORDER BY o.answered LIMIT 1
    ) b ON true
    LEFT JOIN LATERAL (
        SELECT o.call_id, o.date, o.sip, o.answered FROM call o
        WHERE o.phone = client AND o.direction = 'inbound' AND o.answered > since
            AND client <> 'anonymous'
        ORDER BY o.answered LIMIT 1
    ) a ON true
$$;

CREATE OR REPLACE FUNCTION note_missed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO missed (
        call_id, event_id, date, sip, direction, phone, did, called_back, back_date, back_sip,
        called_again, again_date, again_sip
    )
    SELECT new.call_id, new.event_id, new.date, new.sip, r.how, new.phone, new.did, r.called_back,
        r.back_date, r.back_sip, r.called_again, r.again_date, r.again_sip
    FROM reached(new.phone, new.date) r
    ON CONFLICT (call_id) DO NOTHING;
    RETURN NULL;
END $$;

-- A client is on the phone with somebody of ours: whoever was missed before waits no longer.
CREATE FUNCTION note_reached() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Looked for first: an update of nothing would run the tally's triggers all the same. By the
    -- phone alone: whatever is known of the table by then, no other index is worth a look.
    IF new.direction = 'outbound' THEN
        PERFORM FROM missed
            WHERE phone = new.phone AND called_back IS NULL AND (date < new.answered) IS TRUE;
        IF FOUND THEN
            UPDATE missed SET called_back = new.call_id, back_date = new.date, back_sip = new.sip,
                direction = CASE direction WHEN 'open' THEN 'called_back' ELSE direction END
            WHERE phone = new.phone AND called_back IS NULL AND (date < new.answered) IS TRUE;
        END IF;
    ELSIF new.phone <> 'anonymous' THEN
        PERFORM FROM missed
            WHERE phone = new.phone AND direction || '' = 'open' AND (date < new.answered) IS TRUE;
        IF FOUND THEN
            UPDATE missed SET called_again = new.call_id, again_date = new.date,
                again_sip = new.sip, direction = 'called_again'
            WHERE phone = new.phone AND direction || '' = 'open'
                AND (date < new.answered) IS TRUE;
        END IF;
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER call_called_back ON call;
DROP FUNCTION note_called_back();
CREATE TRIGGER call_reached AFTER INSERT OR UPDATE OF state ON call
    FOR EACH ROW WHEN (new.answered IS NOT NULL) EXECUTE FUNCTION note_reached();

-- Who was missed under one spelling and reached under another has been reached.
CREATE OR REPLACE FUNCTION close_missed(form text) RETURNS void LANGUAGE sql AS $$
    UPDATE missed m SET direction = r.how, called_back = r.called_back, back_date = r.back_date,
        back_sip = r.back_sip, called_again = r.called_again, again_date = r.again_date,
        again_sip = r.again_sip
    FROM missed open CROSS JOIN LATERAL reached(open.phone, open.date) r
    WHERE open.phone = form AND open.direction = 'open' AND m.call_id = open.call_id
        AND r.how <> 'open'
$$;

-- Those that were here before: only the open ones can have been closed by what is new here.
UPDATE missed m SET direction = r.how, called_back = r.called_back, back_date = r.back_date,
    back_sip = r.back_sip, called_again = r.called_again, again_date = r.again_date,
    again_sip = r.again_sip
FROM missed open CROSS JOIN LATERAL reached(open.phone, open.date) r
WHERE open.direction = 'open' AND m.call_id = open.call_id AND r.how <> 'open';

-- Who has an open missed call, and until when. It is the client who is not to be called by two, so
-- a claim holds for all the missed calls of one client.
CREATE TABLE claim (
    client  text PRIMARY KEY,
    call_id integer NOT NULL REFERENCES missed ON DELETE CASCADE,
    sip     text NOT NULL,
    by      text NOT NULL,
    since   timestamptz NOT NULL,
    until   timestamptz NOT NULL
);
CREATE INDEX claim_by_call ON claim (call_id);

-- Whom a missed call is from, as far as claims go.
CREATE FUNCTION client_of(phone text, call_id integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE phone WHEN 'anonymous' THEN '#' || call_id ELSE phone END
$$;

-- The first of two who want the same client has them; whoever has them may have them for longer,
-- or give them back. The detail begins with the minutes.
CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM claim WHERE until <= new.date;
    INSERT INTO claim AS k
    SELECT client_of(m.phone, m.call_id), m.call_id, new.sip, new."by", new.date,
        new.date + make_interval(mins => coalesce(
            substring(new.detail FROM '^\d{1,4}')::integer, 0
        ))
    FROM missed m WHERE m.call_id = new.call_id
    ON CONFLICT (client) DO UPDATE SET call_id = excluded.call_id, by = excluded.by,
        since = excluded.since, until = excluded.until
    WHERE k.sip = excluded.sip AND k.since <= excluded.since;
    RETURN NULL;
END $$;

CREATE TRIGGER action_claims AFTER INSERT ON action
    FOR EACH ROW WHEN (new.action = 'claimMissed') EXECUTE FUNCTION note_claim();
