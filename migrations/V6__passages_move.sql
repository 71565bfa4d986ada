-- A document that changed keeps the chunks that are still in it, word for
-- word: only where they stand is written anew.

GRANT UPDATE (seq, start_byte, end_byte) ON trifecta.chunk TO trifecta_rag;

CREATE POLICY rag_move ON trifecta.chunk FOR UPDATE TO trifecta_rag
    USING (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]))
    WITH CHECK (acl = ANY ((SELECT trifecta.my_own_acls())::integer[]));
