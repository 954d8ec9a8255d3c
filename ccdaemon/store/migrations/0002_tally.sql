-- How many rows each list has, so that a page of ten million rows costs what a page of ten does:
-- totals are read, not counted, and a deep page is begun at its own hour, not at the newest row.
--
-- list: the table. sip, direction: '' for all. grain: 'all' (bucket -infinity), 'day', and where
-- sip is '' also 'hour'; days and hours are UTC's.
CREATE TABLE tally (
    list      text NOT NULL,
    sip       text NOT NULL,
    direction text NOT NULL,
    grain     text NOT NULL,
    bucket    timestamptz NOT NULL,
    n         bigint NOT NULL,
    PRIMARY KEY (list, sip, direction, grain, bucket)
) WITH (fillfactor = 50);

CREATE FUNCTION keep_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tally AS t (list, sip, direction, grain, bucket, n)
    SELECT tg_table_name, k.sip, k.direction, g.grain, g.bucket, tg_argv[0]::integer * count(*)
    FROM (SELECT c.sip, to_jsonb(c) ->> 'direction' AS direction, c.date FROM changed c) r
    CROSS JOIN LATERAL (VALUES
        ('', ''), (r.sip, ''), ('', r.direction), (r.sip, r.direction)
    ) k (sip, direction)
    CROSS JOIN LATERAL (VALUES
        ('all', timestamptz '-infinity'),
        ('day', date_trunc('day', r.date, 'UTC')),
        ('hour', date_trunc('hour', r.date, 'UTC'))
    ) g (grain, bucket)
    WHERE k.sip IS NOT NULL AND k.direction IS NOT NULL AND (g.grain <> 'hour' OR k.sip = '')
    GROUP BY k.sip, k.direction, g.grain, g.bucket
    -- Always in one order: two daemons that write must not wait for each other.
    ORDER BY k.sip, k.direction, g.grain, g.bucket
    ON CONFLICT (list, sip, direction, grain, bucket) DO UPDATE SET n = t.n + excluded.n;
    RETURN NULL;
END $$;

CREATE TRIGGER state_added AFTER INSERT ON state
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('1');
CREATE TRIGGER state_removed AFTER DELETE ON state
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('-1');
CREATE TRIGGER record_added AFTER INSERT ON record
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('1');
CREATE TRIGGER record_removed AFTER DELETE ON record
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('-1');
CREATE TRIGGER record_before AFTER UPDATE ON record
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('-1');
CREATE TRIGGER record_after AFTER UPDATE ON record
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('1');
CREATE TRIGGER operator_change_added AFTER INSERT ON operator_change
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('1');
CREATE TRIGGER operator_change_removed AFTER DELETE ON operator_change
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_tally('-1');

-- Rows of a list from lo (included) to hi (not included), by counting them.
CREATE FUNCTION counted(list text, sip text, direction text, lo timestamptz, hi timestamptz)
    RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    n bigint;
BEGIN
    IF lo >= hi THEN
        RETURN 0;
    END IF;
    EXECUTE format('SELECT count(*) FROM %I WHERE date >= $1 AND date < $2', list)
        || CASE WHEN sip <> '' THEN ' AND sip = $3' ELSE '' END
        || CASE WHEN direction <> '' THEN ' AND direction = $4' ELSE '' END
        INTO n USING lo, hi, sip, direction;
    RETURN n;
END $$;

-- The same for whole buckets of one grain, from the tally.
CREATE FUNCTION tallied(
    l text, s text, d text, g text, lo timestamptz, hi timestamptz
) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(n), 0)::bigint FROM tally
    WHERE list = l AND sip = s AND direction = d AND grain = g AND bucket >= lo AND bucket < hi
$$;

