-- Jobs, their results and steps.
--
-- Runs as trifecta_owner, which owns the schema; the roles trifecta_queue,
-- trifecta_rag and trifecta_edge exist before ("trifecta migrate" makes them
-- or prints how).  Who may do what:
--   trifecta_queue  every job of every tenant (its batches span tenants),
--                   nothing on documents
--   trifecta_rag    documents under row-level security (V2); on job only
--                   INSERT for the tenant and owner of its transaction
--   trifecta_edge   SELECT on job and job_result of the tenant and owner of
--                   its transaction
-- The settings trifecta.tenant, trifecta.owner and trifecta.groups (a JSON
-- array) are local to a transaction; outside of one they are NULL or '',
-- which no row has.

CREATE FUNCTION trifecta.me_tenant() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT current_setting('trifecta.tenant', true) $$;

CREATE FUNCTION trifecta.me_owner() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT current_setting('trifecta.owner', true) $$;


-- Which shard of the queue started which epoch; a job's (epoch, lease) says
-- which claim of it was the last.

CREATE TABLE trifecta.epoch (
    shard    integer     NOT NULL,
    epoch    bigint      NOT NULL,
    created  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, epoch)
);


-- id is a UUIDv7: ordered by time, so partitions are ranges of it.

CREATE TABLE trifecta.job (
    id           uuid        PRIMARY KEY,
    tenant       text        NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 64),
    owner        text        NOT NULL CHECK (octet_length(owner) BETWEEN 1 AND 255),
    groups       jsonb       NOT NULL DEFAULT '[]',
    scopes       jsonb       NOT NULL DEFAULT '[]',
    kind         text        NOT NULL,
    model        text        NOT NULL DEFAULT '',
    prio         smallint    NOT NULL,
    state        text        NOT NULL CHECK (state IN ('queued', 'running',
                             'succeeded', 'failed', 'cancelled', 'dead')),
    epoch        bigint      NOT NULL DEFAULT 0,
    lease        bigint      NOT NULL DEFAULT 0,
    attempt      integer     NOT NULL DEFAULT 0,
    worker       text,
    request      jsonb,
    request_id   text,
    fingerprint  text,
    idem_key     text,
    error        jsonb,
    usage        jsonb,
    accepted     timestamptz NOT NULL,
    run_at       timestamptz,
    started      timestamptz,
    finished     timestamptz,
    deadline     timestamptz NOT NULL
) PARTITION BY RANGE (id);

CREATE TABLE trifecta.job_default PARTITION OF trifecta.job DEFAULT;

CREATE INDEX job_open ON trifecta.job (accepted)
    WHERE state IN ('queued', 'running');


-- deltas: the end offset in body of each piece that was streamed, so that a
-- replay can cut the same events again.

CREATE TABLE trifecta.job_result (
    job        uuid    PRIMARY KEY,
    tenant     text    NOT NULL,
    owner      text    NOT NULL,
    attempt    integer NOT NULL,
    body       text    NOT NULL,
    citations  jsonb   NOT NULL DEFAULT '[]',
    deltas     integer[]
) PARTITION BY RANGE (job);

CREATE TABLE trifecta.job_result_default
    PARTITION OF trifecta.job_result DEFAULT;


-- What a job did that must not be done twice.

CREATE TABLE trifecta.job_step (
    job      uuid        NOT NULL,
    step     text        NOT NULL,
    tenant   text        NOT NULL,
    owner    text        NOT NULL,
    output   jsonb,
    created  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, step)
);


-- Makes the partitions of the next days, one a day, named by their day, and
-- says how many.  A day for which rows are in the default partition already
-- stays there.

CREATE FUNCTION trifecta.make_partitions(days integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    day   date;
    lo    uuid;
    hi    uuid;
    made  integer := 0;
    tab   text;
    name  text;
BEGIN
    IF days < 1 OR days > 31 THEN
        RAISE EXCEPTION 'days must be between 1 and 31';
    END IF;

    PERFORM pg_advisory_xact_lock(hashtext('trifecta.make_partitions'));

    FOR i IN 0 .. days - 1 LOOP
        day := (now() AT TIME ZONE 'UTC')::date + i;
        lo := lpad(to_hex(extract(epoch FROM day)::bigint * 1000), 12, '0')
              || repeat('0', 20);
        hi := lpad(to_hex(extract(epoch FROM day + 1)::bigint * 1000), 12, '0')
              || repeat('0', 20);

        FOREACH tab IN ARRAY ARRAY['job', 'job_result'] LOOP
            name := tab || '_' || to_char(day, 'YYYYMMDD');

            IF to_regclass('trifecta.' || name) IS NOT NULL THEN
                CONTINUE;
            END IF;

            BEGIN
                EXECUTE format('CREATE TABLE trifecta.%I PARTITION OF '
                               'trifecta.%I FOR VALUES FROM (%L) TO (%L)',
                               name, tab, lo, hi);
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                NULL;
            END;
        END LOOP;
    END LOOP;

    RETURN made;
END
$$;

SELECT trifecta.make_partitions(7);

REVOKE ALL ON FUNCTION trifecta.make_partitions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trifecta.make_partitions(integer) TO trifecta_queue;


-- Row-level security.  The default for everybody else is no row at all, the
-- tables' owner included.

ALTER TABLE trifecta.job ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.job FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.job_result ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.job_result FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.job_step ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.job_step FORCE ROW LEVEL SECURITY;

CREATE POLICY queue_all ON trifecta.job TO trifecta_queue USING (true);
CREATE POLICY queue_all ON trifecta.job_result TO trifecta_queue USING (true);
CREATE POLICY queue_all ON trifecta.job_step TO trifecta_queue USING (true);

CREATE POLICY edge_own ON trifecta.job FOR SELECT TO trifecta_edge
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());
CREATE POLICY edge_own ON trifecta.job_result FOR SELECT TO trifecta_edge
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());

CREATE POLICY rag_own ON trifecta.job FOR INSERT TO trifecta_rag
    WITH CHECK (tenant = trifecta.me_tenant()
                AND owner = trifecta.me_owner());

GRANT SELECT, INSERT, UPDATE ON trifecta.job TO trifecta_queue;
GRANT SELECT, INSERT ON trifecta.job_result, trifecta.job_step
    TO trifecta_queue;
GRANT SELECT ON trifecta.epoch TO trifecta_queue;
GRANT INSERT ON trifecta.job TO trifecta_rag;
GRANT SELECT ON trifecta.job, trifecta.job_result TO trifecta_edge;
