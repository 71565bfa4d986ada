#include "ngx_http_trifecta_status.h"
#include "ngx_http_trifecta_metrics.h"


static void ngx_http_trifecta_status_info(void *data,
    ngx_http_trifecta_redis_answer_t *answer);
static void ngx_http_trifecta_status_fsync(void *data,
    ngx_http_trifecta_redis_answer_t *answer);


/* Counts that may be added up; of the others the page says the largest. */

static const char *const  ngx_http_trifecta_status_sums[] = {
    "live", "ready", "running", "parked", "delayed", "dead", "acc", NULL
};


static void
ngx_http_trifecta_status_line(ngx_http_trifecta_word_t *w, redisReply *info,
    const char *name)
{
    ngx_str_t  value;

    if (ngx_http_trifecta_resp_line(info, name, &value)) {
        ngx_http_trifecta_status_word(w, (char *) value.data, value.len);
    }
}


/* The counts of the queue: names and values. */

static void
ngx_http_trifecta_status_queue(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_status_shard_t *s = data;

    size_t        i;
    redisReply  **e;
    const char   *argv[5];

    s->op.cmd = NULL;

    if (answer->reply && answer->reply->type == REDIS_REPLY_ARRAY) {

        e = answer->reply->element;

        for (i = 0; i + 1 < answer->reply->elements
                    && s->nnumbers < NGX_HTTP_TRIFECTA_STATUS_NUMBERS;
             i += 2)
        {
            if (e[i]->type != REDIS_REPLY_STRING
                || e[i + 1]->type != REDIS_REPLY_INTEGER)
            {
                continue;
            }

            ngx_cpystrn(s->numbers[s->nnumbers].name, (u_char *) e[i]->str,
                        sizeof(s->numbers[0].name));
            s->numbers[s->nnumbers++].value = e[i + 1]->integer;
        }
    }

    if (answer->reply) {
        argv[0] = "INFO";
        argv[1] = "server";
        argv[2] = "replication";
        argv[3] = "persistence";
        argv[4] = "memory";

        s->op.cmd = ngx_http_trifecta_redis_command(
                                     s->shard->redis, 5, argv, NULL, 0,
                                     ngx_http_trifecta_status_info, s);
    }

    if (s->op.cmd == NULL) {
        ngx_http_trifecta_status_answered(s->status);
    }
}


static void
ngx_http_trifecta_status_info(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_status_shard_t *s = data;

    redisReply                *reply;
    const char                *argv[3];
    ngx_http_trifecta_word_t   aof;

    s->op.cmd = NULL;
    reply = answer->reply;

    if (reply && reply->type == REDIS_REPLY_STRING) {
        aof.word[0] = '\0';

        ngx_http_trifecta_status_line(&aof, reply, "aof_enabled");
        ngx_http_trifecta_status_line(&s->version, reply, "redis_version");
        ngx_http_trifecta_status_line(&s->role, reply, "role");
        ngx_http_trifecta_status_line(&s->last_write, reply,
                                      "aof_last_write_status");
        ngx_http_trifecta_status_line(&s->policy, reply, "maxmemory_policy");

        if (aof.word[0]) {
            ngx_http_trifecta_status_word(&s->appendonly,
                                          aof.word[0] == '1' ? "yes" : "no",
                                          aof.word[0] == '1' ? 3 : 2);
        }
    }

    if (reply) {
        argv[0] = "CONFIG";
        argv[1] = "GET";
        argv[2] = "appendfsync";

        s->op.cmd = ngx_http_trifecta_redis_command(
                                     s->shard->redis, 3, argv, NULL, 0,
                                     ngx_http_trifecta_status_fsync, s);
    }

    if (s->op.cmd == NULL) {
        ngx_http_trifecta_status_answered(s->status);
    }
}


static void
ngx_http_trifecta_status_fsync(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_status_shard_t *s = data;

    redisReply  *reply;

    s->op.cmd = NULL;
    reply = answer->reply;

    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2
        && reply->element[1]->type == REDIS_REPLY_STRING)
    {
        ngx_http_trifecta_status_word(&s->appendfsync,
                                      reply->element[1]->str,
                                      reply->element[1]->len);
    }

    ngx_http_trifecta_status_answered(s->status);
}


ngx_int_t
ngx_http_trifecta_status_ask(ngx_http_trifecta_status_t *st,
    ngx_http_trifecta_shard_t *shard)
{
    const char                        *argv[4];
    ngx_http_trifecta_status_shard_t  *s;

    s = ngx_http_trifecta_op_create(st->op.request,
                                    sizeof(ngx_http_trifecta_status_shard_t));
    if (s == NULL) {
        return NGX_ERROR;
    }

    s->status = st;
    s->shard = shard;
    st->shards[st->nshards++] = s;

    argv[0] = "FCALL_RO";
    argv[1] = TF_FN_STATS;
    argv[2] = "1";
    argv[3] = shard->prefix;

    s->op.cmd = ngx_http_trifecta_redis_command(shard->redis, 4, argv, NULL,
                                                0,
                                               ngx_http_trifecta_status_queue,
                                                s);

    st->owed += (s->op.cmd != NULL);

    return NGX_OK;
}


