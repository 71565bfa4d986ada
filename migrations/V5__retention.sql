-- What has ended is kept for a while, and then goes: whole days at once where
-- that is possible, else row by row in small numbers.
--
-- A day goes by DROP TABLE of its partitions, which needs an ACCESS EXCLUSIVE
-- lock on the partitioned table for some milliseconds.  (DETACH ...
-- CONCURRENTLY would not, but PostgreSQL refuses it where there is a DEFAULT
-- partition.)  While such a lock is waited for, everybody else waits behind
-- it: so nobody waits longer than lock_timeout, one call drops one partition,
-- and a caller that meets a long reader comes back later.
--
-- The functions run as the owner, who passes no policy of job, job_result and
-- job_step.  They work on the partitions themselves, on which nobody else has
-- any right.


-- Steps get the same days as the jobs that they belong to.  What is there
-- becomes the default partition, as it is.

ALTER TABLE trifecta.job_step RENAME TO job_step_default;
ALTER TABLE trifecta.job_step_default
    RENAME CONSTRAINT job_step_pkey TO job_step_default_pkey;

REVOKE ALL ON trifecta.job_step_default FROM trifecta_queue;
DROP POLICY queue_all ON trifecta.job_step_default;
ALTER TABLE trifecta.job_step_default NO FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.job_step_default DISABLE ROW LEVEL SECURITY;

CREATE TABLE trifecta.job_step (
    job      uuid        NOT NULL,
    step     text        NOT NULL,
    tenant   text        NOT NULL,
    owner    text        NOT NULL,
    output   jsonb,
    created  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, step)
) PARTITION BY RANGE (job);

ALTER TABLE trifecta.job_step
    ATTACH PARTITION trifecta.job_step_default DEFAULT;

ALTER TABLE trifecta.job_step ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.job_step FORCE ROW LEVEL SECURITY;
CREATE POLICY queue_all ON trifecta.job_step TO trifecta_queue USING (true);
GRANT SELECT, INSERT, DELETE ON trifecta.job_step TO trifecta_queue;


-- The lowest id that a job of that moment can have.

CREATE FUNCTION trifecta.first_id(at timestamptz) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT (lpad(to_hex(greatest(0, floor(extract(epoch FROM at) * 1000))
                            ::bigint), 12, '0') || repeat('0', 20))::uuid
    $$;


-- The partitions of a table of this schema, and which ids they hold: lo
-- inclusive, hi exclusive.  Both are NULL for the default partition, and for
-- one that somebody attached with bounds of another kind.

CREATE FUNCTION trifecta.partitions_of(parent text)
    RETURNS TABLE (part regclass, lo uuid, hi uuid)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT c.oid::regclass, (b.at)[1]::uuid, (b.at)[2]::uuid
        FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind = 'r'
        LEFT JOIN LATERAL regexp_match(
            pg_get_expr(c.relpartbound, c.oid),
            '^FOR VALUES FROM \(''([0-9a-f-]{36})''\)'
            || ' TO \(''([0-9a-f-]{36})''\)$') AS b(at) ON true
        WHERE i.inhparent = to_regclass('trifecta.' || quote_ident(parent))
    $$;


-- Makes the partitions of the next days, one a day, named by their day, and
-- says how many.  A day for which rows are in the default partition already
-- stays there.  A table that is made first and attached then locks out
-- nobody who reads or writes other days, and the default partition only for
-- a moment.

CREATE OR REPLACE FUNCTION trifecta.make_partitions(days integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '100ms'
    AS $$
DECLARE
    day   timestamptz;
    made  integer := 0;
    tab   text;
    name  text;
BEGIN
    IF days < 1 OR days > 31 THEN
        RAISE EXCEPTION 'days must be between 1 and 31';
    END IF;

    PERFORM pg_advisory_xact_lock(hashtext('trifecta.make_partitions'));

    FOR i IN 0 .. days - 1 LOOP
        day := (date_trunc('day', now() AT TIME ZONE 'UTC')
                + i * interval '1 day') AT TIME ZONE 'UTC';

        FOREACH tab IN ARRAY ARRAY['job', 'job_result', 'job_step'] LOOP
            name := tab || '_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD');

            IF to_regclass('trifecta.' || name) IS NOT NULL THEN
                CONTINUE;
            END IF;

            BEGIN
                EXECUTE format('CREATE TABLE trifecta.%I (LIKE trifecta.%I '
                               'INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
                               'INCLUDING STORAGE)', name, tab);
                EXECUTE format('ALTER TABLE trifecta.%I ATTACH PARTITION '
                               'trifecta.%I FOR VALUES FROM (%L) TO (%L)',
                               tab, name, trifecta.first_id(day),
                               trifecta.first_id(day + interval '1 day'));
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                NULL;
            END;
        END LOOP;
    END LOOP;

    RETURN made;
END
$$;


-- Whether anything in there keeps a partition of jobs: an open row.  There is
-- an index of these, which is empty as a rule; statistics of a busy hour must
-- not make it a look at every row.

CREATE FUNCTION trifecta.has_open(part regclass) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    AS $$
DECLARE
    found  boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE state IN '
                   '(''queued'', ''running''))', part) INTO found;
    RETURN found;
