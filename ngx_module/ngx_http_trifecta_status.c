#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_pg_query.h"
#include "ngx_http_trifecta_redis_cmd.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_routes.h"
#include "ngx_http_trifecta_worker.h"

#include <trifecta/version.h>


/*
 * "trifecta status": one JSON page that says how this nginx and its stores
 * are, for people and scripts.
 *
 * The stores are asked over the connections that requests use: Redis three
 * times, one after the other (the queue's counts, INFO, one parameter), and
 * PostgreSQL once beside that.  What a store does not tell, because it is
 * away or because its user may not ask, is "unknown"; the page is answered
 * all the same.  Addresses are made of host, port and database alone.
 */

#define NGX_HTTP_TRIFECTA_STATUS_WORD     64
#define NGX_HTTP_TRIFECTA_STATUS_NUMBERS  12

typedef struct {
    u_char                     word[NGX_HTTP_TRIFECTA_STATUS_WORD];
} ngx_http_trifecta_word_t;

typedef struct {
    ngx_http_trifecta_op_t     op;
    ngx_uint_t                 owed;        /* stores that still answer */

    ngx_uint_t                 nnumbers;    /* of the queue */
    struct {
        u_char                 name[24];
        int64_t                value;
    } numbers[NGX_HTTP_TRIFECTA_STATUS_NUMBERS];

    ngx_http_trifecta_word_t   version;     /* of Redis */
    ngx_http_trifecta_word_t   role;
    ngx_http_trifecta_word_t   appendonly;
    ngx_http_trifecta_word_t   appendfsync;
    ngx_http_trifecta_word_t   last_write;
    ngx_http_trifecta_word_t   policy;

    ngx_http_trifecta_word_t   pg[6];
} ngx_http_trifecta_status_t;


static void ngx_http_trifecta_status_info(void *data,
    ngx_http_trifecta_redis_answer_t *answer);
static void ngx_http_trifecta_status_fsync(void *data,
    ngx_http_trifecta_redis_answer_t *answer);


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


static void
ngx_http_trifecta_status_word(ngx_http_trifecta_word_t *w, const char *text,
    size_t len)
{
    if (len >= sizeof(w->word)) {
        len = sizeof(w->word) - 1;
    }

    ngx_memcpy(w->word, text, len);
    w->word[len] = '\0';
}


/* A line "name:value" of INFO. */

static void
ngx_http_trifecta_status_line(ngx_http_trifecta_word_t *w, redisReply *info,
    const char *name)
{
    char    *p, *end;
    size_t   len;

    len = ngx_strlen(name);
    end = info->str + info->len;

    for (p = info->str; p && p < end; p = memchr(p, LF, end - p)) {
        p += (*p == LF);

        if ((size_t) (end - p) > len && ngx_strncmp(p, name, len) == 0
            && p[len] == ':')
        {
            p += len + 1;
            ngx_http_trifecta_status_word(w, p, strcspn(p, "\r\n"));
            return;
        }
    }
}


static void
ngx_http_trifecta_status_member(ngx_http_trifecta_json_t *j, const char *name,
    const u_char *text)
{
    ngx_http_trifecta_json_printf(j, ",\"%s\":", name);

    if (text[0] == '\0') {
        text = (u_char *) "unknown";
    }

    ngx_http_trifecta_json_string(j, text, ngx_strlen(text));
}


static void
ngx_http_trifecta_status_ready(ngx_http_trifecta_json_t *j,
    const char *reason)
{
    ngx_http_trifecta_json_printf(j, "\"ready\":%s",
                                  reason ? "false,\"reason\":" : "true");

    if (reason) {
        ngx_http_trifecta_json_string(j, reason, ngx_strlen(reason));
    }
}


