-- Files of the OpenAI face, and batches of requests that are read from them.
--
-- Everything here is somebody's: tenant and owner stand in each row, and
-- nginx (trifecta_edge) sees and writes the rows of the asker only, by the
-- settings of its transaction.  Its connections are read-only by default: a
-- transaction that writes says so (BEGIN READ WRITE).
--
-- A batch goes this way:
--
--   validating   nginx has made the row, reads the file and writes the lines
--   in_progress  every line is there (total, begun): a sidecar makes a job of
--                each, a window of them at a time, and notes what ended
--   finalizing   every line has ended (done + failed = total)
--   completed    the files are there
--   failed       nginx found the file wrong (errors), nothing was run
--   cancelling   its owner wants no more: what has not begun ends at once
--   cancelled    every line has ended
--   expired      the same, because its time was over
--
-- nginx moves it to "validating", "in_progress", "failed" and "cancelling";
-- the sidecars do the rest.


-- A file.  What was uploaded has parts; "output" and "error" are the two
-- sides of a batch that has ended: they have no parts and are drawn from its
-- lines and their jobs whenever they are read.
--
--   purpose  "batch", or "batch_output"
--   bytes    of the content; of output and error that of the stored answers
--   expires  when it goes by itself; NULL: never
--   whole    false until the last part is there: nobody is shown such a file,
--            and it goes after an hour
--   batch    whose output or errors it is

CREATE TABLE trifecta.file (
    id       uuid        PRIMARY KEY,
    tenant   text        NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 64),
    owner    text        NOT NULL CHECK (octet_length(owner) BETWEEN 1 AND 255),
    name     text        NOT NULL CHECK (octet_length(name) <= 1024),
    purpose  text        NOT NULL,
    bytes    bigint      NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    created  timestamptz NOT NULL DEFAULT now(),
    expires  timestamptz,
    whole    boolean     NOT NULL DEFAULT false,
    batch    uuid,
    kind     text        NOT NULL DEFAULT 'upload'
                         CHECK (kind IN ('upload', 'output', 'error')),
    CHECK ((kind = 'upload') = (batch IS NULL))
);

CREATE INDEX file_of_owner ON trifecta.file (tenant, owner, created DESC, id);
CREATE INDEX file_expires ON trifecta.file (expires) WHERE expires IS NOT NULL;
CREATE INDEX file_unfinished ON trifecta.file (created) WHERE NOT whole;
CREATE INDEX file_of_batch ON trifecta.file (batch) WHERE batch IS NOT NULL;

-- part: from 0; each but the last is as long as the first.

CREATE TABLE trifecta.file_part (
    file    uuid    NOT NULL,
    part    integer NOT NULL CHECK (part >= 0),
    tenant  text    NOT NULL,
    owner   text    NOT NULL,
    body    bytea   NOT NULL CHECK (octet_length(body) <= 1048576),
    PRIMARY KEY (file, part)
);

ALTER TABLE trifecta.file_part ALTER COLUMN body SET STORAGE EXTERNAL;

-- Files that are no more, whose parts, or whose jobs' answers, still have to
-- go: a sidecar removes them in small steps.  after: the last line of the
-- batch that was looked at.

CREATE TABLE trifecta.file_gone (
    file    uuid        PRIMARY KEY,
    tenant  text        NOT NULL,
    owner   text        NOT NULL,
    batch   uuid,
    kind    text        NOT NULL,
    gone    timestamptz NOT NULL DEFAULT now(),
    after   integer     NOT NULL DEFAULT 0
);


-- A batch.
--
--   groups, scopes  of its owner when it was made: each of its jobs has them
--   endpoint      "/v1/responses", "/v1/chat/completions", "/v1/embeddings"
--   input         the file that it was read from, which may be gone since
--   output, errors_file   once there is such a line, and the batch has ended
--   output_expires_after  seconds from their making; NULL: never
--   errors        {"object": "list", "data": [{"code", "message", "param",
--                 "line"}]}: why the file is no batch
--   total         lines, from in_progress on
--   done, failed  of them ended, for output and for errors_file
--   usage         sums of the numbers in its jobs' usage
--   output_bytes, error_bytes   of the answers stored so far
--   created, begun (in_progress), finalizing, ended (completed, failed,
--   expired, cancelled), cancelling   when it came to that
--   expires       when it must have ended
--   expiring      that time has come before it was through

CREATE TABLE trifecta.batch (
    id            uuid        PRIMARY KEY,
    tenant        text        NOT NULL
                              CHECK (octet_length(tenant) BETWEEN 1 AND 64),
    owner         text        NOT NULL
                              CHECK (octet_length(owner) BETWEEN 1 AND 255),
    groups        jsonb       NOT NULL DEFAULT '[]',
    scopes        jsonb       NOT NULL DEFAULT '[]',
    endpoint      text        NOT NULL,
    input         uuid        NOT NULL,
    output        uuid,
    errors_file   uuid,
    output_expires_after  integer  CHECK (output_expires_after > 0),
    metadata      jsonb,
    state         text        NOT NULL DEFAULT 'validating'
                              CHECK (state IN ('validating', 'in_progress',
                              'finalizing', 'completed', 'failed', 'expired',
                              'cancelling', 'cancelled')),
    errors        jsonb,
    total         integer     NOT NULL DEFAULT 0,
    done          integer     NOT NULL DEFAULT 0,
    failed        integer     NOT NULL DEFAULT 0,
    usage         jsonb,
    model         text,
    output_bytes  bigint      NOT NULL DEFAULT 0,
    error_bytes   bigint      NOT NULL DEFAULT 0,
    created       timestamptz NOT NULL DEFAULT now(),
    begun         timestamptz,
    expires       timestamptz NOT NULL,
    expiring      boolean     NOT NULL DEFAULT false,
    finalizing    timestamptz,
    ended         timestamptz,
    cancelling    timestamptz,
    request_id    text,
    trace         text,
    CHECK (state <> 'in_progress' OR begun IS NOT NULL),
    CHECK (state <> 'cancelling' OR cancelling IS NOT NULL)
);

