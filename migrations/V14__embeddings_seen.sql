-- How many vectors somebody may see decides whether they are compared one by
-- one; counting them should not read them.

CREATE INDEX embedding_seen ON trifecta.embedding (acl, collection);
