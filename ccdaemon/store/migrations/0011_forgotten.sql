-- The channels with which calls began that were forgotten, so that a daemon whose journal is gone does
-- not read them out of Asterisk's log of channel events once more. Nothing of a person is in it.
CREATE TABLE forgotten (
    node    text NOT NULL,
    anchor  text NOT NULL,
    call_id integer NOT NULL,
    date    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node, anchor)
);

-- Remove calls with everything that is known of them, for good. Who listened to them when stays, as
-- long as anything is kept of anybody; of the person nothing.
CREATE FUNCTION forget_calls(ids integer[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO forgotten (node, anchor, call_id)
        SELECT node, anchor, call_id FROM call WHERE call_id = ANY (ids) AND anchor IS NOT NULL
        ON CONFLICT DO NOTHING;
    DELETE FROM forgotten WHERE date < now() - interval '30 days';
    INSERT INTO spent_key SELECT external_key, call_id FROM call
        WHERE call_id = ANY (ids) AND external_key IS NOT NULL ON CONFLICT DO NOTHING;
    DELETE FROM record WHERE call_id = ANY (ids);
    DELETE FROM state WHERE call_id = ANY (ids);
    DELETE FROM missed WHERE call_id = ANY (ids);
    DELETE FROM action WHERE call_id = ANY (ids)
        AND action NOT IN ('forgetOrder', 'listen', 'whisper', 'barge', 'playRecord');
    UPDATE action SET phone = NULL, order_id = NULL, result = NULL, note = NULL, detail = NULL
        WHERE call_id = ANY (ids) AND action <> 'forgetOrder';
    DELETE FROM call WHERE call_id = ANY (ids);
$$;
