-- What is said about documents: author, date, whatever an ingest gives them.
--
-- A value has its text always, and its number or its moment when it is one:
-- plain columns, so that equality and ranges keep their indexes under
-- row-level security.  A document may have several values of one name; seq
-- tells them apart.  The acl is its document's, as in chunk.

CREATE TABLE trifecta.document_meta (
    document    uuid     NOT NULL REFERENCES trifecta.document
                         ON DELETE CASCADE,
    name        text     NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 64),
    seq         smallint NOT NULL,
    collection  integer  NOT NULL,
    acl         integer  NOT NULL,
    value       text     NOT NULL CHECK (octet_length(value)
                                         BETWEEN 1 AND 255),
    number      double precision,
    moment      timestamptz,
    PRIMARY KEY (document, name, seq)
);

CREATE INDEX document_meta_value ON trifecta.document_meta
    (name, value, acl);
CREATE INDEX document_meta_number ON trifecta.document_meta
    (name, number, acl) WHERE number IS NOT NULL;
CREATE INDEX document_meta_moment ON trifecta.document_meta
    (name, moment, acl) WHERE moment IS NOT NULL;


-- given: what the command said about the document, apart from what it says of
-- itself; another given is a reason to read the same bytes again.

ALTER TABLE trifecta.document ADD COLUMN given text NOT NULL DEFAULT '';

-- Whether a collection has anything that one may see.

CREATE INDEX document_seen ON trifecta.document (collection, acl);


ALTER TABLE trifecta.document_meta ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.document_meta FORCE ROW LEVEL SECURITY;

CREATE POLICY rag_see ON trifecta.document_meta FOR SELECT TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_acls())::integer[]));

CREATE POLICY rag_make ON trifecta.document_meta FOR INSERT TO trifecta_rag
    WITH CHECK (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

CREATE POLICY rag_drop ON trifecta.document_meta FOR DELETE TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

GRANT SELECT, INSERT, DELETE ON trifecta.document_meta TO trifecta_rag;
