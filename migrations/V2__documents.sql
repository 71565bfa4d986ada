-- Documents and the index that finds their passages.
--
-- Who may see a document is said by its acl row; few documents have one of
-- their own, most share one ("everybody of tenant T").  chunk and posting
-- carry the acl's number too, so that a search filters by comparing one
-- integer, before it ranks: under row-level security an index serves
-- equality of integers, not operators on arrays or JSON.

CREATE TABLE trifecta.acl (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text    NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 64),
    owner       text    NOT NULL CHECK (octet_length(owner) BETWEEN 1 AND 255),
    visibility  text    NOT NULL CHECK (visibility IN ('private', 'groups',
                        'tenant')),
    groups      text[]  NOT NULL DEFAULT '{}',
    UNIQUE (tenant, owner, visibility, groups)
);


-- Statistics of a collection are those that BM25 needs: the number of its
-- chunks and the sum of their lengths in terms.

CREATE TABLE trifecta.collection (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     text    NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 64),
    name       text    NOT NULL,
    language   text    NOT NULL DEFAULT 'english',
    chunks     bigint  NOT NULL DEFAULT 0,
    total_len  bigint  NOT NULL DEFAULT 0,
    UNIQUE (tenant, name)
);


-- source: the path relative to the ingested folder.  hash: SHA-256 of the
-- original; an ingest of the same bytes changes nothing.

CREATE TABLE trifecta.document (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant      text        NOT NULL,
    owner       text        NOT NULL,
    acl         integer     NOT NULL REFERENCES trifecta.acl,
    collection  integer     NOT NULL REFERENCES trifecta.collection,
    source      text        NOT NULL,
    title       text        NOT NULL,
    format      text        NOT NULL,
    hash        bytea       NOT NULL,
    bytes       bigint      NOT NULL,
    ingested    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection, owner, source)
);


-- body is verbatim: the bytes start_byte .. end_byte of the text.  heading is
-- the path of headings above it.  len is its number of terms, terms which
-- ones they are: so its postings are found by their primary key when it goes,
-- and posting needs no second index.

CREATE TABLE trifecta.chunk (
    id          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document    uuid    NOT NULL REFERENCES trifecta.document
                        ON DELETE CASCADE,
    collection  integer NOT NULL,
    acl         integer NOT NULL,
    seq         integer NOT NULL,
    heading     text    NOT NULL,
    body        text    NOT NULL,
    start_byte  integer NOT NULL,
    end_byte    integer NOT NULL,
    len         integer NOT NULL,
    terms       bigint[] NOT NULL,
    hash        bytea   NOT NULL
);

CREATE INDEX chunk_document ON trifecta.chunk (document, seq);


-- df: in how many chunks of the collection the term occurs.  It changes with
-- every document; room in the pages keeps that from touching the indexes.

CREATE TABLE trifecta.term (
    id          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection  integer NOT NULL,
    term        text    NOT NULL,
    df          integer NOT NULL,
    UNIQUE (collection, term)
) WITH (fillfactor = 60);

CREATE TABLE trifecta.posting (
    term   bigint  NOT NULL,
    chunk  bigint  NOT NULL,
    acl    integer NOT NULL,
    tf     integer NOT NULL,
    len    integer NOT NULL,
    PRIMARY KEY (term, chunk)
);


-- The numbers that a transaction may see, as arrays: a policy that compares
-- with (SELECT f()) evaluates them once a query.  They run as the caller,
-- so the policies of acl and collection decide.

CREATE FUNCTION trifecta.my_groups() RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT coalesce(array_agg(g), '{}')
        FROM jsonb_array_elements_text(
            coalesce(nullif(current_setting('trifecta.groups', true), ''),
                     '[]')::jsonb) AS g
    $$;

CREATE FUNCTION trifecta.my_acls() RETURNS integer[]
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT coalesce(array_agg(id), '{}') FROM trifecta.acl $$;

CREATE FUNCTION trifecta.my_own_acls() RETURNS integer[]
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT coalesce(array_agg(id), '{}') FROM trifecta.acl
        WHERE owner = trifecta.me_owner()
    $$;

CREATE FUNCTION trifecta.my_collections() RETURNS integer[]
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT coalesce(array_agg(id), '{}') FROM trifecta.collection $$;


ALTER TABLE trifecta.acl ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.acl FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.collection ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.collection FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.document ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.document FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.chunk ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.chunk FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.term ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.term FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.posting ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.posting FORCE ROW LEVEL SECURITY;

CREATE POLICY rag_see ON trifecta.acl FOR SELECT TO trifecta_rag
    USING (tenant = trifecta.me_tenant()
           AND (visibility = 'tenant'
                OR owner = trifecta.me_owner()
                OR (visibility = 'groups'
                    AND groups && (SELECT trifecta.my_groups()))));

CREATE POLICY rag_make ON trifecta.acl FOR INSERT TO trifecta_rag
    WITH CHECK (tenant = trifecta.me_tenant()
                AND owner = trifecta.me_owner());

CREATE POLICY rag_tenant ON trifecta.collection TO trifecta_rag
    USING (tenant = trifecta.me_tenant());

-- A document is changed by its owner only; its chunks and postings follow it.

CREATE POLICY rag_see ON trifecta.document FOR SELECT TO trifecta_rag
    USING (tenant = trifecta.me_tenant()
           AND acl = ANY ((SELECT trifecta.my_acls())::integer[]));

CREATE POLICY rag_make ON trifecta.document FOR INSERT TO trifecta_rag
    WITH CHECK (tenant = trifecta.me_tenant()
                AND owner = trifecta.me_owner());

CREATE POLICY rag_change ON trifecta.document FOR UPDATE TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());

CREATE POLICY rag_drop ON trifecta.document FOR DELETE TO trifecta_rag
    USING (tenant = trifecta.me_tenant() AND owner = trifecta.me_owner());

CREATE POLICY rag_see ON trifecta.chunk FOR SELECT TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_acls())::integer[]));

CREATE POLICY rag_make ON trifecta.chunk FOR INSERT TO trifecta_rag
    WITH CHECK (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

CREATE POLICY rag_drop ON trifecta.chunk FOR DELETE TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

CREATE POLICY rag_collection ON trifecta.term TO trifecta_rag
    USING (collection = ANY ((SELECT trifecta.my_collections())::integer[]));

CREATE POLICY rag_see ON trifecta.posting FOR SELECT TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_acls())::integer[]));

CREATE POLICY rag_make ON trifecta.posting FOR INSERT TO trifecta_rag
    WITH CHECK (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

CREATE POLICY rag_drop ON trifecta.posting FOR DELETE TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

GRANT SELECT, INSERT ON trifecta.acl TO trifecta_rag;
GRANT SELECT, INSERT, UPDATE ON trifecta.collection, trifecta.term
    TO trifecta_rag;
GRANT SELECT, INSERT, UPDATE, DELETE ON trifecta.document TO trifecta_rag;
GRANT SELECT, INSERT, DELETE ON trifecta.chunk, trifecta.posting
    TO trifecta_rag;