-- The beginning of the bucket that a moment is in; infinity stays what it is.
CREATE FUNCTION bucket_of(grain text, at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN isfinite(at) THEN date_trunc(grain, at, 'UTC') ELSE at END
$$;

-- The same, or the next one if the moment is inside.
CREATE FUNCTION bucket_from(grain text, at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN bucket_of(grain, at) = at THEN at
        ELSE bucket_of(grain, at) + ('1 ' || grain)::interval
    END
$$;

-- How many rows a list has between two moments.
CREATE FUNCTION total_of(list text, sip text, direction text, lo timestamptz, hi timestamptz)
    RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    fine text := CASE WHEN sip = '' THEN 'hour' ELSE 'day' END;
    first timestamptz := bucket_from(fine, lo);
    past timestamptz := bucket_of(fine, hi);
    first_day timestamptz := bucket_from('day', first);
    past_day timestamptz := bucket_of('day', past);
BEGIN
    IF NOT isfinite(lo) AND NOT isfinite(hi) THEN
        RETURN tallied(list, sip, direction, 'all', lo, hi);
    ELSIF first >= past THEN
        RETURN counted(list, sip, direction, lo, hi);
    ELSIF first_day > past_day THEN
        RETURN counted(list, sip, direction, lo, first)
            + tallied(list, sip, direction, fine, first, past)
            + counted(list, sip, direction, past, hi);
    END IF;
    RETURN counted(list, sip, direction, lo, first)
        + tallied(list, sip, direction, fine, first, first_day)
        + tallied(list, sip, direction, 'day', first_day, past_day)
        + tallied(list, sip, direction, fine, past_day, past)
        + counted(list, sip, direction, past, hi);
END $$;

-- Walk the buckets of a grain from the newest, passing over skip rows: the bucket where that
-- ends and how many of its rows are still to be passed; no bucket if they are too few.
CREATE FUNCTION walk(
    l text, s text, d text, g text, lo timestamptz, hi timestamptz, skip bigint,
    OUT at timestamptz, OUT rest bigint
) LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT w.bucket, skip - (w.reached - w.n) INTO at, rest
    FROM (
        SELECT bucket, n, sum(n) OVER (ORDER BY bucket DESC)::bigint AS reached FROM tally
        WHERE list = l AND sip = s AND direction = d AND grain = g AND bucket >= lo AND bucket < hi
    ) w
    WHERE w.reached > skip ORDER BY w.bucket DESC LIMIT 1;
    IF at IS NULL THEN
        rest := skip - tallied(l, s, d, g, lo, hi);
    END IF;
END $$;

-- Where the page begins that comes after skip rows of a list, newest first: at the newest row
-- before a moment, after rest more. total: of the whole list.
CREATE FUNCTION locate(
    list text, sip text, direction text, lo timestamptz, hi timestamptz, skip bigint,
    OUT total bigint, OUT before timestamptz, OUT rest bigint
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    fine text := CASE WHEN sip = '' THEN 'hour' ELSE 'day' END;
    past timestamptz := bucket_of(fine, hi);
    past_day timestamptz := bucket_of('day', past);
    edge bigint;
    at timestamptz;
BEGIN
    total := total_of(list, sip, direction, lo, hi);
    before := hi;
    rest := skip;
    IF skip = 0 OR skip >= total THEN
        RETURN;
    END IF;
    edge := counted(list, sip, direction, past, hi);
    IF skip < edge THEN
        RETURN;
    END IF;
    SELECT w.at, w.rest INTO at, rest
        FROM walk(list, sip, direction, fine, past_day, past, skip - edge) w;
    IF at IS NULL THEN
        SELECT w.at, w.rest INTO at, rest
            FROM walk(list, sip, direction, 'day', '-infinity', past_day, rest) w;
        IF fine = 'day' THEN
            before := at + interval '1 day';
            RETURN;
        END IF;
        SELECT w.at, w.rest INTO at, rest
            FROM walk(list, sip, direction, 'hour', at, at + interval '1 day', rest) w;
    END IF;
    before := at + ('1 ' || fine)::interval;
END $$;
