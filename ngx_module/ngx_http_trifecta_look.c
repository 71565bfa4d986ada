#include "ngx_http_trifecta_look.h"
#include "ngx_http_trifecta_read.h"
#include "ngx_http_trifecta_worker.h"


#define NGX_HTTP_TRIFECTA_LOOK_KEY                                            \
    (TF_KEY_PREFIX_MAX + sizeof(":meta") + TF_ID_TEXT_LEN)

/* three commands with 17 arguments in 3 arrays, of at most 5 bytes a number */

#define NGX_HTTP_TRIFECTA_LOOK_TEXT                                           \
    (3 * NGX_HTTP_TRIFECTA_LOOK_KEY + TF_ID_TEXT_LEN                          \
     + sizeof("HEXISTSepochHMGETZRANK" "statetenantownerdeletedaccmodel"      \
              "canceldonetotal")                                              \
     + (17 + 3) * sizeof("$12345\r\n\r\n"))

#define NGX_HTTP_TRIFECTA_LOOK_STATE    0
#define NGX_HTTP_TRIFECTA_LOOK_TENANT   1
#define NGX_HTTP_TRIFECTA_LOOK_OWNER    2
#define NGX_HTTP_TRIFECTA_LOOK_DELETED  3
#define NGX_HTTP_TRIFECTA_LOOK_ACC      4
#define NGX_HTTP_TRIFECTA_LOOK_MODEL    5
#define NGX_HTTP_TRIFECTA_LOOK_CANCEL   6
#define NGX_HTTP_TRIFECTA_LOOK_DONE     7
#define NGX_HTTP_TRIFECTA_LOOK_TOTAL    8
#define NGX_HTTP_TRIFECTA_LOOK_FIELDS   9


/* With the key: prefix, name and perhaps an id. */

static u_char *
ngx_http_trifecta_look_write(u_char *p, ngx_http_trifecta_shard_t *shard,
    int argc, const char **argv, const char *name, ngx_str_t *id,
    ngx_str_t *arg)
{
    int     i;
    u_char  key[NGX_HTTP_TRIFECTA_LOOK_KEY], *last;
    size_t  len[2 + NGX_HTTP_TRIFECTA_LOOK_FIELDS];

    for (i = 0; i < argc; i++) {
        len[i] = ngx_strlen(argv[i]);
    }

    last = ngx_cpymem(key, shard->prefix, ngx_strlen(shard->prefix));
    last = ngx_cpymem(last, name, ngx_strlen(name));

    if (id) {
        last = ngx_cpymem(last, id->data, id->len);
    }

    argv[1] = (const char *) key;
    len[1] = last - key;

    if (arg) {
        argv[2] = (const char *) arg->data;
        len[2] = arg->len;
    }

    return ngx_http_trifecta_resp_write(p, argc, argv, len);
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_look(ngx_http_request_t *r,
    ngx_http_trifecta_redis_handler_pt handler, void *data)
{
    u_char                          text[NGX_HTTP_TRIFECTA_LOOK_TEXT], *last;
    ngx_str_t                      *id;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_shard_t      *shard;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    const char  *exists[] = { "HEXISTS", "", "epoch" };
    const char  *fields[] = { "HMGET", "", "state", "tenant", "owner",
                              "deleted", "acc", "model", "cancel", "done",
                              "total" };
    const char  *rank[] = { "ZRANK", "", "" };

    ctx = ngx_http_trifecta_get_ctx(r);
    shard = ngx_http_trifecta_job_shard(r);

    if (shard == NULL) {
        return NULL;
    }

    id = &ctx->job_id;

    last = ngx_http_trifecta_look_write(text, shard, 3, exists, ":meta", NULL,
                                        NULL);
    last = ngx_http_trifecta_look_write(last, shard,
                                        2 + NGX_HTTP_TRIFECTA_LOOK_FIELDS,
                                        fields, ":j:", id, NULL);
    last = ngx_http_trifecta_look_write(last, shard, 3, rank, ":live", NULL,
                                        id);

    cmd = ngx_http_trifecta_redis_commands(shard->redis, 3, text, last - text,
                                           handler, data);

    ngx_http_trifecta_redis_charge(cmd, &ctx->queue_time);

    return cmd;
}


static ngx_uint_t
ngx_http_trifecta_look_same(redisReply *reply, ngx_str_t *text)
{
    return reply->type == REDIS_REPLY_STRING
           && (size_t) reply->len == text->len
           && ngx_memcmp(reply->str, text->data, text->len) == 0;
}


/* Not there: 0 */

static int64_t
ngx_http_trifecta_look_int(redisReply *reply)
{
    int64_t  n;

    n = ngx_http_trifecta_resp_int(reply);

    return n < 0 ? 0 : n;
}


static ngx_uint_t
ngx_http_trifecta_look_state(ngx_http_trifecta_look_t *look,
    redisReply *state, redisReply *model)
{
    if (state->type != REDIS_REPLY_STRING || model->type != REDIS_REPLY_STRING)
    {
        return 0;
    }

    look->state = ngx_http_trifecta_state_of(state->str, state->len);
    look->model.data = (u_char *) model->str;
    look->model.len = model->len;

    return look->state != TF_JOB_NSTATES;
}


static ngx_http_trifecta_look_e
ngx_http_trifecta_look_fields(ngx_http_request_t *r,
    ngx_http_trifecta_redis_answer_t *answer, ngx_http_trifecta_look_t *look)
{
    redisReply               *epoch, *fields, **e;
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);

    epoch = answer->first[0];
    fields = answer->first[1];
    e = fields->element;

    if (fields->type != REDIS_REPLY_ARRAY
        || fields->elements != NGX_HTTP_TRIFECTA_LOOK_FIELDS)
    {
        /* another's key of that name is not the job */

        if (!ngx_http_trifecta_resp_error(fields, "WRONGTYPE")) {
            return ngx_http_trifecta_look_away;
        }

        e = NULL;
    }

    if (e == NULL
        || e[NGX_HTTP_TRIFECTA_LOOK_STATE]->type == REDIS_REPLY_NIL
        || !ngx_http_trifecta_look_same(e[NGX_HTTP_TRIFECTA_LOOK_TENANT],
                                        &ctx->tenant)
        || !ngx_http_trifecta_look_same(e[NGX_HTTP_TRIFECTA_LOOK_OWNER],
                                        &ctx->owner))
    {
        return epoch->type == REDIS_REPLY_INTEGER && epoch->integer == 1
               ? ngx_http_trifecta_look_absent
               : ngx_http_trifecta_look_away;
    }

    if (e[NGX_HTTP_TRIFECTA_LOOK_DELETED]->type != REDIS_REPLY_NIL) {
        return ngx_http_trifecta_look_deleted;
    }

    if (!ngx_http_trifecta_look_state(look, e[NGX_HTTP_TRIFECTA_LOOK_STATE],
                                      e[NGX_HTTP_TRIFECTA_LOOK_MODEL])
        || e[NGX_HTTP_TRIFECTA_LOOK_ACC]->type != REDIS_REPLY_STRING)
    {
        return ngx_http_trifecta_look_away;
    }

    look->accepted =
                  ngx_http_trifecta_resp_int(e[NGX_HTTP_TRIFECTA_LOOK_ACC]);
    look->position = ngx_http_trifecta_look_int(answer->reply);
    look->stopping = (e[NGX_HTTP_TRIFECTA_LOOK_CANCEL]->type
                      != REDIS_REPLY_NIL);
    look->ready = ngx_http_trifecta_look_int(e[NGX_HTTP_TRIFECTA_LOOK_DONE]);
    look->total = ngx_http_trifecta_look_int(e[NGX_HTTP_TRIFECTA_LOOK_TOTAL]);

    return ngx_http_trifecta_look_known;
}


