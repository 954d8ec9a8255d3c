-- What a daemon does to the history: it takes numbers, and it ships what its journal has.

-- A lease of call numbers, above every number that is known to be in use.
CREATE FUNCTION take_lease(above integer, OUT lo integer, OUT hi integer) LANGUAGE plpgsql AS $$
DECLARE
    size constant integer := 10000;
    used integer := greatest(above, (SELECT max(call_id) FROM call));
BEGIN
    lo := nextval('call_id_lease');
    -- Only where the database is older than what it has granted: restored, or made anew.
    WHILE lo <= used LOOP
        PERFORM setval('call_id_lease', (used - lo) / size * size + lo);
        lo := nextval('call_id_lease');
    END LOOP;
    hi := lo + size - 1;
END $$;

-- Add what a journal has, up to its event upto. Done twice, it is as if done once. Refused if what
-- comes up to the event above is not here any more: an older copy was put in under the daemon's
-- feet, and what that lacks would be lost for good.
--
-- facts: [{"event_id": 1, "kind": "state" | "operator" | "record", "fact": {...}}], as the
-- journal spells them, oldest first.
CREATE FUNCTION ship(from_node text, above bigint, upto bigint, facts json) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM node WHERE node = from_node AND last_event_id >= above FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the history has lost events up to % of node %', above, from_node
            USING ERRCODE = 'CC001', HINT = 'An older copy of the database has taken its place.';
    END IF;

    INSERT INTO call AS c (
        call_id, node, event_id, order_id, external_key, direction, sip, phone, state, final,
        date, answered, ended, ring_seconds, wait_seconds, talk_seconds, hung_up_by, cause, detail
    )
    SELECT DISTINCT ON (v.call_id)
        v.call_id, from_node, f.event_id, v.order_id, v.external_key, v.direction, v.sip, v.phone,
        v.state, v.final, moment(v.date), moment(v.answered), moment(v.ended), v.ring_seconds,
        v.wait_seconds, v.talk_seconds, v.hung_up_by, v.cause, v.detail
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'call') AS v (
        call_id integer, order_id text, external_key text, direction text, sip text, phone text,
        state text, final boolean, date bigint, answered bigint, ended bigint,
        ring_seconds double precision, wait_seconds double precision,
        talk_seconds double precision, hung_up_by text, cause integer, detail text
    )
    WHERE f.kind = 'state'
    ORDER BY v.call_id, f.event_id DESC
    ON CONFLICT (call_id) DO UPDATE SET
        node = excluded.node, event_id = excluded.event_id, order_id = excluded.order_id,
        external_key = excluded.external_key, sip = excluded.sip, state = excluded.state,
        final = excluded.final, date = excluded.date, answered = excluded.answered,
        ended = excluded.ended, ring_seconds = excluded.ring_seconds,
        wait_seconds = excluded.wait_seconds, talk_seconds = excluded.talk_seconds,
        hung_up_by = excluded.hung_up_by, cause = excluded.cause, detail = excluded.detail
    WHERE c.node <> excluded.node OR c.event_id < excluded.event_id;

    INSERT INTO state (
        call_id, seq, node, event_id, state, final, leg, sip, date, cause, detail, direction, phone
    )
    SELECT s.call_id, s.seq, from_node, f.event_id, s.state, s.final, s.leg, s.sip,
        moment(s.date), s.cause, s.detail, c.direction, c.phone
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'state') AS s (
        call_id integer, seq integer, state text, final boolean, leg text, sip text, date bigint,
        cause integer, detail text
    )
    JOIN call c ON c.call_id = s.call_id
    WHERE f.kind = 'state'
    ON CONFLICT (call_id, seq) DO NOTHING;

    INSERT INTO record (
        uniqueid, call_id, node, event_id, path, format, size, duration, date, sip, direction,
        phone
    )
    SELECT r.uniqueid, r.call_id, from_node, f.event_id, r.path, r.format, r.size, r.duration,
        moment(r.date), c.sip, c.direction, c.phone
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'record') AS r (
        uniqueid text, call_id integer, path text, format text, size bigint,
        duration double precision, date bigint
    )
    LEFT JOIN call c ON c.call_id = r.call_id
    WHERE f.kind = 'record'
    ON CONFLICT (call_id, uniqueid) DO NOTHING;

    INSERT INTO operator_change (
        node, event_id, sip, state, device_state, call_id, date, detail
    )
    SELECT from_node, f.event_id, o.sip, o.state, o.device_state, o.call_id, moment(o.date),
        o.detail
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'change') AS o (
        sip text, state text, device_state text, call_id integer, date bigint, detail text
    )
    WHERE f.kind = 'operator'
    ON CONFLICT (node, event_id) DO NOTHING;

    UPDATE node SET last_event_id = greatest(last_event_id, upto) WHERE node = from_node;
    PERFORM pg_notify('ccdaemon_told', from_node);
END $$;

-- Recordings are found by their call's operator, who may become known later.
CREATE FUNCTION keep_records_in_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE record SET sip = new.sip WHERE call_id = new.call_id;
    RETURN NULL;
END $$;

CREATE TRIGGER call_operator_known AFTER UPDATE ON call
    FOR EACH ROW WHEN (old.sip IS DISTINCT FROM new.sip)
    EXECUTE FUNCTION keep_records_in_step();
