-- Documents that wait to be read by a job of kind "ingest".
--
-- Whoever submits stores the files and the job's row in one transaction, so
-- there is never a job without its files; a sidecar that finds the row and
-- nothing in Redis puts the job there.  A file is cut into parts of at most
-- 1 MiB.  Both tables belong to the owner of the job, and are empty but for
-- jobs that are open or ended a short while ago.

CREATE TABLE trifecta.document_file (
    job     uuid    NOT NULL,
    file    integer NOT NULL,
    tenant  text    NOT NULL,
    owner   text    NOT NULL,
    source  text    NOT NULL,
    bytes   bigint  NOT NULL,
    PRIMARY KEY (job, file)
);

CREATE TABLE trifecta.document_blob (
    job     uuid    NOT NULL,
    file    integer NOT NULL,
    part    integer NOT NULL,
    tenant  text    NOT NULL,
    owner   text    NOT NULL,
    body    bytea   NOT NULL CHECK (octet_length(body) <= 1048576),
    PRIMARY KEY (job, file, part)
);

-- Most of what comes is compressed already, and is read once.

ALTER TABLE trifecta.document_blob ALTER COLUMN body SET STORAGE EXTERNAL;


ALTER TABLE trifecta.document_file ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.document_file FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.document_blob ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.document_blob FORCE ROW LEVEL SECURITY;

CREATE POLICY rag_own ON trifecta.document_file TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());
CREATE POLICY rag_own ON trifecta.document_blob TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());

CREATE POLICY queue_all ON trifecta.document_file TO trifecta_queue
    USING (true);
CREATE POLICY queue_all ON trifecta.document_blob TO trifecta_queue
    USING (true);

-- What became of each file is a step of the job.

CREATE POLICY rag_see ON trifecta.job_step FOR SELECT TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());
CREATE POLICY rag_make ON trifecta.job_step FOR INSERT TO trifecta_rag
    WITH CHECK (tenant = trifecta.me_tenant()
                AND owner = trifecta.me_owner());

GRANT SELECT, INSERT ON trifecta.document_file, trifecta.document_blob
    TO trifecta_rag;
GRANT SELECT, DELETE ON trifecta.document_file, trifecta.document_blob
    TO trifecta_queue;
GRANT SELECT, INSERT ON trifecta.job_step TO trifecta_rag;


-- Removes the files of at most max jobs that need them no more, and says of
-- how many.  A job that failed may be repeated for a day, and its repetition
-- reads the same files.

CREATE FUNCTION trifecta.prune_files(max integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    ids  uuid[];
BEGIN
    SELECT array_agg(x.job) INTO ids FROM (
        SELECT f.job FROM trifecta.document_file AS f
        LEFT JOIN trifecta.job AS j ON j.id = f.job
        WHERE f.file = 0
          AND (j.id IS NULL OR j.state IN ('succeeded', 'cancelled')
               OR j.deleted IS NOT NULL
               OR (j.state IN ('failed', 'dead')
                   AND j.finished < now() - interval '1 day'))
          AND NOT EXISTS (
              SELECT FROM trifecta.job AS r
              WHERE r.state IN ('queued', 'running') AND r.kind = 'ingest'
                AND r.request ->> 'files' = f.job::text)
        LIMIT max) AS x;

    IF ids IS NULL THEN
        RETURN 0;
    END IF;

    DELETE FROM trifecta.document_blob WHERE job = ANY (ids);
    DELETE FROM trifecta.document_file WHERE job = ANY (ids);

    RETURN cardinality(ids);
END
$$;

REVOKE ALL ON FUNCTION trifecta.prune_files(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trifecta.prune_files(integer) TO trifecta_queue;
