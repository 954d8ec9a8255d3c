-- The history of calls, recordings and operators. Several daemons may write to it, each under
-- the node that its journal names, each row with the id that the journal gave it.

CREATE FUNCTION moment(ms bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT timestamptz 'epoch' + ms * interval '1 millisecond' $$;

CREATE FUNCTION ms(moment timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT round(extract(epoch FROM moment) * 1000)::bigint $$;

-- Call numbers are granted in leases of this size; CRMs keep them in 32 bits.
CREATE SEQUENCE call_id_lease AS integer INCREMENT 10000;

-- last_event_id: everything that this journal had up to there is here.
CREATE TABLE node (
    node          text PRIMARY KEY,
    last_event_id bigint NOT NULL,
    since         timestamptz NOT NULL DEFAULT now()
);

-- A call as its newest fact, event_id of node, left it.
CREATE TABLE call (
    call_id      integer PRIMARY KEY,
    node         text NOT NULL REFERENCES node,
    event_id     bigint NOT NULL,
    order_id     text,
    external_key text UNIQUE,
    direction    text NOT NULL,
    sip          text,
    phone        text NOT NULL,
    state        text NOT NULL,
    final        boolean NOT NULL,
    date         timestamptz NOT NULL,
    answered     timestamptz,
    ended        timestamptz,
    ring_seconds double precision,
    wait_seconds double precision,
    talk_seconds double precision,
    hung_up_by   text,
    cause        integer,
    detail       text
);
CREATE INDEX call_of_order ON call (order_id) WHERE order_id IS NOT NULL;

-- direction and phone are the call's, which never change; here they can be found by date.
CREATE TABLE state (
    call_id   integer NOT NULL REFERENCES call,
    seq       integer NOT NULL,
    node      text NOT NULL,
    event_id  bigint NOT NULL,
    state     text NOT NULL,
    final     boolean NOT NULL,
    leg       text,
    sip       text,
    date      timestamptz NOT NULL,
    cause     integer,
    detail    text,
    direction text NOT NULL,
    phone     text NOT NULL,
    PRIMARY KEY (call_id, seq),
    UNIQUE (node, event_id)
);
CREATE INDEX state_by_date ON state (date, event_id);
CREATE INDEX state_by_sip ON state (sip, date, event_id);
CREATE INDEX state_by_phone ON state (phone, date, event_id);
CREATE INDEX state_by_direction ON state (direction, date, event_id);

-- sip, phone and direction are the call's, kept in step with it.
CREATE TABLE record (
    call_id   integer NOT NULL REFERENCES call,
    uniqueid  text NOT NULL,
    node      text NOT NULL,
    event_id  bigint NOT NULL,
    path      text NOT NULL,
    format    text NOT NULL,
    size      bigint NOT NULL,
    duration  double precision NOT NULL,
    date      timestamptz NOT NULL,
    sip       text,
    direction text NOT NULL,
    phone     text NOT NULL,
    -- Not by uniqueid alone: two Asterisks may give the same one.
    PRIMARY KEY (call_id, uniqueid),
    UNIQUE (node, event_id)
);
CREATE INDEX record_by_date ON record (date, event_id);
CREATE INDEX record_by_sip ON record (sip, date, event_id);
CREATE INDEX record_by_phone ON record (phone, date, event_id);
CREATE INDEX record_by_direction ON record (direction, date, event_id);

CREATE TABLE operator_change (
    node         text NOT NULL,
    event_id     bigint NOT NULL,
    sip          text NOT NULL,
    state        text NOT NULL,
    device_state text,
    call_id      integer,
    date         timestamptz NOT NULL,
    detail       text,
    PRIMARY KEY (node, event_id)
);
CREATE INDEX operator_change_by_date ON operator_change (date, event_id);
CREATE INDEX operator_change_by_sip ON operator_change (sip, date, event_id);
