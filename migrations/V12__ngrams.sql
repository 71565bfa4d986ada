-- Hashed character n-grams of each chunk, which forgive typing errors.
--
-- They have a table of their own, three vectors a page and never moved out of
-- line, because all of a collection are read in one pass.  As in posting, the
-- number of the acl decides who sees a row before it is ranked, and rows go
-- with their chunks by name, in the statement that deletes these.

CREATE TABLE trifecta.chunk_ngrams (
    chunk       bigint  PRIMARY KEY,
    collection  integer NOT NULL,
    acl         integer NOT NULL,
    grams       halfvec(1024) NOT NULL
);

ALTER TABLE trifecta.chunk_ngrams ALTER COLUMN grams SET STORAGE PLAIN;

CREATE INDEX chunk_ngrams_collection ON trifecta.chunk_ngrams (collection);


-- How much a gram tells: a byte for each of 16384 groups of grams, made when
-- the collection had so many chunks.

CREATE TABLE trifecta.ngram_idf (
    collection  integer PRIMARY KEY REFERENCES trifecta.collection
                        ON DELETE CASCADE,
    chunks      bigint  NOT NULL,
    idf         bytea   NOT NULL CHECK (octet_length(idf) = 16384)
);


ALTER TABLE trifecta.chunk_ngrams ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.chunk_ngrams FORCE ROW LEVEL SECURITY;
ALTER TABLE trifecta.ngram_idf ENABLE ROW LEVEL SECURITY;
ALTER TABLE trifecta.ngram_idf FORCE ROW LEVEL SECURITY;

CREATE POLICY rag_see ON trifecta.chunk_ngrams FOR SELECT TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_acls())::integer[]));

CREATE POLICY rag_make ON trifecta.chunk_ngrams FOR INSERT TO trifecta_rag
    WITH CHECK (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

CREATE POLICY rag_drop ON trifecta.chunk_ngrams FOR DELETE TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));

CREATE POLICY rag_collection ON trifecta.ngram_idf TO trifecta_rag
    USING (collection = ANY ((SELECT trifecta.my_collections())::integer[]));

GRANT SELECT, INSERT, DELETE ON trifecta.chunk_ngrams TO trifecta_rag;
GRANT SELECT, INSERT, UPDATE ON trifecta.ngram_idf TO trifecta_rag;