END
$$;


-- Whether there is a job, in whatever state, with an id of that range: its
-- results and steps stay as long as it does.

CREATE FUNCTION trifecta.has_jobs(lo uuid, hi uuid) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    AS $$
DECLARE
    p      record;
    found  boolean;
BEGIN
    FOR p IN SELECT * FROM trifecta.partitions_of('job') AS o
             WHERE o.lo IS NULL OR (o.lo < has_jobs.hi AND o.hi > has_jobs.lo)
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE id >= $1 '
                       'AND id < $2)', p.part) INTO found USING lo, hi;
        IF found THEN
            RETURN true;
        END IF;
    END LOOP;

    RETURN false;
END
$$;


-- The first id that is kept: everything below it may go.  Nothing of the last
-- day ever goes, whatever is asked for.

CREATE FUNCTION trifecta.prune_bound(before timestamptz) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF before IS NULL OR before > now() - interval '1 day' THEN
        RAISE EXCEPTION 'what is less than a day old is kept'
              USING ERRCODE = 'invalid_parameter_value';
    END IF;

    RETURN trifecta.first_id(before);
END
$$;


-- Drops one partition that lies entirely before that moment and holds nothing
-- that is needed, the oldest first, and says which one; NULL when there is
-- none.  Fails with lock_not_available when the table is in use for long:
-- nothing was changed then.  What somebody else drops meanwhile is gone as
-- well.  What may not be dropped (it was given another owner, or a view needs
-- it) is said when nothing else is left.

