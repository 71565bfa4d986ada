#include "ngx_http_trifecta_look.h"
#include "ngx_http_trifecta_read.h"
#include "ngx_http_trifecta_worker.h"


#define NGX_HTTP_TRIFECTA_LOOK_TEXT                                           \
    "*3\r\n$7\r\nHEXISTS\r\n$%uz\r\n%s:meta\r\n$5\r\nepoch\r\n"               \
    "*11\r\n$5\r\nHMGET\r\n$%uz\r\n%s:j:%V\r\n$5\r\nstate\r\n"                \
    "$6\r\ntenant\r\n$5\r\nowner\r\n$7\r\ndeleted\r\n$3\r\nacc\r\n"           \
    "$5\r\nmodel\r\n$6\r\ncancel\r\n$4\r\ndone\r\n$5\r\ntotal\r\n"            \
    "*3\r\n$5\r\nZRANK\r\n$%uz\r\n%s:live\r\n$%uz\r\n%V\r\n"

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


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_look(ngx_http_request_t *r,
    ngx_http_trifecta_redis_handler_pt handler, void *data)
{
    size_t                          len;
    u_char                          text[sizeof(NGX_HTTP_TRIFECTA_LOOK_TEXT)
                                         + 3 * TF_KEY_PREFIX_MAX
                                         + 2 * TF_ID_TEXT_LEN
                                         + 4 * NGX_INT_T_LEN];
    u_char                         *last;
    ngx_str_t                      *id;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_shard_t      *shard;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    ctx = ngx_http_trifecta_get_ctx(r);
    shard = ngx_http_trifecta_job_shard(r);

    if (shard == NULL) {
        return NULL;
    }

    id = &ctx->job_id;
    len = ngx_strlen(shard->prefix);

    last = ngx_snprintf(text, sizeof(text), NGX_HTTP_TRIFECTA_LOOK_TEXT,
                        len + sizeof(":meta") - 1, shard->prefix,
                        len + sizeof(":j:") - 1 + id->len, shard->prefix, id,
                        len + sizeof(":live") - 1, shard->prefix, id->len, id);

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
