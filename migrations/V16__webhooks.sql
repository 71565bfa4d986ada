-- A job whose request names a URL tells its end there: the delivery is a job of
-- its own, of kind "webhook", whose row is made in the transaction that ends
-- the first one, whoever ends it.  What is delivered is read when it is sent,
-- so that nothing of a job that was deleted is left here.


-- The id of the delivery: time, shard and four random bits of the job's, then
-- 60 bits of a digest.  The sidecar does the same (queue/born.c).

CREATE FUNCTION trifecta.webhook_of(job uuid) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT (left(replace(job::text, '-', ''), 16) || '8'
                || left(encode(sha256(convert_to('webhook ' || job::text,
                                                 'UTF8')), 'hex'), 15))::uuid
    $$;


-- It runs with the rights of whoever ends the job: trifecta_queue.  The limit
-- of the kind is that of TF_JOB_KINDS.

CREATE FUNCTION trifecta.webhook_born() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO trifecta.job (id, tenant, owner, kind, prio, state, request,
                              request_id, trace, accepted, deadline)
    VALUES (trifecta.webhook_of(NEW.id), NEW.tenant, NEW.owner, 'webhook', 1,
            'queued', jsonb_build_object('job', NEW.id), NEW.request_id,
            NEW.trace, clock_timestamp(),
            clock_timestamp() + interval '72 hours')
    ON CONFLICT (id) DO NOTHING;

    RETURN NULL;
END
$$;

CREATE TRIGGER webhook_born AFTER INSERT OR UPDATE OF state ON trifecta.job
    FOR EACH ROW
    WHEN (NEW.state IN ('succeeded', 'failed', 'cancelled', 'dead')
          AND NEW.kind <> 'webhook' AND NEW.deleted IS NULL
          AND NEW.request ->> 'webhook_url' IS NOT NULL)
    EXECUTE FUNCTION trifecta.webhook_born();


-- How many of a tenant wait.

CREATE INDEX job_webhooks ON trifecta.job (tenant)
    WHERE kind = 'webhook' AND state IN ('queued', 'running');
