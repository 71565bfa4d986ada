#include "ngx_http_trifecta_pg_query.h"


/*
 * Statements about the job of an id, which a connection's server parses once.
 *
 * Jobs lie in partitions by the day of their id.  A plan that is good for any
 * id has all partitions in it, and locks them all each time.  So there is a
 * statement for each day that is asked for: its text holds that the id is of
 * the day, the plan has one partition, and it is made once.  Which partitions
 * there are PostgreSQL alone knows; other ones make another plan of the same
 * statement.
 *
 * Of all the days the last ones used are kept.  A proxy that shares
 * connections between clients may know nothing of a name, or know it from
 * somebody else.  So a name says which text it stands for.  A statement that
 * the server does not know, or knows already, or that has other columns than
 * it once had, because a table has changed, is no failure: the query is sent
 * once more, whole, and all statements get new names.  Where the server still
 * has the old ones, each goes when there is a new one for it.  A connection for
 * which that happens again and again prepares nothing any more.
 */

#define NGX_HTTP_TRIFECTA_PG_BOUND    sizeof("'00000000-0000-0000-0000-"      \
                                             "000000000000'")
#define NGX_HTTP_TRIFECTA_PG_FORGETS  3         /* ... */
#define NGX_HTTP_TRIFECTA_PG_SOON     60000     /* ... each so soon, ms */


/* The first id of a day. */

static u_char *
ngx_http_trifecta_pg_named_bound(u_char *p, ngx_uint_t day)
{
    uint64_t  ms;

    ms = (uint64_t) day * NGX_HTTP_TRIFECTA_PG_DAY;

    return ngx_sprintf(p, "'%08xL-%04xL-0000-0000-000000000000'",
                       ms >> 16, ms & 0xffff);
}


/* {from} and {to} are the bounds of the day. */

static char *
ngx_http_trifecta_pg_named_text(ngx_http_trifecta_pg_t *pg, const char *sql,
    ngx_uint_t day)
{
    size_t       size;
    u_char      *text, *p;
    const char  *s;

    size = 1;

    for (s = sql; *s; s++) {
        size += (*s == '{') ? NGX_HTTP_TRIFECTA_PG_BOUND : 1;
    }

    text = ngx_alloc(size, pg->log);
    if (text == NULL) {
        return NULL;
    }

    p = text;

    for (s = sql; *s; s++) {

        if (*s != '{') {
            *p++ = *s;
            continue;
        }

        p = ngx_http_trifecta_pg_named_bound(p, s[1] == 'f' ? day : day + 1);
        s = strchr(s, '}');
    }

    *p = '\0';

    return (char *) text;
}


/* FNV-1a of the text and of how often the server has forgotten it. */

static void
ngx_http_trifecta_pg_named_name(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_named_t *named)
{
    uint64_t     hash;
    const char  *s;

    hash = 14695981039346656037u + pg->life;

    for (s = named->text; *s; s++) {
        hash = (hash ^ (u_char) *s) * 1099511628211u;
    }

    *ngx_sprintf((u_char *) named->name, "tf_%016xL", hash) = '\0';
}


/* That of the query, or the one that was not used for the longest time. */

static ngx_http_trifecta_pg_named_t *
ngx_http_trifecta_pg_named_find(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query)
{
    ngx_uint_t                     i;
    ngx_http_trifecta_pg_named_t  *named, *oldest;

    oldest = &pg->named[0];

    for (i = 0; i < NGX_HTTP_TRIFECTA_PG_NAMED; i++) {
        named = &pg->named[i];

        if (named->text && named->day == query->day
            && named->sql == query->statements->sql)
        {
            return named;
        }

        if (named->used < oldest->used) {
            oldest = named;
        }
    }

    return oldest;
}


/* The server has one of this name, of this life or an older one: it goes. */