/* state attempt acc model position live started cancel(0|1) done total ... */

static ngx_http_trifecta_look_e
ngx_http_trifecta_look_function(redisReply *reply,
    ngx_http_trifecta_look_t *look)
{
    redisReply  **e;

    if (ngx_http_trifecta_resp_is(reply, 0, "ABSENT")) {
        return ngx_http_trifecta_look_absent;
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "DELETED")) {
        return ngx_http_trifecta_look_deleted;
    }

    e = reply->element;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 10
        || !ngx_http_trifecta_look_state(look, e[0], e[3]))
    {
        return ngx_http_trifecta_look_away;
    }

    look->accepted = ngx_http_trifecta_resp_int(e[2]);
    look->position = ngx_http_trifecta_resp_int(e[4]);
    look->stopping = (ngx_http_trifecta_resp_int(e[7]) == 1);
    look->ready = ngx_http_trifecta_resp_int(e[8]);
    look->total = ngx_http_trifecta_resp_int(e[9]);

    return ngx_http_trifecta_look_known;
}


void
ngx_http_trifecta_looked(ngx_http_request_t *r,
    ngx_http_trifecta_redis_answer_t *answer, ngx_http_trifecta_look_t *look)
{
    redisReply  *reply;

    ngx_memzero(look, sizeof(ngx_http_trifecta_look_t));

    if (answer == NULL || answer->reply == NULL) {
        return;
    }

    if (answer->nfirst) {
        reply = answer->first[1];
        look->what = ngx_http_trifecta_look_fields(r, answer, look);

    } else {
        reply = answer->reply;
        look->what = ngx_http_trifecta_look_function(reply, look);
    }

    if (look->what == ngx_http_trifecta_look_away
        && reply->type == REDIS_REPLY_ERROR)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "trifecta: Redis refused to look: %*s",
                      (size_t) reply->len, reply->str);
    }
}