CREATE INDEX batch_of_owner ON trifecta.batch (tenant, owner, created DESC, id);
CREATE INDEX batch_open ON trifecta.batch (created) WHERE state IN
    ('validating', 'in_progress', 'finalizing', 'cancelling');
CREATE INDEX batch_input ON trifecta.batch (input) WHERE state IN
    ('validating', 'in_progress', 'finalizing', 'cancelling');
CREATE INDEX batch_created ON trifecta.batch (created);


-- A line of a batch's file.  nginx writes the first nine columns; a line that
-- it refuses has an error and a status instead of a request.
--
--   n        the line, from 1
--   request  what its job is to do; NULL once the job has it
--   error    {"code", "message", "param"}: why it has no answer, when that is
--            not what became of its job: refused, or the batch was cancelled
--            or over before it was through.  It counts before the job
--   status   the HTTP status of error
--   job      the job that it became, from then on
--   ended    it has: seq and ok are set
--   seq      its place among those of the batch that have ended, from 1
--   ok       true: a line of the output; false: of the errors

CREATE TABLE trifecta.batch_line (
    batch      uuid    NOT NULL,
    n          integer NOT NULL CHECK (n >= 1),
    tenant     text    NOT NULL,
    owner      text    NOT NULL,
    custom_id  text    NOT NULL CHECK (octet_length(custom_id) <= 512),
    request    jsonb,
    model      text    NOT NULL DEFAULT '',
    error      jsonb,
    status     integer,
    job        uuid,
    ended      boolean NOT NULL DEFAULT false,
    seq        bigint,
    ok         boolean,
    PRIMARY KEY (batch, n),
    CHECK (ended = (seq IS NOT NULL) AND ended = (ok IS NOT NULL)),
    CHECK (request IS NOT NULL OR error IS NOT NULL OR job IS NOT NULL)
);

-- not ended: to become jobs, refused, jobs

CREATE INDEX batch_line_waits ON trifecta.batch_line (batch, n)
    WHERE NOT ended AND job IS NULL;
CREATE INDEX batch_line_runs ON trifecta.batch_line (batch, n)
    WHERE NOT ended AND job IS NOT NULL;

-- the lines of a drawn file, in its order

CREATE INDEX batch_line_drawn ON trifecta.batch_line (batch, ok, seq)
    WHERE ended;


ALTER TABLE trifecta.file ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.file FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.file_part ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.file_part FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.file_gone ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.file_gone FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.batch ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.batch FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.batch_line ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.batch_line FORCE ROW LEVEL SECURITY;

CREATE POLICY queue_all ON trifecta.file TO trifecta_queue USING (true);
CREATE POLICY queue_all ON trifecta.file_part TO trifecta_queue USING (true);
CREATE POLICY queue_all ON trifecta.file_gone TO trifecta_queue USING (true);
CREATE POLICY queue_all ON trifecta.batch TO trifecta_queue USING (true);
CREATE POLICY queue_all ON trifecta.batch_line TO trifecta_queue
    USING (true);

CREATE POLICY edge_own ON trifecta.file TO trifecta_edge
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());
CREATE POLICY edge_own ON trifecta.file_part TO trifecta_edge
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());
CREATE POLICY edge_own ON trifecta.batch TO trifecta_edge
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());
CREATE POLICY edge_own ON trifecta.batch_line TO trifecta_edge
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());

-- Lines come while their batch is validated, and never later: a piece that is
-- late, because its batch was cancelled or given up meanwhile, is refused.

CREATE POLICY edge_in_time ON trifecta.batch_line AS RESTRICTIVE
    FOR INSERT TO trifecta_edge
    WITH CHECK (EXISTS (SELECT FROM trifecta.batch AS b
                        WHERE b.id = batch AND b.state = 'validating'));

GRANT SELECT, DELETE,
      INSERT (id, tenant, owner, name, purpose, bytes, created, expires,
              whole),
      UPDATE (bytes, whole, expires)
    ON trifecta.file TO trifecta_edge;
GRANT SELECT, INSERT, DELETE ON trifecta.file_part TO trifecta_edge;
GRANT SELECT,
      INSERT (id, tenant, owner, groups, scopes, endpoint, input,
              output_expires_after, metadata, state, errors, total, model,
              created, begun, expires, ended, request_id, trace),
      UPDATE (state, errors, total, model, begun, cancelling, ended)
    ON trifecta.batch TO trifecta_edge;
GRANT SELECT,
      INSERT (batch, n, tenant, owner, custom_id, request, model, error,
              status)
    ON trifecta.batch_line TO trifecta_edge;

GRANT SELECT, INSERT, UPDATE, DELETE ON trifecta.file, trifecta.batch,
    trifecta.batch_line, trifecta.file_gone TO trifecta_queue;
GRANT SELECT, DELETE ON trifecta.file_part TO trifecta_queue;


-- Whoever deletes a file, what belongs to it is noted.

CREATE POLICY gone_note ON trifecta.file_gone FOR INSERT TO trifecta_owner
    WITH CHECK (true);

CREATE FUNCTION trifecta.file_went() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO trifecta.file_gone (file, tenant, owner, batch, kind)
    VALUES (OLD.id, OLD.tenant, OLD.owner, OLD.batch, OLD.kind);

    RETURN NULL;
END
$$;

CREATE TRIGGER file_went AFTER DELETE ON trifecta.file
    FOR EACH ROW EXECUTE FUNCTION trifecta.file_went();