static void
ngx_http_trifecta_status_queue_of(ngx_http_trifecta_json_t *j,
    const ngx_http_trifecta_status_number_t *numbers, ngx_uint_t n)
{
    ngx_uint_t  i;

    if (n == 0) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    for (i = 0; i < n; i++) {
        ngx_http_trifecta_json_printf(j, "%s\"%s\":%L", i ? "," : "{",
                                      numbers[i].name, numbers[i].value);
    }

    ngx_http_trifecta_json_lit(j, "}");
}


/* One more shard in the numbers of the whole queue. */

static ngx_uint_t
ngx_http_trifecta_status_add(ngx_http_trifecta_status_number_t *sum,
    ngx_uint_t n, const ngx_http_trifecta_status_shard_t *s)
{
    ngx_uint_t                                i, k, w;
    const ngx_http_trifecta_status_number_t  *number;

    for (i = 0; i < s->nnumbers; i++) {
        number = &s->numbers[i];

        for (k = 0; k < n; k++) {
            if (ngx_strcmp(sum[k].name, number->name) == 0) {
                break;
            }
        }

        if (k == n) {
            if (n < NGX_HTTP_TRIFECTA_STATUS_NUMBERS) {
                sum[n++] = *number;
            }

            continue;
        }

        for (w = 0; ngx_http_trifecta_status_sums[w]; w++) {
            if (ngx_strcmp(number->name, ngx_http_trifecta_status_sums[w])
                == 0)
            {
                break;
            }
        }

        sum[k].value = ngx_http_trifecta_status_sums[w]
                       ? sum[k].value + number->value
                       : ngx_max(sum[k].value, number->value);
    }

    return n;
}


static void
ngx_http_trifecta_status_shard(ngx_http_trifecta_json_t *j,
    ngx_http_trifecta_status_shard_t *s)
{
    ngx_str_t                  *address;
    ngx_http_trifecta_redis_t  *redis;

    redis = s->shard->redis;
    address = ngx_http_trifecta_redis_address(redis);

    ngx_http_trifecta_json_printf(j, "%s\n   {\"shard\":%ui,",
                                  s->shard->index ? "," : "",
                                  s->shard->index);
    ngx_http_trifecta_status_ready(j, ngx_http_trifecta_redis_reason(redis));
    ngx_http_trifecta_json_lit(j, ",\"address\":");

    if (address->len) {
        ngx_http_trifecta_json_str(j, address);

    } else {
        ngx_http_trifecta_json_lit(j, "null");
    }

    ngx_http_trifecta_status_member(j, "version", s->version.word);
    ngx_http_trifecta_status_member(j, "role", s->role.word);
    ngx_http_trifecta_status_member(j, "appendonly", s->appendonly.word);
    ngx_http_trifecta_status_member(j, "appendfsync", s->appendfsync.word);
    ngx_http_trifecta_status_member(j, "last_write", s->last_write.word);
    ngx_http_trifecta_status_member(j, "maxmemory_policy", s->policy.word);
    ngx_http_trifecta_json_lit(j, ",\n    \"queue\":");
    ngx_http_trifecta_status_queue_of(j, s->numbers, s->nnumbers);
    ngx_http_trifecta_json_lit(j, "}");
}


void
ngx_http_trifecta_status_shards(ngx_http_trifecta_json_t *j,
    ngx_http_trifecta_status_t *st)
{
    ngx_uint_t                          i, n;
    const char                         *reason;
    ngx_http_trifecta_status_number_t   sum[NGX_HTTP_TRIFECTA_STATUS_NUMBERS];

    /* one shard is enough; if there is none, the first says why */

    reason = NULL;

    for (i = st->nshards; i > 0; i--) {
        reason = ngx_http_trifecta_redis_reason(
                                             st->shards[i - 1]->shard->redis);
        if (reason == NULL) {
            break;
        }
    }

    ngx_http_trifecta_json_lit(j, ",\n \"redis\":{");
    ngx_http_trifecta_status_ready(j, reason);
    ngx_http_trifecta_json_lit(j, ",\"shards\":[");

    n = 0;

    for (i = 0; i < st->nshards; i++) {
        ngx_http_trifecta_status_shard(j, st->shards[i]);

        n = ngx_http_trifecta_status_add(sum, n, st->shards[i]);
    }

    ngx_http_trifecta_json_lit(j, "]},\n \"queue\":");
    ngx_http_trifecta_status_queue_of(j, sum, n);
}
