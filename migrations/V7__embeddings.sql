-- Vectors of passages, in sets.
--
-- A set is what one model made of the passages of a tenant, or of one of its
-- collections.  It is built beside the one that questions use, and takes its
-- place in one statement:
--
--   building ──switch──> live ──another is switched to, or retire──> retired
--
-- A retired set can be switched to again until it is deleted.  At most one
-- set of a tenant, and one of each collection, is live.

CREATE TABLE trifecta.embedding_set (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text    NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 64),
    collection  integer REFERENCES trifecta.collection ON DELETE CASCADE,
    model       text    NOT NULL CHECK (octet_length(model) BETWEEN 1 AND 128),
    dimensions  integer NOT NULL CHECK (dimensions BETWEEN 1 AND 4000),
    status      text    NOT NULL DEFAULT 'building'
                        CHECK (status IN ('building', 'live', 'retired')),
    indexed     boolean NOT NULL DEFAULT false,
    tokens      bigint  NOT NULL DEFAULT 0,
    created     timestamptz NOT NULL DEFAULT now(),
    switched    timestamptz,

    -- looked at when a statement has ended, so that one may swap two
    CONSTRAINT embedding_set_live EXCLUDE USING btree
        (tenant WITH =, (coalesce(collection, 0)) WITH =)
        WHERE (status = 'live') DEFERRABLE INITIALLY IMMEDIATE
);


-- A partition is a set: the vectors of another model are never in the way,
-- and a set that is deleted is gone at once.  Vectors have length 1 (their
-- inner product is the cosine) and lie in the row, where a scan finds them.
-- acl and collection are those of the chunk, as in posting.

CREATE TABLE trifecta.embedding (
    set         integer NOT NULL,
    chunk       bigint  NOT NULL,
    acl         integer NOT NULL,
    collection  integer NOT NULL,
    vec         halfvec NOT NULL,
    PRIMARY KEY (chunk, set)
) PARTITION BY LIST (set);

ALTER TABLE trifecta.embedding ALTER COLUMN vec SET STORAGE PLAIN;


-- The partition of a set comes and goes with its row.

CREATE FUNCTION trifecta.embedding_part() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '500ms'
    AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        EXECUTE format('CREATE TABLE trifecta.embedding_%s (LIKE '
                       'trifecta.embedding INCLUDING STORAGE)', NEW.id);
        EXECUTE format('ALTER TABLE trifecta.embedding ATTACH PARTITION '
                       'trifecta.embedding_%s FOR VALUES IN (%s)', NEW.id,
                       NEW.id);
    ELSE
        EXECUTE format('DROP TABLE IF EXISTS trifecta.embedding_%s', OLD.id);
    END IF;

    RETURN NULL;
END
$$;

CREATE TRIGGER embedding_part AFTER INSERT OR DELETE
    ON trifecta.embedding_set
    FOR EACH ROW EXECUTE FUNCTION trifecta.embedding_part();


-- Vectors go with their chunks.  A plan that was made while a set was small
-- must not become a look at every vector.

CREATE FUNCTION trifecta.embedding_gone() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    AS $$
BEGIN
    DELETE FROM trifecta.embedding e USING gone g WHERE e.chunk = g.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER embedding_gone AFTER DELETE ON trifecta.chunk
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION trifecta.embedding_gone();


CREATE FUNCTION trifecta.my_sets() RETURNS integer[]
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT coalesce(array_agg(id), '{}') FROM trifecta.embedding_set
    $$;


ALTER TABLE trifecta.embedding_set ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.embedding_set FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.embedding ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.embedding FORCE ROW LEVEL SECURITY;

CREATE POLICY rag_tenant ON trifecta.embedding_set TO trifecta_rag
    USING (tenant = trifecta.me_tenant());

CREATE POLICY rag_see ON trifecta.embedding FOR SELECT TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_acls())::integer[]));

