-- What keeps both stores together: whose installation this is, which
-- PostgreSQL it is and how far it has come, and what a job's row needs so that
-- the job can be put back into an empty Redis.

-- trace: the traceparent of the submit (W3C Trace Context).

ALTER TABLE trifecta.job ADD COLUMN trace text;


-- One row.  A Redis that has the id of another installation is left alone.

CREATE TABLE trifecta.install (
    one      boolean     PRIMARY KEY DEFAULT true CHECK (one),
    id       uuid        NOT NULL DEFAULT gen_random_uuid(),
    created  timestamptz NOT NULL DEFAULT now()
);

INSERT INTO trifecta.install DEFAULT VALUES;


-- A shard's mark is a number that grows every now and then, first here, then
-- in Redis.  A PostgreSQL whose mark is behind the one in Redis was restored
-- to an earlier moment, which the name of the server alone need not show.

CREATE TABLE trifecta.shard (
    shard   integer     PRIMARY KEY,
    mark    bigint      NOT NULL DEFAULT 0,
    marked  timestamptz NOT NULL DEFAULT now()
);

-- The next mark; NULL when the last one is younger than so many ms (and not
-- of the future, where a clock that was wrong put it).

CREATE FUNCTION trifecta.next_mark(of_shard integer, younger bigint)
    RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        INSERT INTO trifecta.shard AS s (shard, mark) VALUES (of_shard, 1)
        ON CONFLICT (shard) DO UPDATE SET mark = s.mark + 1, marked = now()
        WHERE s.marked <= now() - younger * interval '1 ms'
           OR s.marked > now()
        RETURNING mark
    $$;


-- The next epoch of a shard, above every one that was given here and above
-- the one that its Redis has: a PostgreSQL that was restored may have
-- forgotten some.

CREATE FUNCTION trifecta.next_epoch(of_shard integer, above bigint DEFAULT 0)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    number  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('trifecta.next_epoch'), of_shard);

    SELECT greatest(coalesce(max(epoch), 0), above) + 1 INTO number
        FROM trifecta.epoch WHERE shard = of_shard;

    INSERT INTO trifecta.epoch (shard, epoch) VALUES (of_shard, number);

    RETURN number;
END
$$;


-- Which PostgreSQL this is: another cluster, a promoted standby (another
-- timeline) and a copy in another database have another name.

CREATE FUNCTION trifecta.store_identity() RETURNS text
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT concat_ws(':', s.system_identifier,
                         substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
                         d.oid)
        FROM pg_control_system() AS s, pg_database AS d
        WHERE d.datname = current_database()
    $$;


-- Open jobs by shard, which the id says (include/trifecta/id.h): the digits
-- 16 and 17 of its text.

DROP INDEX trifecta.job_open;

CREATE INDEX job_open ON trifecta.job (substr(id::text, 16, 2), id)
    WHERE state IN ('queued', 'running');

-- The keys of the last day, which an emptied Redis gets back.

CREATE INDEX job_idem ON trifecta.job (substr(id::text, 16, 2), id)
    WHERE idem_key IS NOT NULL;


REVOKE ALL ON FUNCTION trifecta.next_mark(integer, bigint),
    trifecta.next_epoch(integer, bigint), trifecta.store_identity()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trifecta.next_mark(integer, bigint),
    trifecta.next_epoch(integer, bigint), trifecta.store_identity()
    TO trifecta_queue;
GRANT SELECT ON trifecta.install, trifecta.shard TO trifecta_queue;