static void
ngx_http_trifecta_status_redis(ngx_http_trifecta_json_t *j,
    ngx_http_trifecta_status_t *st, ngx_http_trifecta_main_conf_t *mcf)
{
    ngx_http_trifecta_redis_t  *redis;

    redis = mcf->worker->redis;

    ngx_http_trifecta_json_lit(j, ",\n \"redis\":{");
    ngx_http_trifecta_status_ready(j, ngx_http_trifecta_redis_reason(redis));
    ngx_http_trifecta_json_lit(j, ",\"address\":");

    if (mcf->redis_naddrs) {
        ngx_http_trifecta_json_str(j, &mcf->redis_addrs[redis->addr].name);

    } else {
        ngx_http_trifecta_json_lit(j, "null");
    }

    ngx_http_trifecta_status_member(j, "version", st->version.word);
    ngx_http_trifecta_status_member(j, "role", st->role.word);
    ngx_http_trifecta_status_member(j, "appendonly", st->appendonly.word);
    ngx_http_trifecta_status_member(j, "appendfsync", st->appendfsync.word);
    ngx_http_trifecta_status_member(j, "last_write", st->last_write.word);
    ngx_http_trifecta_status_member(j, "maxmemory_policy", st->policy.word);
    ngx_http_trifecta_json_lit(j, "}");
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
    ngx_uint_t                 i, first;
    ngx_http_trifecta_slot_t  *slot;

    ngx_http_trifecta_json_lit(j, ",\n \"workers\":[");

    first = 1;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        slot = &m->slots[i];

        if (slot->pid == 0) {
            continue;
        }

        ngx_http_trifecta_json_printf(j, "%s\n  {\"pid\":%uA,\"uptime\":%T,"
                                      "\"requests\":%uA,\"redis\":%s,"
                                      "\"postgresql\":%s,"
                                      "\"redis_pending\":%uA,"
                                      "\"pg_pending\":%uA,\"waiters\":%uA}",
                                      first ? "" : ",", slot->pid,
                                      ngx_time() - (time_t) slot->started,
                                      slot->requests,
                                      slot->redis_ready ? "true" : "false",
                                      slot->pg_ready ? "true" : "false",
                                      slot->redis_pending, slot->pg_pending,
                                      slot->waiters);
        first = 0;
    }

    ngx_http_trifecta_json_lit(j, "]");
}


