-- Collections say when they changed, and what came and went, so that a
-- sidecar can keep an index of them in its memory.
--
-- Whoever changes a collection's passages holds its row at the end of the
-- transaction (it writes the counts), so versions are in the order of
-- commits and without gaps: who sees a version sees every change up to it.
-- stamp is another one for every version: after a restore the same number
-- may come again with other passages, the same stamp does not.

ALTER TABLE trifecta.collection
    ADD COLUMN version bigint NOT NULL DEFAULT 0,
    ADD COLUMN stamp   uuid   NOT NULL DEFAULT gen_random_uuid();

CREATE TABLE trifecta.collection_change (
    collection  integer  NOT NULL,
    version     bigint   NOT NULL,
    stamp       uuid     NOT NULL,
    came        bigint[] NOT NULL,
    gone        bigint[] NOT NULL,
    PRIMARY KEY (collection, version)
);

ALTER TABLE trifecta.collection_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.collection_change FORCE ROW LEVEL SECURITY;

CREATE POLICY rag_collection ON trifecta.collection_change TO trifecta_rag
    USING (collection = ANY ((SELECT trifecta.my_collections())::integer[]));

GRANT SELECT, INSERT, DELETE ON trifecta.collection_change TO trifecta_rag;


-- An index in memory holds the passages of all owners; each search filters
-- them by the acls that its asker sees.  So two functions look past the
-- owner, for numbers only: which passages a collection has, and which terms
-- each has how often.  They see the tenant of their transaction and no
-- other, and no heading, body or name of anything.

CREATE POLICY numbers ON trifecta.collection FOR SELECT TO trifecta_owner
    USING (tenant = trifecta.me_tenant());

CREATE POLICY numbers ON trifecta.document FOR SELECT TO trifecta_owner
    USING (tenant = trifecta.me_tenant());

CREATE POLICY numbers ON trifecta.chunk FOR SELECT TO trifecta_owner
    USING (collection = ANY ((SELECT trifecta.my_collections())::integer[]));

CREATE POLICY numbers ON trifecta.posting FOR SELECT TO trifecta_owner
    USING (trifecta.me_tenant() <> '');

CREATE FUNCTION trifecta.collection_chunks(collection_id integer)
    RETURNS TABLE (chunk bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT c.id FROM trifecta.document AS d
        JOIN trifecta.chunk AS c ON c.document = d.id
        WHERE d.collection = collection_id ORDER BY c.id
    $$;

CREATE FUNCTION trifecta.chunk_numbers(ids bigint[])
    RETURNS TABLE (chunk bigint, acl integer, len integer, document uuid,
                   terms bigint[], tfs integer[])
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT c.id, c.acl, c.len, c.document, p.terms, p.tfs
        FROM trifecta.chunk AS c, LATERAL (
            SELECT coalesce(array_agg(p.term), '{}'),
                   coalesce(array_agg(p.tf), '{}')
            FROM unnest(c.terms) AS t(id)
            JOIN trifecta.posting AS p ON p.term = t.id AND p.chunk = c.id
        ) AS p(terms, tfs)
        WHERE c.id = ANY (ids)
    $$;

REVOKE ALL ON FUNCTION trifecta.collection_chunks(integer),
    trifecta.chunk_numbers(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trifecta.collection_chunks(integer),
    trifecta.chunk_numbers(bigint[]) TO trifecta_rag;
