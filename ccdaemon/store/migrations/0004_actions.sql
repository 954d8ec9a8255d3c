-- What inbound calls have, what is done to calls, who is paused, and calls that were missed.

-- legs: the phones of the call, as the journal spells them. order_*, result_*: the event that
-- attached the order (null: the call's states say it) and the one that set the result.
ALTER TABLE call
    ADD COLUMN did text,
    ADD COLUMN caller_name text,
    ADD COLUMN note text,
    ADD COLUMN anchor text,
    ADD COLUMN legs jsonb,
    ADD COLUMN order_node text,
    ADD COLUMN order_event bigint,
    ADD COLUMN result text,
    ADD COLUMN result_node text,
    ADD COLUMN result_event bigint;
-- From when to when it is silent because it was told to be: [[seconds, seconds], …].
ALTER TABLE record ADD COLUMN pauses jsonb;

CREATE INDEX call_of_result ON call (result, date) WHERE result IS NOT NULL;
CREATE INDEX call_to_phone ON call (phone, date) WHERE direction = 'outbound';

ALTER TABLE operator_change
    ADD COLUMN paused boolean NOT NULL DEFAULT false,
    ADD COLUMN pause_reason text;

-- What was done to calls. The call itself may be gone, or not be here yet.
CREATE TABLE action (
    node     text NOT NULL,
    event_id bigint NOT NULL,
    call_id  integer NOT NULL,
    date     timestamptz NOT NULL,
    action   text NOT NULL,
    by       text NOT NULL,
    sip      text,
    phone    text,
    order_id text,
    result   text,
    note     text,
    detail   text,
    PRIMARY KEY (node, event_id)
);
CREATE INDEX action_of_call ON action (call_id, event_id);
CREATE INDEX action_by_date ON action (date, event_id);

-- Inbound calls that nobody took. direction is the second key of the tally here: 'open', or
-- 'called_back' once a later outbound call had the client on the phone, which is called_back.
CREATE TABLE missed (
    call_id      integer PRIMARY KEY,
    event_id     bigint NOT NULL,
    date         timestamptz NOT NULL,
    sip          text,
    direction    text NOT NULL,
    phone        text NOT NULL,
    did          text,
    called_back  integer,
    back_date    timestamptz,
    back_sip     text
);
CREATE INDEX missed_by_date ON missed (date, event_id);
CREATE INDEX missed_by_sip ON missed (sip, date, event_id);
CREATE INDEX missed_by_phone ON missed (phone, date, event_id);
CREATE INDEX missed_by_did ON missed (did, date, event_id);
CREATE INDEX missed_by_direction ON missed (direction, date, event_id);

CREATE TRIGGER missed_added AFTER INSERT ON missed
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('1');
CREATE TRIGGER missed_removed AFTER DELETE ON missed
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('-1');
CREATE TRIGGER missed_before AFTER UPDATE ON missed
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('-1');
CREATE TRIGGER missed_after AFTER UPDATE ON missed
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('1');

-- A call was missed: list it, with the call by which it was called back, if that was told before.
CREATE FUNCTION note_missed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    back record;
BEGIN
    SELECT o.call_id, o.date, o.sip INTO back FROM call o
        WHERE o.direction = 'outbound' AND o.phone = new.phone AND o.date > new.date
            AND o.answered IS NOT NULL
        ORDER BY o.date LIMIT 1;
    INSERT INTO missed VALUES (
        new.call_id, new.event_id, new.date, new.sip,
        CASE WHEN back.call_id IS NULL THEN 'open' ELSE 'called_back' END,
        new.phone, new.did, back.call_id, back.date, back.sip
    ) ON CONFLICT (call_id) DO NOTHING;
    RETURN NULL;
END $$;

-- An outbound call had its client on the phone: whoever was missed before has been called back.
CREATE FUNCTION note_called_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Looked for first: an update of nothing would run the tally's triggers all the same. By the
    -- phone alone: whatever is known of the table by then, no other index is worth a look.
    PERFORM FROM missed
        WHERE phone = new.phone AND called_back IS NULL AND (date < new.date) IS TRUE;
    IF FOUND THEN
        UPDATE missed SET direction = 'called_back', called_back = new.call_id,
            back_date = new.date, back_sip = new.sip
        WHERE phone = new.phone AND called_back IS NULL AND (date < new.date) IS TRUE;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER call_missed AFTER INSERT OR UPDATE ON call
    FOR EACH ROW WHEN (new.direction = 'inbound' AND new.final AND new.answered IS NULL)
    EXECUTE FUNCTION note_missed();
CREATE TRIGGER call_called_back AFTER INSERT OR UPDATE ON call
    FOR EACH ROW WHEN (new.direction = 'outbound' AND new.answered IS NOT NULL)
    EXECUTE FUNCTION note_called_back();

-- Calls that were here before; the first outbound call that was answered is the one.
INSERT INTO missed
SELECT c.call_id, c.event_id, c.date, c.sip,
    CASE WHEN b.call_id IS NULL THEN 'open' ELSE 'called_back' END, c.phone, c.did, b.call_id,
    b.date, b.sip
FROM call c LEFT JOIN LATERAL (
    SELECT o.call_id, o.date, o.sip FROM call o
    WHERE o.direction = 'outbound' AND o.phone = c.phone AND o.date > c.date
        AND o.answered IS NOT NULL
    ORDER BY o.date LIMIT 1
) b ON true
WHERE c.direction = 'inbound' AND c.final AND c.answered IS NULL;

-- The keys of calls that were removed: they stay used.
CREATE TABLE spent_key (external_key text PRIMARY KEY, call_id integer NOT NULL);
CREATE INDEX spent_key_by_call ON spent_key (call_id);

-- Remove calls with everything that is known of them; that they were removed stays.
CREATE FUNCTION remove_calls(ids integer[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO spent_key SELECT external_key, call_id FROM call
        WHERE call_id = ANY (ids) AND external_key IS NOT NULL ON CONFLICT DO NOTHING;
    DELETE FROM record WHERE call_id = ANY (ids);
    DELETE FROM state WHERE call_id = ANY (ids);
    DELETE FROM missed WHERE call_id = ANY (ids);
    DELETE FROM action WHERE call_id = ANY (ids) AND action <> 'forgetOrder';
    DELETE FROM call WHERE call_id = ANY (ids);
$$;

-- As it was, and with what there is now. An order that was attached is not undone by a state that
-- was on its way then. Within a node the newest event decides; between nodes, which have no
-- order, what comes later.
CREATE OR REPLACE FUNCTION ship(from_node text, above bigint, upto bigint, facts json)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM node WHERE node = from_node AND last_event_id >= above FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the history has lost events up to % of node %', above, from_node
            USING ERRCODE = 'CC001', HINT = 'An older copy of the database has taken its place.';
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
    WHERE f.kind = 'record'
    ON CONFLICT (call_id, uniqueid) DO NOTHING;

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

    UPDATE node SET last_event_id = greatest(last_event_id, upto) WHERE node = from_node;
    PERFORM pg_notify('ccdaemon_told', from_node);
END $$;
