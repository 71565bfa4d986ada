#include "ngx_http_trifecta_status.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_pg_query.h"
#include "ngx_http_trifecta_reply.h"

#include <trifecta/version.h>


static const char *const  ngx_http_trifecta_status_pg_names[] = {
    "schema", "version", "fsync", "synchronous_commit", "full_page_writes",
    "recovery"
};

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_status_query[] =
{
    { "SELECT (SELECT max(version::int) FROM trifecta.flyway_schema_history"
      " WHERE success), current_setting('server_version'),"
      " current_setting('fsync'), current_setting('synchronous_commit'),"
      " current_setting('full_page_writes'), pg_is_in_recovery()", 0 },

    { NULL, 0 }
};


void
ngx_http_trifecta_status_word(ngx_http_trifecta_word_t *w, const char *text,
    size_t len)
{
    if (len >= sizeof(w->word)) {
        len = sizeof(w->word) - 1;
    }

    ngx_memcpy(w->word, text, len);
    w->word[len] = '\0';
}


void
ngx_http_trifecta_status_member(ngx_http_trifecta_json_t *j, const char *name,
    const u_char *text)
{
    ngx_http_trifecta_json_printf(j, ",\"%s\":", name);

    if (text[0] == '\0') {
        text = (u_char *) "unknown";
    }

    ngx_http_trifecta_json_string(j, text, ngx_strlen(text));
}


void
ngx_http_trifecta_status_ready(ngx_http_trifecta_json_t *j,
    const char *reason)
{
    ngx_http_trifecta_json_printf(j, "\"ready\":%s",
                                  reason ? "false,\"reason\":" : "true");

    if (reason) {
        ngx_http_trifecta_json_string(j, reason, ngx_strlen(reason));
    }
}


/* Host, port and database of a connection string, and nothing else of it. */

static void
ngx_http_trifecta_status_address(ngx_http_trifecta_json_t *j, ngx_str_t *pg)
{
    ngx_uint_t         first;
    PQconninfoOption  *options, *o;

    options = pg->len ? PQconninfoParse((char *) pg->data, NULL) : NULL;

    ngx_http_trifecta_json_lit(j, ",\"address\":{");

    first = 1;

    for (o = options; o && o->keyword; o++) {

        if (o->val == NULL
            || (ngx_strcmp(o->keyword, "host") != 0
                && ngx_strcmp(o->keyword, "hostaddr") != 0
                && ngx_strcmp(o->keyword, "port") != 0
                && ngx_strcmp(o->keyword, "dbname") != 0))
        {
            continue;
        }

        ngx_http_trifecta_json_printf(j, first ? "\"%s\":" : ",\"%s\":",
                                      o->keyword);
        ngx_http_trifecta_json_string(j, o->val, ngx_strlen(o->val));
        first = 0;
    }

    ngx_http_trifecta_json_lit(j, "}");

    PQconninfoFree(options);
}


static void
ngx_http_trifecta_status_postgresql(ngx_http_trifecta_json_t *j,
    ngx_http_trifecta_status_t *st, ngx_http_trifecta_main_conf_t *mcf)
{
    ngx_uint_t  i;

    ngx_http_trifecta_json_lit(j, ",\n \"postgresql\":{");
    ngx_http_trifecta_status_ready(j,
                                ngx_http_trifecta_pg_reason(mcf->worker->pg));
    ngx_http_trifecta_status_address(j, &mcf->pg);

    for (i = 0; i < sizeof(st->pg) / sizeof(st->pg[0]); i++) {
        ngx_http_trifecta_status_member(j,
                                        ngx_http_trifecta_status_pg_names[i],
                                        st->pg[i].word);
    }

    ngx_http_trifecta_json_lit(j, "}");
}


static void
ngx_http_trifecta_status_workers(ngx_http_trifecta_json_t *j,
    ngx_http_trifecta_metrics_t *m)
{
    ngx_uint_t                 i, k, first, connected, pending;
    ngx_http_trifecta_slot_t  *slot;

    ngx_http_trifecta_json_lit(j, ",\n \"workers\":[");

    first = 1;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        slot = &m->slots[i];

        if (slot->pid == 0) {
            continue;
        }

        connected = 0;
        pending = 0;

        for (k = 0; k < slot->nshards && k < TF_SHARDS_MAX; k++) {
            connected += (slot->redis_ready >> k) & 1;
            pending += slot->redis_pending[k];
        }

        ngx_http_trifecta_json_printf(j, "%s\n  {\"pid\":%uA,\"uptime\":%T,"
                                      "\"requests\":%uA,\"redis\":%s,"
                                      "\"postgresql\":%s,"
                                      "\"redis_pending\":%ui,"
                                      "\"pg_pending\":%uA,\"waiters\":%uA}",
                                      first ? "" : ",", slot->pid,
                                      ngx_time() - (time_t) slot->started,
                                      slot->requests,
                                      connected == slot->nshards
                                      ? "true" : "false",
                                      slot->pg_ready ? "true" : "false",
                                      pending, slot->pg_pending,
                                      slot->waiters);
        first = 0;
    }

    ngx_http_trifecta_json_lit(j, "]");
}


