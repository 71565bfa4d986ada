#include "ngx_http_trifecta_install.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_pg_query.h"
#include "ngx_http_trifecta_store.h"


/* What a connection asks for itself: which schema and installation it is. */

#define NGX_HTTP_TRIFECTA_PG_TEXT(ms)   NGX_HTTP_TRIFECTA_PG_QUOTE(ms)
#define NGX_HTTP_TRIFECTA_PG_QUOTE(ms)  #ms


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_pg_version_query[] =
{
    { "SELECT max(version::int) FROM trifecta.flyway_schema_history"
      " WHERE success", 0 },
    { NULL, 0 }
};


/*
 * The role reads by default: only the connection that may write writes.  And
 * it gives up a statement after 2 s; who waits for a lock gives up sooner, or
 * a few of them would hold up the others until the connection is given up.
 */

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_pg_store_query[] =
{
    { "SET default_transaction_read_only = off", 0 },
    { "SET lock_timeout = "
      NGX_HTTP_TRIFECTA_PG_TEXT(NGX_HTTP_TRIFECTA_STORE_LOCK), 0 },
    { "SELECT max(version::int) FROM trifecta.flyway_schema_history"
      " WHERE success", 0 },
    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_pg_install_query[] =
{
    { "SELECT id FROM trifecta.install", 0 },
    { NULL, 0 }
};


const char *
ngx_http_trifecta_pg_check(PGresult *res, u_char *buf, size_t size)
{
    u_char     *last;
    ngx_int_t   version;

    if (res == NULL) {
        return "the migrations' history can not be read: run \"trifecta "
               "migrate\"";
    }

    if (PQntuples(res) != 1 || PQgetisnull(res, 0, 0)) {
        return "PostgreSQL has no schema: run \"trifecta migrate\"";
    }

    version = ngx_atoi((u_char *) PQgetvalue(res, 0, 0),
                       PQgetlength(res, 0, 0));

    if (version == TF_PG_SCHEMA) {
        return NULL;
    }

    last = ngx_snprintf(buf, size - 1, "PostgreSQL has schema %i, this module "
                        "needs %d: %s of the same release", version,
                        TF_PG_SCHEMA, version < TF_PG_SCHEMA
                        ? "run \"trifecta migrate\"" : "load the module");
    *last = '\0';

    return (char *) buf;
}


ngx_http_trifecta_pg_query_t *
ngx_http_trifecta_pg_version(ngx_http_trifecta_pg_t *pg,
    ngx_http_trifecta_pg_handler_pt handler, void *data)
{
    return ngx_http_trifecta_pg_query(pg, ngx_http_trifecta_pg_version_query,
                                      NULL, 0, handler, data);
}


/*
 * The answers to the connection's own first queries.  They run inside the
 * reader's loop: they only note what is wrong.
 */

static void
ngx_http_trifecta_pg_installed(void *data, PGresult *res)
{
    ngx_http_trifecta_pg_t *pg = data;

    size_t       len;
    const char  *id;

    if (pg->state != ngx_http_trifecta_pg_checking) {
        return;     /* the connection has failed meanwhile */
    }

    id = NULL;
    len = 0;

    if (res && PQntuples(res) == 1) {
        id = PQgetvalue(res, 0, 0);
        len = PQgetlength(res, 0, 0);

    } else {
        ngx_log_error(NGX_LOG_WARN, pg->log, 0, "trifecta: PostgreSQL does "
                      "not say which installation it is (%s): a Redis of "
                      "another one is not recognized", res
                      ? "trifecta.install is empty"
                      : "trifecta.install can not be read");
    }

    pg->state = ngx_http_trifecta_pg_ready;
    pg->ready_at = ngx_current_msec;
    pg->tried = 1;

    ngx_log_error(NGX_LOG_NOTICE, pg->log, 0,
                  "trifecta: connected to PostgreSQL");

    ngx_http_trifecta_count(pg->mcf, NGX_HTTP_TRIFECTA_M_PG_CONNECTS);
    ngx_http_trifecta_metrics(pg->mcf)->pg_ready_at = ngx_current_msec;

    if (pg->lazy) {
        return;
    }

    ngx_http_trifecta_slot(pg->mcf)->pg_ready = 1;

    ngx_http_trifecta_install_learn(pg->mcf, id, len);
}


static void
ngx_http_trifecta_pg_checked(void *data, PGresult *res)
{
    ngx_http_trifecta_pg_t *pg = data;

    const char  *wrong;
    u_char       buf[sizeof(pg->reason)];

    if (pg->state != ngx_http_trifecta_pg_checking) {
        return;     /* the connection has failed meanwhile */
    }

    wrong = ngx_http_trifecta_pg_check(res, buf, sizeof(buf));

    if (wrong == NULL
        && ngx_http_trifecta_pg_own(pg, ngx_http_trifecta_pg_install_query,
                                    ngx_http_trifecta_pg_installed)
           != NGX_OK)
    {
        wrong = "asking for the installation failed";
    }

    if (wrong) {
        ngx_cpystrn(pg->reason, (u_char *) wrong, sizeof(pg->reason));
        pg->refused = 1;
    }
}


ngx_int_t
ngx_http_trifecta_pg_introduce(ngx_http_trifecta_pg_t *pg)
{
    return ngx_http_trifecta_pg_own(pg, pg->lazy
                                    ? ngx_http_trifecta_pg_store_query
                                    : ngx_http_trifecta_pg_version_query,
                                    ngx_http_trifecta_pg_checked);
}


static void
ngx_http_trifecta_pg_told_again(void *data, PGresult *res)
{
    ngx_http_trifecta_pg_t *pg = data;

    pg->asking = 0;

    if (res && PQntuples(res) == 1) {
        ngx_http_trifecta_install_learn(pg->mcf, PQgetvalue(res, 0, 0),
                                        PQgetlength(res, 0, 0));
    }
}


void
ngx_http_trifecta_pg_ask_again(ngx_http_trifecta_pg_t *pg)
{
    ngx_http_trifecta_pg_query_t  *query;

    if (pg->state != ngx_http_trifecta_pg_ready || pg->asking) {
        return;
    }

    query = ngx_http_trifecta_pg_query(pg, ngx_http_trifecta_pg_install_query,
                                       NULL, 0,
                                       ngx_http_trifecta_pg_told_again, pg);
    if (query) {
        query->own = 1;
        pg->asking = 1;
    }
}