CREATE FUNCTION trifecta.drop_partition(before timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '100ms'
    AS $$
DECLARE
    bound   uuid := trifecta.prune_bound(before);
    p       record;
    name    text;
    needed  boolean;
    why     text;
BEGIN
    FOR p IN SELECT t.tab, o.* FROM
                 unnest(ARRAY['job', 'job_result', 'job_step']) AS t(tab),
                 LATERAL trifecta.partitions_of(t.tab) AS o
             WHERE o.hi <= bound ORDER BY o.hi, o.lo, t.tab
    LOOP
        name := p.part::text;

        BEGIN
            needed := CASE p.tab WHEN 'job' THEN trifecta.has_open(p.part)
                      ELSE trifecta.has_jobs(p.lo, p.hi) END;

            IF needed THEN
                CONTINUE;
            END IF;

            -- from here on nobody adds a row

            EXECUTE format('LOCK TABLE ONLY trifecta.%I IN ACCESS EXCLUSIVE '
                           'MODE', p.tab);

            needed := CASE p.tab WHEN 'job' THEN trifecta.has_open(p.part)
                      ELSE trifecta.has_jobs(p.lo, p.hi) END;

            IF needed THEN
                RETURN '';
            END IF;

            EXECUTE 'DROP TABLE ' || name;

            RETURN name;

        EXCEPTION
            WHEN undefined_table THEN
                NULL;
            WHEN insufficient_privilege OR dependent_objects_still_exist THEN
                why := coalesce(why, SQLERRM);
        END;
    END LOOP;

    IF why IS NOT NULL THEN
        RAISE EXCEPTION '%', why USING ERRCODE = 'object_in_use';
    END IF;

    RETURN NULL;
END
$$;


-- Deletes results and steps of these jobs, wherever they are.

CREATE FUNCTION trifecta.prune_parts(ids uuid[]) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    p      record;
    n      integer;
    gone   integer := 0;
    least  uuid;
    most   uuid;
BEGIN
    SELECT x INTO least FROM unnest(ids) AS x ORDER BY x LIMIT 1;
    SELECT x INTO most FROM unnest(ids) AS x ORDER BY x DESC LIMIT 1;

    FOR p IN SELECT o.* FROM
                 unnest(ARRAY['job_result', 'job_step']) AS t(tab),
                 LATERAL trifecta.partitions_of(t.tab) AS o
             WHERE o.lo IS NULL OR (o.lo <= most AND o.hi > least)
    LOOP
        EXECUTE format('DELETE FROM %s WHERE job = ANY ($1)', p.part)
            USING ids;
        GET DIAGNOSTICS n = ROW_COUNT;
        gone := gone + n;
    END LOOP;

    RETURN gone;
END
$$;


-- Deletes at most max jobs that have ended, with their results and steps, of
-- the default partition and of those that cannot be dropped because something
-- in them is open; and at most as many results and steps there whose job has
-- gone.  Says how many of each; 0, 0 when there is nothing left to do.

CREATE FUNCTION trifecta.prune(before timestamptz, max integer,
                               OUT jobs integer, OUT rest integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '1s'
    AS $$
DECLARE
    bound    uuid := trifecta.prune_bound(before);
    p        record;
    ids      uuid[];
    orphans  text;
    n        integer;
BEGIN
    jobs := 0;
    rest := 0;

    IF max < 1 OR max > 10000 THEN
        RAISE EXCEPTION 'max must be between 1 and 10000'
              USING ERRCODE = 'invalid_parameter_value';
    END IF;

    FOR p IN SELECT * FROM trifecta.partitions_of('job') AS o
             WHERE o.lo IS NULL OR (o.hi <= bound AND
                                    trifecta.has_open(o.part))
             ORDER BY o.lo
    LOOP
        -- rows that somebody else has locked are left for the next time

        EXECUTE format('SELECT array_agg(x.id) FROM (SELECT id FROM %s '
                       'WHERE id < $1 AND state NOT IN (''queued'', '
                       '''running'') ORDER BY id LIMIT $2 '
                       'FOR UPDATE SKIP LOCKED) AS x', p.part)
            INTO ids USING bound, max - jobs;

        IF ids IS NOT NULL THEN
            rest := rest + trifecta.prune_parts(ids);

            EXECUTE format('DELETE FROM %s WHERE id = ANY ($1)', p.part)
                USING ids;
            GET DIAGNOSTICS n = ROW_COUNT;
            jobs := jobs + n;
        END IF;

        IF jobs >= max THEN
            RETURN;
        END IF;
    END LOOP;

    IF jobs > 0 THEN
        RETURN;
    END IF;

    -- a partition of jobs was dropped, and some of what belonged to them is
    -- in the default partitions

    SELECT string_agg(format(' AND NOT EXISTS (SELECT FROM %s AS j WHERE '
                             'j.id = o.job)', o.part), '') INTO orphans
        FROM trifecta.partitions_of('job') AS o
        WHERE o.lo IS NULL OR o.lo < bound;

    FOR p IN SELECT o.* FROM
                 unnest(ARRAY['job_result', 'job_step']) AS t(tab),
                 LATERAL trifecta.partitions_of(t.tab) AS o
             WHERE o.lo IS NULL
    LOOP
        EXECUTE format('DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT ctid '
                       'FROM %s AS o WHERE job < $1 %s LIMIT $2))',
                       p.part, p.part, coalesce(orphans, ''))
            USING bound, max - rest;
        GET DIAGNOSTICS n = ROW_COUNT;
        rest := rest + n;

        EXIT WHEN rest >= max;
    END LOOP;
END
$$;


-- The lowest id of an ended job that is kept: whoever caches results may
-- forget those below it.

CREATE FUNCTION trifecta.kept_from(before timestamptz) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    bound  uuid := trifecta.prune_bound(before);
    p      record;
    id     uuid;
BEGIN
    FOR p IN SELECT * FROM trifecta.partitions_of('job') AS o
             WHERE o.lo IS NULL OR o.lo < bound
    LOOP
        EXECUTE format('SELECT id FROM %s WHERE id < $1 AND state NOT IN '
                       '(''queued'', ''running'') ORDER BY id LIMIT 1', p.part)
            INTO id USING bound;
        bound := coalesce(id, bound);
    END LOOP;

    RETURN bound;
END
$$;


-- What would go, for a look before: partitions that would be dropped, with
-- the number of rows that the statistics know, and those of which ended rows
-- would be deleted, counted.

CREATE FUNCTION trifecta.prunable(before timestamptz)
    RETURNS TABLE (part text, dropped boolean, n bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    bound  uuid := trifecta.prune_bound(before);
    p      record;
BEGIN
    FOR p IN SELECT t.tab, o.*, c.reltuples FROM
                 unnest(ARRAY['job', 'job_result', 'job_step']) AS t(tab),
                 LATERAL trifecta.partitions_of(t.tab) AS o
             JOIN pg_class AS c ON c.oid = o.part
             WHERE o.lo IS NULL OR o.hi <= bound ORDER BY o.hi, o.lo, t.tab
    LOOP
        part := p.part::text;
        dropped := p.lo IS NOT NULL AND NOT EXISTS (
            SELECT FROM trifecta.partitions_of('job') AS j
            WHERE j.lo < p.hi AND j.hi > p.lo AND trifecta.has_open(j.part));
        n := greatest(p.reltuples, 0);

        IF dropped THEN
            RETURN NEXT;

        ELSIF p.tab = 'job' THEN
            EXECUTE format('SELECT count(*) FROM %s WHERE id < $1 AND state '
                           'NOT IN (''queued'', ''running'')', p.part)
                INTO n USING bound;

            IF n > 0 THEN
                RETURN NEXT;
            END IF;
        END IF;
    END LOOP;
END
$$;


REVOKE ALL ON FUNCTION trifecta.first_id(timestamptz),
    trifecta.partitions_of(text), trifecta.has_open(regclass),
    trifecta.has_jobs(uuid, uuid), trifecta.prune_bound(timestamptz),
    trifecta.drop_partition(timestamptz), trifecta.prune_parts(uuid[]),
    trifecta.prune(timestamptz, integer), trifecta.kept_from(timestamptz),
    trifecta.prunable(timestamptz) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION trifecta.drop_partition(timestamptz),
    trifecta.prune(timestamptz, integer), trifecta.kept_from(timestamptz),
    trifecta.prunable(timestamptz) TO trifecta_queue;

-- The days that are there already get their steps; a busy server gets them
-- from the next sidecar that looks.

DO $$
BEGIN
    PERFORM trifecta.make_partitions(7);
EXCEPTION WHEN lock_not_available THEN
    NULL;
END
$$;
