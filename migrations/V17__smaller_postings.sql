-- A posting is the row of which there are most: a hundred a chunk.  How often
-- a term is in a chunk and how many it has need no more than two bytes each,
-- and then a row takes eight bytes less.  (What counts more than 32767 terms
-- counts as that many.)

ALTER TABLE trifecta.posting
    ALTER COLUMN tf TYPE smallint USING least(tf, 32767),
    ALTER COLUMN len TYPE smallint USING least(len, 32767);

CREATE OR REPLACE FUNCTION trifecta.chunk_numbers(ids bigint[])
    RETURNS TABLE (chunk bigint, acl integer, len integer, document uuid,
                   terms bigint[], tfs integer[])
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT c.id, c.acl, c.len, c.document, p.terms, p.tfs
        FROM trifecta.chunk AS c, LATERAL (
            SELECT coalesce(array_agg(p.term), '{}'),
                   coalesce(array_agg(p.tf::integer), '{}')
            FROM unnest(c.terms) AS t(id)
            JOIN trifecta.posting AS p ON p.term = t.id AND p.chunk = c.id
        ) AS p(terms, tfs)
        WHERE c.id = ANY (ids)
    $$;
