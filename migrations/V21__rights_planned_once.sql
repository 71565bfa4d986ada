-- What somebody may see is asked by every statement of a search, for every
-- table that has its rows by acl or by collection.  The plan of a function in
-- SQL is made anew by each statement, that of one in PL/pgSQL once a session.
-- What they say is the same.

CREATE OR REPLACE FUNCTION trifecta.my_acls() RETURNS integer[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$ BEGIN
        RETURN (SELECT coalesce(array_agg(id), '{}') FROM trifecta.acl);
    END $$;

CREATE OR REPLACE FUNCTION trifecta.my_own_acls() RETURNS integer[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$ BEGIN
        RETURN (SELECT coalesce(array_agg(id), '{}') FROM trifecta.acl
                WHERE owner = trifecta.me_owner());
    END $$;

CREATE OR REPLACE FUNCTION trifecta.my_collections() RETURNS integer[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$ BEGIN
        RETURN (SELECT coalesce(array_agg(id), '{}')
                FROM trifecta.collection);
    END $$;
