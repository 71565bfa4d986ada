-- Conversations, and answers that may be given again.
--
-- A turn of a conversation is a job that succeeded: its question and its
-- answer stand nowhere else.  So a repeated or fenced attempt cannot make a
-- second turn, a turn goes when its job is deleted or pruned, and whoever may
-- not read the job cannot read the turn.  What a conversation has of its own
-- is what a model wrote about its oldest turns, the summary.
--
-- An id is unique for its owner only: the same id of somebody else is another
-- conversation.

ALTER TABLE trifecta.job ADD COLUMN conversation text;

CREATE INDEX job_of_conversation
    ON trifecta.job (tenant, owner, conversation, id)
    WHERE conversation IS NOT NULL;


-- upto: the newest job that the summary tells of; groups: those that the
-- owner had for any of these, so that nobody reads in a summary what came from
-- rights that were taken away since.  after: turns up to that job are
-- forgotten.  version: raised whenever a turn is taken back, so that a summary
-- that was being written meanwhile is not stored.

CREATE TABLE trifecta.conversation (
    tenant   text        NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 64),
    owner    text        NOT NULL CHECK (octet_length(owner) BETWEEN 1 AND 255),
    id       text        NOT NULL CHECK (octet_length(id) BETWEEN 1 AND 64),
    made     timestamptz NOT NULL DEFAULT now(),
    used     timestamptz NOT NULL DEFAULT now(),
    version  bigint      NOT NULL DEFAULT 0,
    after    uuid,
    summary  text        CHECK (octet_length(summary) <= 8192),
    upto     uuid,
    groups   jsonb       NOT NULL DEFAULT '[]',
    PRIMARY KEY (tenant, owner, id)
);

CREATE INDEX conversation_used ON trifecta.conversation (used);


-- What was asked for, as a digest, and the job whose answer it was: the answer
-- itself stays with that job.

CREATE TABLE trifecta.answer_cache (
    tenant   text        NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 64),
    owner    text        NOT NULL CHECK (octet_length(owner) BETWEEN 1 AND 255),
    key      bytea       NOT NULL CHECK (octet_length(key) = 32),
    job      uuid        NOT NULL,
    made     timestamptz NOT NULL DEFAULT now(),
    expires  timestamptz NOT NULL,
    PRIMARY KEY (tenant, owner, key)
);

CREATE INDEX answer_cache_made ON trifecta.answer_cache (tenant, owner, made);
CREATE INDEX answer_cache_expires ON trifecta.answer_cache (expires);


ALTER TABLE trifecta.conversation ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.conversation FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.answer_cache ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.answer_cache FORCE ROW LEVEL SECURITY;

CREATE POLICY rag_own ON trifecta.conversation TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());
CREATE POLICY rag_own ON trifecta.answer_cache TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());

CREATE POLICY rag_turns ON trifecta.job FOR SELECT TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());
CREATE POLICY rag_turns ON trifecta.job_result FOR SELECT TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());

-- The queue takes summaries back when a job is deleted, and removes what is
-- old; it never reads one.

CREATE POLICY queue_all ON trifecta.conversation TO trifecta_queue
    USING (true);
CREATE POLICY queue_all ON trifecta.answer_cache TO trifecta_queue
    USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE
    ON trifecta.conversation, trifecta.answer_cache TO trifecta_rag;
GRANT SELECT (id, tenant, owner, model, state, request, usage, groups,
              deleted, conversation) ON trifecta.job TO trifecta_rag;
GRANT SELECT (job, tenant, owner, body, citations) ON trifecta.job_result
    TO trifecta_rag;

GRANT SELECT (tenant, owner, id, used, version),
      UPDATE (version, summary, upto, groups), DELETE
    ON trifecta.conversation TO trifecta_queue;
GRANT SELECT (tenant, owner, key, expires), DELETE
    ON trifecta.answer_cache TO trifecta_queue;