static ngx_int_t
ngx_http_trifecta_pg_named_drop(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query, ngx_http_trifecta_pg_named_t *named)
{
    char  sql[sizeof("DEALLOCATE ") + sizeof(named->name)];

    *ngx_sprintf((u_char *) sql, "DEALLOCATE %s", named->name) = '\0';

    if (PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 0) {
        return NGX_ERROR;
    }

    named->prepared = 0;
    named->kept = 0;
    query->left++;

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_pg_named_take(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query, ngx_http_trifecta_pg_named_t *named)
{
    if ((named->prepared || named->kept)
        && ngx_http_trifecta_pg_named_drop(pg, query, named) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_free(named->text);

    named->sql = query->statements->sql;
    named->day = query->day;
    named->text = ngx_http_trifecta_pg_named_text(pg, named->sql, named->day);

    return named->text ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_trifecta_pg_named_send(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query)
{
    int                            nparams;
    ngx_http_trifecta_pg_named_t  *named;

    query->life = pg->life;

    nparams = query->statements->nparams;
    named = ngx_http_trifecta_pg_named_find(pg, query);

    if ((named->text == NULL || named->day != query->day
         || named->sql != query->statements->sql)
        && ngx_http_trifecta_pg_named_take(pg, query, named) != NGX_OK)
    {
        return NGX_ERROR;
    }

    named->used = ++pg->used;
    query->left++;

    if (query->whole || pg->whole) {
        return PQsendQueryParams(pg->conn, named->text, nparams, NULL,
                                 (const char *const *) query->params,
                                 query->lengths, query->formats, query->raw)
               ? NGX_OK : NGX_ERROR;
    }

    if (!named->prepared) {

        if (named->kept
            && ngx_http_trifecta_pg_named_drop(pg, query, named) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_http_trifecta_pg_named_name(pg, named);

        if (PQsendPrepare(pg->conn, named->name, named->text, nparams, NULL)
            == 0)
        {
            return NGX_ERROR;
        }

        named->prepared = 1;
        query->prepares = 1;
        query->left++;
    }

    return PQsendQueryPrepared(pg->conn, named->name, nparams,
                               (const char *const *) query->params,
                               query->lengths, query->formats, query->raw)
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_trifecta_pg_named_forget(ngx_http_trifecta_pg_t *pg, ngx_uint_t kept)
{
    ngx_uint_t                     i;
    ngx_http_trifecta_pg_named_t  *named;

    for (i = 0; i < NGX_HTTP_TRIFECTA_PG_NAMED; i++) {
        named = &pg->named[i];

        /* what is not there cannot go: that would fail */

        named->kept = (kept && (named->prepared || named->kept));
        named->prepared = 0;
    }

    if (ngx_current_msec - pg->forgot_at > NGX_HTTP_TRIFECTA_PG_SOON) {
        pg->forgets = 0;
    }

    pg->life++;
    pg->forgot_at = ngx_current_msec;

    if (++pg->forgets >= NGX_HTTP_TRIFECTA_PG_FORGETS) {
        pg->whole = 1;

        ngx_log_error(NGX_LOG_NOTICE, pg->log, 0,
                      "trifecta: PostgreSQL forgets prepared statements, as "
                      "behind a proxy that shares connections: this "
                      "connection prepares none any more");
    }
}


/*
 * invalid_sql_statement_name, duplicate_prepared_statement, and "cached plan
 * must not change result type" (feature_not_supported).
 */

static ngx_uint_t
ngx_http_trifecta_pg_named_unknown(PGresult *res)
{
    const char  *code;

    code = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return code && (ngx_strcmp(code, "26000") == 0
                    || ngx_strcmp(code, "42P05") == 0
                    || ngx_strcmp(code, "0A000") == 0);
}


/* It still has it, and so the others. */

static ngx_uint_t
ngx_http_trifecta_pg_named_kept(PGresult *res)
{
    return ngx_strcmp(PQresultErrorField(res, PG_DIAG_SQLSTATE), "0A000") == 0;
}


ngx_uint_t
ngx_http_trifecta_pg_named_again(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_query_t *query, PGresult *res)
{
    ngx_http_trifecta_pg_named_t  *named;

    if (query->day == 0 || query->failed) {
        return 0;
    }

    if (PQresultStatus(res) == PGRES_PIPELINE_ABORTED) {

        /* not by itself, or it would be alone by now, or sent again */

        if (query->alone && !query->again) {
            return 0;
        }

        query->again = 1;
        query->alone = 1;

    } else if (!query->whole && ngx_http_trifecta_pg_named_unknown(res)) {

        /*
         * Not what was to be prepared in front of it and was not begun, for
         * another query had failed: that is no server's forgetting.
         */

        named = ngx_http_trifecta_pg_named_find(pg, query);

        if (query->life == pg->life && named->prepared) {
            ngx_log_error(NGX_LOG_INFO, pg->log, 0,
                          "trifecta: prepares its statements anew: %s",
                          PQresultErrorMessage(res));
            ngx_http_trifecta_pg_named_forget(pg,
                                      ngx_http_trifecta_pg_named_kept(res));
        }

        query->again = 1;
        query->alone = 1;
        query->whole = 1;
    }

    /* what was not prepared, for more was to come, the next one prepares */

    if (query->prepares && query->left) {
        named = ngx_http_trifecta_pg_named_find(pg, query);

        if (named->sql == query->statements->sql && named->day == query->day) {

            if (query->life == pg->life) {
                named->prepared = 0;

            } else if (!named->prepared) {
                named->kept = 0;    /* nor is there one to go */
            }
        }
    }

    query->prepares = 0;

    return query->again;
}


void
ngx_http_trifecta_pg_named_clear(ngx_http_trifecta_pg_t *pg)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_TRIFECTA_PG_NAMED; i++) {
        if (pg->named[i].text) {
            ngx_free(pg->named[i].text);
        }
    }

    ngx_memzero(pg->named, sizeof(pg->named));

    pg->whole = 0;
    pg->forgets = 0;
}