CREATE POLICY rag_make ON trifecta.embedding FOR INSERT TO trifecta_rag
    WITH CHECK (acl = ANY ((SELECT trifecta.my_own_acls())::integer[])
                AND set = ANY ((SELECT trifecta.my_sets())::integer[]));

CREATE POLICY rag_drop ON trifecta.embedding FOR DELETE TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

GRANT SELECT, INSERT, DELETE ON trifecta.embedding_set TO trifecta_rag;
GRANT UPDATE (status, indexed, tokens, switched) ON trifecta.embedding_set
    TO trifecta_rag;
GRANT SELECT, INSERT, DELETE ON trifecta.embedding TO trifecta_rag;


-- Documents are embedded as their owners, who see them anyway.  Which owners
-- of a tenant have something that a set lacks is a question about all of
-- them; these two functions answer it, and tell names and numbers only.  They
-- run as the owner of the tables, who sees rows of the tenant of the
-- transaction for that and of nobody else.

CREATE POLICY owner_tenant ON trifecta.acl FOR SELECT TO trifecta_owner
    USING (tenant = trifecta.me_tenant());
CREATE POLICY owner_tenant ON trifecta.embedding_set FOR SELECT
    TO trifecta_owner USING (tenant = trifecta.me_tenant());
CREATE POLICY owner_tenant ON trifecta.chunk FOR SELECT TO trifecta_owner
    USING (acl = ANY ((SELECT trifecta.my_acls())::integer[]));
CREATE POLICY owner_tenant ON trifecta.embedding FOR SELECT TO trifecta_owner
    USING (acl = ANY ((SELECT trifecta.my_acls())::integer[]));

CREATE FUNCTION trifecta.embedding_missing(of_set integer)
    RETURNS TABLE (owner text, n bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT a.owner, count(*)
        FROM trifecta.embedding_set s
        JOIN trifecta.chunk c
            ON s.collection IS NULL OR c.collection = s.collection
        JOIN trifecta.acl a ON a.id = c.acl
        WHERE s.id = of_set
          AND NOT EXISTS (SELECT FROM trifecta.embedding e
                          WHERE e.set = of_set AND e.chunk = c.id)
        GROUP BY a.owner
    $$;

CREATE FUNCTION trifecta.embedding_count(of_set integer) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT count(*) FROM trifecta.embedding e
        WHERE e.set = of_set
          AND EXISTS (SELECT FROM trifecta.embedding_set s
                      WHERE s.id = of_set)
    $$;


-- The index of a large set.  Before pgvector 0.8.2 a build by several
-- processes can write beyond its memory, so one does it there.

CREATE FUNCTION trifecta.embedding_index(of_set integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '10s'
    SET maintenance_work_mem = '256MB'
    AS $$
DECLARE
    dims  integer;
    ext   record;
BEGIN
    SELECT dimensions INTO dims FROM trifecta.embedding_set
        WHERE id = of_set AND NOT indexed;

    IF NOT FOUND THEN
        RETURN false;
    END IF;

    SELECT quote_ident(n.nspname) AS at,
           string_to_array(e.extversion, '.')::integer[] AS version INTO ext
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'vector';

    IF ext.version < '{0,8,2}' THEN
        PERFORM set_config('max_parallel_maintenance_workers', '0', true);
    END IF;

    EXECUTE format('CREATE INDEX IF NOT EXISTS embedding_%s_hnsw ON '
                   'trifecta.embedding_%s USING hnsw '
                   '((vec::%s.halfvec(%s)) %s.halfvec_ip_ops) '
                   'WITH (m = 16, ef_construction = 64)', of_set, of_set,
                   ext.at, dims, ext.at);
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION trifecta.embedding_part(), trifecta.embedding_gone(),
    trifecta.embedding_missing(integer), trifecta.embedding_count(integer),
    trifecta.embedding_index(integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION trifecta.embedding_missing(integer),
    trifecta.embedding_count(integer), trifecta.embedding_index(integer)
    TO trifecta_rag;
