-- nginx compares the installation of PostgreSQL with that of Redis: a file
-- that was copied from another system may name one store of each.

GRANT SELECT ON trifecta.install TO trifecta_edge;
