-- Who has made a call: the client of the API, and the address that it asked from.
ALTER TABLE call ADD COLUMN made_by text, ADD COLUMN made_from text;

-- As it was, and with these two, which never change.
CREATE OR REPLACE FUNCTION ship(from_node text, above bigint, upto bigint, facts json)
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    other record;
BEGIN
    PERFORM FROM node WHERE node = from_node AND last_event_id >= above FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the history has lost events up to % of node %', above, from_node
            USING ERRCODE = 'CC001', HINT = 'An older copy of the database has taken its place.';
    END IF;

    -- Two daemons that were given the same numbers: neither call is merged into the other.
    SELECT c.call_id, c.node INTO other
    FROM json_to_recordset(facts) AS f (kind text, fact json)
    JOIN call c ON c.node <> from_node
        AND c.call_id = (f.fact -> CASE f.kind WHEN 'state' THEN 'call' ELSE 'record' END
            ->> 'call_id')::integer
    WHERE f.kind IN ('state', 'record') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'call % is of node %, not of node %', other.call_id, other.node, from_node
            USING ERRCODE = 'unique_violation';
    END IF;

    INSERT INTO call AS c (
        call_id, node, event_id, order_id, external_key, direction, sip, phone, state, final,
        date, answered, ended, ring_seconds, wait_seconds, talk_seconds, hung_up_by, cause, detail,
        did, caller_name, note, anchor, legs, made_by, made_from
    )
    SELECT DISTINCT ON (v.call_id)
        v.call_id, from_node, f.event_id, v.order_id, v.external_key, v.direction, v.sip, v.phone,
        v.state, v.final, moment(v.date), moment(v.answered), moment(v.ended), v.ring_seconds,
        v.wait_seconds, v.talk_seconds, v.hung_up_by, v.cause, v.detail, v.did, v.caller_name,
        v.note, v.anchor, v.legs, v.made_by, v.made_from
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'call') AS v (
        call_id integer, order_id text, external_key text, direction text, sip text, phone text,
        state text, final boolean, date bigint, answered bigint, ended bigint,
        ring_seconds double precision, wait_seconds double precision,
        talk_seconds double precision, hung_up_by text, cause integer, detail text,
        did text, caller_name text, note text, anchor text, legs jsonb, made_by text,
        made_from text
    )
    WHERE f.kind = 'state'
    ORDER BY v.call_id, f.event_id DESC
    ON CONFLICT (call_id) DO UPDATE SET
        node = excluded.node, event_id = excluded.event_id,
        order_id = CASE WHEN c.order_event IS NULL THEN excluded.order_id ELSE c.order_id END,
        external_key = excluded.external_key, sip = excluded.sip, state = excluded.state,
        final = excluded.final, date = excluded.date, answered = excluded.answered,
        ended = excluded.ended, ring_seconds = excluded.ring_seconds,
        wait_seconds = excluded.wait_seconds, talk_seconds = excluded.talk_seconds,
        hung_up_by = excluded.hung_up_by, cause = excluded.cause, detail = excluded.detail,
        did = excluded.did, caller_name = excluded.caller_name, note = excluded.note,
        anchor = excluded.anchor, legs = excluded.legs
    WHERE c.event_id < excluded.event_id;

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

    INSERT INTO operator_change (
        node, event_id, sip, state, device_state, call_id, date, detail, paused, pause_reason
    )
    SELECT from_node, f.event_id, o.sip, o.state, o.device_state, o.call_id, moment(o.date),
        o.detail, coalesce(o.paused, false), o.pause_reason
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'change') AS o (
        sip text, state text, device_state text, call_id integer, date bigint, detail text,
        paused boolean, pause_reason text
    )
    WHERE f.kind = 'operator'
    ON CONFLICT (node, event_id) DO NOTHING;

    INSERT INTO action (
        node, event_id, call_id, date, action, by, sip, phone, order_id, result, note, detail
    )
    SELECT from_node, f.event_id, a.call_id, moment(a.date), a.action, a.by, a.sip, a.phone,
        a.order_id, a.result, a.note, a.detail
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'action') AS a (
        call_id integer, date bigint, action text, by text, sip text, phone text, order_id text,
        result text, note text, detail text
    )
    WHERE f.kind = 'action'
    ON CONFLICT (node, event_id) DO NOTHING;

    -- None was new: then what they change stands there already, from the same transaction.
    IF FOUND THEN
        UPDATE call c SET order_id = a.order_id, order_node = from_node, order_event = a.event_id
        FROM (
            SELECT DISTINCT ON (call_id) call_id, event_id, order_id FROM action
            WHERE node = from_node AND action = 'attachOrder'
                AND event_id IN (SELECT (f ->> 'event_id')::bigint FROM json_array_elements(facts) f)
            ORDER BY call_id, event_id DESC
        ) a
        WHERE c.call_id = a.call_id
            AND (c.order_node IS DISTINCT FROM from_node OR c.order_event < a.event_id);

        UPDATE call c SET result = a.result, result_node = from_node, result_event = a.event_id
        FROM (
            SELECT DISTINCT ON (call_id) call_id, event_id, result FROM action
            WHERE node = from_node AND action = 'setResult'
                AND event_id IN (SELECT (f ->> 'event_id')::bigint FROM json_array_elements(facts) f)
            ORDER BY call_id, event_id DESC
        ) a
        WHERE c.call_id = a.call_id
            AND (c.result_node IS DISTINCT FROM from_node OR c.result_event < a.event_id);
    END IF;

    -- After the actions: of a call that was forgotten no recording is kept that came late.
    INSERT INTO record (
        uniqueid, call_id, node, event_id, path, format, size, duration, date, sip, direction,
        phone, pauses
    )
    SELECT r.uniqueid, r.call_id, from_node, f.event_id, r.path, r.format, r.size, r.duration,
        moment(r.date), c.sip, c.direction, c.phone, r.pauses
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'record') AS r (
        uniqueid text, call_id integer, path text, format text, size bigint,
        duration double precision, date bigint, pauses jsonb
    )
    LEFT JOIN call c ON c.call_id = r.call_id
    WHERE f.kind = 'record' AND NOT EXISTS (
        SELECT FROM action g WHERE g.call_id = r.call_id AND g.action = 'forgetOrder'
    )
    ON CONFLICT (call_id, uniqueid) DO NOTHING;

    UPDATE node SET last_event_id = greatest(last_event_id, upto) WHERE node = from_node;
    PERFORM pg_notify('ccdaemon_told', from_node);
END $$;