static ngx_int_t
ngx_http_trifecta_status_reply(ngx_http_request_t *r,
    ngx_http_trifecta_status_t *st)
{
    ngx_http_trifecta_sum_t         sum;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_metrics_t    *m;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    m = ngx_http_trifecta_metrics(mcf);

    /* also clears the slots of workers that crashed */

    ngx_http_trifecta_sum(mcf, &sum);

    ngx_http_trifecta_json_init(&j, r->pool, 4096);

    ngx_http_trifecta_json_printf(&j, "{\"status\":\"%s\",\n \"module\":"
                                  "{\"version\":\"" TF_VERSION "\","
                                  "\"nginx\":\"" NGINX_VERSION "\","
                                  "\"pg_schema\":%d,\"redis_schema\":%d},\n"
                                  " \"uptime\":%T,\"reloads\":%uA,"
                                  "\"configured\":",
                                  sum.shards_ready && sum.pg == sum.workers
                                  ? "ready" : "not ready",
                                  TF_PG_SCHEMA, TF_REDIS_SCHEMA,
                                  ngx_time() - (time_t) m->started,
                                  m->generation ? m->generation - 1 : 0);
    ngx_http_trifecta_json_time(&j, (int64_t) m->loaded * 1000);

    ngx_http_trifecta_status_shards(&j, st);
    ngx_http_trifecta_status_postgresql(&j, st, mcf);
    ngx_http_trifecta_status_workers(&j, m);
    ngx_http_trifecta_json_lit(&j, "\n}\n");

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


void
ngx_http_trifecta_status_answered(ngx_http_trifecta_status_t *st)
{
    ngx_http_request_t  *r;

    if (--st->owed == 0) {
        r = st->op.request;

        ngx_http_trifecta_finalize(r, ngx_http_trifecta_status_reply(r, st));
    }
}


static void
ngx_http_trifecta_status_row(void *data, PGresult *res)
{
    ngx_http_trifecta_status_t *st = data;

    int         i;
    size_t      len;
    ngx_uint_t  n;

    st->op.query = NULL;
    n = sizeof(st->pg) / sizeof(st->pg[0]);

    if (res && PQntuples(res) == 1 && PQnfields(res) == (int) n) {

        for (i = 0; i < (int) n; i++) {
            len = PQgetlength(res, 0, i);
            ngx_http_trifecta_status_word(&st->pg[i], PQgetvalue(res, 0, i),
                                          len);
        }

        /* a boolean is one letter */

        ngx_http_trifecta_status_word(&st->pg[n - 1],
                                      st->pg[n - 1].word[0] == 't' ? "yes"
                                                                   : "no",
                                      st->pg[n - 1].word[0] == 't' ? 3 : 2);
    }

    ngx_http_trifecta_status_answered(st);
}


ngx_int_t
ngx_http_trifecta_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_status_t     *st;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->content = 1;

    if (r != r->main) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_trifecta_header_lit(r, "Allow", "GET, HEAD") != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_trifecta_error(r, TF_E_METHOD_NOT_ALLOWED, NULL,
                                       "this path takes GET, HEAD");
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    st = ngx_http_trifecta_op_create(r, sizeof(ngx_http_trifecta_status_t));
    if (st == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    for (i = 0; i < mcf->worker->nshards; i++) {
        if (ngx_http_trifecta_status_ask(st, &mcf->worker->shards[i])
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    st->op.query = ngx_http_trifecta_pg_query(mcf->worker->pg,
                                              ngx_http_trifecta_status_query,
                                              NULL, 0,
                                              ngx_http_trifecta_status_row,
                                              st);

    st->owed += (st->op.query != NULL);

    if (st->owed == 0) {
        return ngx_http_trifecta_status_reply(r, st);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
