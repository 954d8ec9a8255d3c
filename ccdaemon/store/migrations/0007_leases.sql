-- Who was granted which call numbers, and a history that takes no call for another node's.

-- node: whose they are; empty: nobody's, or granted before it was written down whose.
CREATE TABLE lease (
    lo      integer NOT NULL,
    hi      integer NOT NULL,
    node    text NOT NULL,
    granted timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lo, node)
);
INSERT INTO lease SELECT 1, last_value + 9999, '' FROM call_id_lease WHERE is_called;

-- A lease of call numbers, above every number that is known to be in use or granted.
DROP FUNCTION take_lease(integer);
CREATE FUNCTION take_lease(above integer, for_node text DEFAULT '', OUT lo integer, OUT hi integer)
    LANGUAGE plpgsql AS $$
DECLARE
    size constant integer := 10000;
    used integer;
BEGIN
    -- One at a time: who comes next sees what this one was granted.
    LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE;
    used := greatest(
        above, 0, (SELECT max(call_id) FROM call), (SELECT max(l.hi) FROM lease l)
    );
    lo := (used + size - 1) / size * size + 1;
    hi := lo + size - 1;
    INSERT INTO lease VALUES (lo, hi, for_node);
END $$;

-- A node has numbers left that were granted to it, perhaps by another database, or before this one
-- was put back from a copy. True if they are its own, false if another one has them: then it must
-- not use them. Where they are not known here, other nodes may have some that are not known either,
-- and a stretch above them is granted to nobody.
CREATE FUNCTION hold_lease(for_node text, first integer, last integer) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    top integer;
BEGIN
    LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (
        SELECT FROM lease WHERE lo <= last AND hi >= first AND node NOT IN ('', for_node)
    ) OR EXISTS (
        SELECT FROM call WHERE call_id BETWEEN first AND last AND node <> for_node
    ) THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM lease WHERE lo <= first AND hi >= last AND node = for_node) THEN
        RETURN true;
    END IF;
    IF NOT EXISTS (SELECT FROM lease WHERE lo <= first AND hi >= last) THEN
        top := greatest(last, (SELECT max(hi) FROM lease));
        INSERT INTO lease VALUES (top + 1, top + 1000000, '');
    END IF;
    INSERT INTO lease VALUES (first, last, for_node);
    RETURN true;
END $$;

-- As it was, but for two things: a call of another node is refused, and so is a recording of one;
-- and what comes late of a call that was forgotten is passed over.
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
        did, caller_name, note, anchor, legs
    )
    SELECT DISTINCT ON (v.call_id)
        v.call_id, from_node, f.event_id, v.order_id, v.external_key, v.direction, v.sip, v.phone,
        v.state, v.final, moment(v.date), moment(v.answered), moment(v.ended), v.ring_seconds,
        v.wait_seconds, v.talk_seconds, v.hung_up_by, v.cause, v.detail, v.did, v.caller_name,
        v.note, v.anchor, v.legs
    FROM json_to_recordset(facts) AS f (event_id bigint, kind text, fact json)
    CROSS JOIN LATERAL json_to_record(f.fact -> 'call') AS v (
        call_id integer, order_id text, external_key text, direction text, sip text, phone text,
        state text, final boolean, date bigint, answered bigint, ended bigint,
        ring_seconds double precision, wait_seconds double precision,
        talk_seconds double precision, hung_up_by text, cause integer, detail text,
        did text, caller_name text, note text, anchor text, legs jsonb
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