static ngx_int_t
ngx_http_trifecta_status_reply(ngx_http_request_t *r,
    ngx_http_trifecta_status_t *st)
{
    ngx_uint_t                      i, workers, redis, pg;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_metrics_t    *m;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    m = ngx_http_trifecta_metrics(mcf);

    /* also clears the slots of workers that crashed */

    ngx_http_trifecta_workers(mcf, &workers, &redis, &pg);

    ngx_http_trifecta_json_init(&j, r->pool, 4096);

    ngx_http_trifecta_json_printf(&j, "{\"status\":\"%s\",\n \"module\":"
                                  "{\"version\":\"" TF_VERSION "\","
                                  "\"nginx\":\"" NGINX_VERSION "\","
                                  "\"pg_schema\":%d,\"redis_schema\":%d},\n"
                                  " \"uptime\":%T,\"reloads\":%uA,"
                                  "\"configured\":",
                                  redis == workers && pg == workers
                                  ? "ready" : "not ready",
                                  TF_PG_SCHEMA, TF_REDIS_SCHEMA,
                                  ngx_time() - (time_t) m->started,
                                  m->generation ? m->generation - 1 : 0);
    ngx_http_trifecta_json_time(&j, (int64_t) m->loaded * 1000);

    ngx_http_trifecta_status_redis(&j, st, mcf);
    ngx_http_trifecta_status_postgresql(&j, st, mcf);

    ngx_http_trifecta_json_lit(&j, ",\n \"queue\":");

    if (st->nnumbers == 0) {
        ngx_http_trifecta_json_lit(&j, "null");
    }

    for (i = 0; i < st->nnumbers; i++) {
        ngx_http_trifecta_json_printf(&j, "%s\"%s\":%L", i ? "," : "{",
                                      st->numbers[i].name,
                                      st->numbers[i].value);
    }

    if (st->nnumbers) {
        ngx_http_trifecta_json_lit(&j, "}");
    }

    ngx_http_trifecta_status_workers(&j, m);
    ngx_http_trifecta_json_lit(&j, "\n}\n");

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static void
ngx_http_trifecta_status_answered(ngx_http_trifecta_status_t *st)
{
    ngx_http_request_t  *r;

    if (--st->owed == 0) {
        r = st->op.request;

        ngx_http_trifecta_finalize(r, ngx_http_trifecta_status_reply(r, st));
    }
}


static ngx_http_trifecta_redis_t *
ngx_http_trifecta_status_connection(ngx_http_trifecta_status_t *st)
{
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(st->op.request,
                                        ngx_http_trifecta_module);

    return mcf->worker->redis;
}


/* The counts of the queue: names and values. */

static void
ngx_http_trifecta_status_queue(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_status_t *st = data;

    size_t        i;
    redisReply  **e;
    const char   *argv[5];

    st->op.cmd = NULL;

    if (answer->reply && answer->reply->type == REDIS_REPLY_ARRAY) {

        e = answer->reply->element;

        for (i = 0; i + 1 < answer->reply->elements
                    && st->nnumbers < NGX_HTTP_TRIFECTA_STATUS_NUMBERS;
             i += 2)
        {
            if (e[i]->type != REDIS_REPLY_STRING
                || e[i + 1]->type != REDIS_REPLY_INTEGER)
            {
                continue;
            }

            ngx_cpystrn(st->numbers[st->nnumbers].name, (u_char *) e[i]->str,
                        sizeof(st->numbers[0].name));
            st->numbers[st->nnumbers++].value = e[i + 1]->integer;
        }
    }

    if (answer->reply) {
        argv[0] = "INFO";
        argv[1] = "server";
        argv[2] = "replication";
        argv[3] = "persistence";
        argv[4] = "memory";

        st->op.cmd = ngx_http_trifecta_redis_command(
                                     ngx_http_trifecta_status_connection(st),
                                     5, argv, NULL, 0,
                                     ngx_http_trifecta_status_info, st);
    }

    if (st->op.cmd == NULL) {
        ngx_http_trifecta_status_answered(st);
    }
}


static void
ngx_http_trifecta_status_info(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_status_t *st = data;

    redisReply                *reply;
    const char                *argv[3];
    ngx_http_trifecta_word_t   aof;

    st->op.cmd = NULL;
    reply = answer->reply;

    if (reply && reply->type == REDIS_REPLY_STRING) {
        aof.word[0] = '\0';

        ngx_http_trifecta_status_line(&aof, reply, "aof_enabled");
        ngx_http_trifecta_status_line(&st->version, reply, "redis_version");
        ngx_http_trifecta_status_line(&st->role, reply, "role");
        ngx_http_trifecta_status_line(&st->last_write, reply,
                                      "aof_last_write_status");
        ngx_http_trifecta_status_line(&st->policy, reply, "maxmemory_policy");

        if (aof.word[0]) {
            ngx_http_trifecta_status_word(&st->appendonly,
                                          aof.word[0] == '1' ? "yes" : "no",
                                          aof.word[0] == '1' ? 3 : 2);
        }
    }

    if (reply) {
        argv[0] = "CONFIG";
        argv[1] = "GET";
        argv[2] = "appendfsync";

        st->op.cmd = ngx_http_trifecta_redis_command(
                                     ngx_http_trifecta_status_connection(st),
                                     3, argv, NULL, 0,
                                     ngx_http_trifecta_status_fsync, st);
    }

    if (st->op.cmd == NULL) {
        ngx_http_trifecta_status_answered(st);
    }
}


static void
ngx_http_trifecta_status_fsync(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_status_t *st = data;

    redisReply  *reply;

    st->op.cmd = NULL;
    reply = answer->reply;

    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2
        && reply->element[1]->type == REDIS_REPLY_STRING)
    {
        ngx_http_trifecta_status_word(&st->appendfsync,
                                      reply->element[1]->str,
                                      reply->element[1]->len);
    }

    ngx_http_trifecta_status_answered(st);
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
    char                            prefix[TF_KEY_PREFIX_MAX];
    ngx_int_t                       rc;
    const char                     *argv[4];
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

    ngx_http_trifecta_prefix(prefix, 0);

    argv[0] = "FCALL_RO";
    argv[1] = TF_FN_STATS;
    argv[2] = "1";
    argv[3] = prefix;

    st->op.cmd = ngx_http_trifecta_redis_command(mcf->worker->redis, 4, argv,
                                                 NULL, 0,
                                               ngx_http_trifecta_status_queue,
                                                 st);

    st->op.query = ngx_http_trifecta_pg_query(mcf->worker->pg,
                                              ngx_http_trifecta_status_query,
                                              NULL, 0,
                                              ngx_http_trifecta_status_row,
                                              st);

    st->owed = (st->op.cmd != NULL) + (st->op.query != NULL);

    if (st->owed == 0) {
        return ngx_http_trifecta_status_reply(r, st);
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
