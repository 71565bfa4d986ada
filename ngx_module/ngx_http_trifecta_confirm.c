#include "ngx_http_trifecta_confirm_batch.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_shard.h"


#define NGX_HTTP_TRIFECTA_CONFIRM_AOF  7002     /* WAITAOF came with 7.2 */


static void ngx_http_trifecta_confirm_ready(void *data);
static void ngx_http_trifecta_confirm_lost(void *data);


static const ngx_http_trifecta_redis_owner_t  ngx_http_trifecta_confirm = {
    " for its replicas",
    ngx_http_trifecta_confirm_ready,
    ngx_http_trifecta_confirm_lost,
    NULL
};


/* number [timeout=time] */

char *
ngx_http_trifecta_conf_replicas(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value, s;

    if (mcf->replicas != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;
    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n > NGX_HTTP_TRIFECTA_CONFIRM_MAX) {
        return "needs a number of replicas, 0 to 16";
    }

    mcf->replicas = n;
    mcf->replicas_timeout = NGX_HTTP_TRIFECTA_CONFIRM_TIMEOUT;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value[2].data, "timeout=", 8) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\" "
                           "of trifecta_replicas", &value[2]);
        return NGX_CONF_ERROR;
    }

    s.data = value[2].data + 8;
    s.len = value[2].len - 8;

    n = ngx_parse_time(&s, 0);

    if (n == NGX_ERROR || n < NGX_HTTP_TRIFECTA_CONFIRM_TIMEOUT_MIN
        || n > NGX_HTTP_TRIFECTA_CONFIRM_TIMEOUT_MAX)
    {
        return "needs a timeout of 10ms to 800ms: an answer may have to wait "
               "for two of them, and has two seconds";
    }

    mcf->replicas_timeout = (ngx_msec_t) n;

    return NGX_CONF_OK;
}


/* The answer runs inside the reader's loop: what was gathered is posted. */

static void
ngx_http_trifecta_confirm_informed(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_redis_t *redis = data;

    int                           major, minor;
    const char                   *p;
    redisReply                   *reply;
    ngx_http_trifecta_confirm_t  *confirm;

    confirm = redis->data;
    reply = answer->reply;

    if (reply == NULL) {
        return;
    }

    /* without the right to ask it is the older one, which all have */

    p = (reply->type == REDIS_REPLY_STRING)
        ? ngx_strstr(reply->str, "redis_version:") : NULL;

    confirm->aof = (p && sscanf(p, "redis_version:%d.%d", &major, &minor) == 2
                    && major * 1000 + minor >= NGX_HTTP_TRIFECTA_CONFIRM_AOF);
    confirm->known = 1;

    ngx_post_event(&confirm->flush, &ngx_posted_events);
}


static void
ngx_http_trifecta_confirm_ready(void *data)
{
    ngx_http_trifecta_confirm_t *confirm = data;

    const char                 *argv[2];
    ngx_http_trifecta_redis_t  *redis;

    redis = confirm->redis;

    argv[0] = "INFO";
    argv[1] = "server";

    if (ngx_http_trifecta_redis_own(redis, 2, argv,
                                    ngx_http_trifecta_confirm_informed)
        == NULL)
    {
        confirm->known = 1;
        confirm->aof = 0;

        ngx_post_event(&confirm->flush, &ngx_posted_events);
    }
}


/*
 * The connection is gone, or an attempt has failed.  What was sent is sent
 * once more; what was not may wait for one attempt.
 */

static void
ngx_http_trifecta_confirm_lost(void *data)
{
    ngx_http_trifecta_confirm_t *confirm = data;

    ngx_uint_t                        waits;
    ngx_queue_t                       open, doomed, *q;
    ngx_http_trifecta_confirm_cmd_t  *cmd;

    confirm->known = 0;
    confirm->out = 0;

    ngx_queue_init(&open);
    ngx_queue_init(&doomed);

    ngx_http_trifecta_confirm_move(&open, &confirm->batch);
    ngx_http_trifecta_confirm_move(&open, &confirm->gathered);

    while (!ngx_queue_empty(&open)) {
        q = ngx_queue_head(&open);
        ngx_queue_remove(q);

        cmd = ngx_http_trifecta_confirm_cmd(q);

        if (cmd->handler == NULL) {
            waits = 0;

        } else if (cmd->sent) {
            waits = !cmd->resent;

        } else {
            waits = (confirm->redis == NULL || confirm->redis->fails == 0);
        }

        /* a reply that no replica has confirmed is none */

        if (cmd->reply) {
            freeReplyObject(cmd->reply);
            cmd->reply = NULL;
        }

        ngx_queue_insert_tail(waits ? &confirm->gathered : &doomed, q);
    }

    ngx_http_trifecta_confirm_rearm(confirm);
    ngx_http_trifecta_confirm_finish(confirm, &doomed, 0);
}


ngx_http_trifecta_confirm_t *
ngx_http_trifecta_confirm_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_shard_t *shard)
{
    ngx_http_trifecta_confirm_t  *confirm;

    confirm = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_confirm_t));
    if (confirm == NULL) {
        return NULL;
    }

    confirm->mcf = mcf;
    confirm->shard = shard;
    confirm->fd = (ngx_socket_t) -1;
    confirm->log = cycle->log;

    ngx_queue_init(&confirm->gathered);
    ngx_queue_init(&confirm->batch);

    confirm->flush.handler = ngx_http_trifecta_confirm_flush;
    confirm->flush.data = confirm;
    confirm->flush.log = cycle->log;

    confirm->deadline.handler = ngx_http_trifecta_confirm_expire;
    confirm->deadline.data = confirm;
    confirm->deadline.log = cycle->log;

    confirm->redis = ngx_http_trifecta_redis_create(cycle, mcf, shard,
                                                    &ngx_http_trifecta_confirm,
                                                    confirm);

    return confirm->redis ? confirm : NULL;
}


void
ngx_http_trifecta_confirm_destroy(ngx_http_trifecta_confirm_t *confirm)
{
    ngx_queue_t  *q, *queues[2];
    ngx_uint_t    i;

    if (confirm == NULL) {
        return;
    }

    ngx_http_trifecta_redis_destroy(confirm->redis);

    if (confirm->flush.posted) {
        ngx_delete_posted_event(&confirm->flush);
    }

    if (confirm->deadline.timer_set) {
        ngx_del_timer(&confirm->deadline);
    }

    /* the process ends: their requests are gone or about to go */

    queues[0] = &confirm->gathered;
    queues[1] = &confirm->batch;

    for (i = 0; i < 2; i++) {
        for (q = ngx_queue_head(queues[i]);
             q != ngx_queue_sentinel(queues[i]);
             q = ngx_queue_next(q))
        {
            ngx_http_trifecta_confirm_cmd(q)->handler = NULL;
        }

        ngx_http_trifecta_confirm_finish(confirm, queues[i], 0);
    }
}


/* Nothing will come of it soon. */

static ngx_uint_t
ngx_http_trifecta_confirm_down(ngx_http_trifecta_redis_t *redis)
{
    ngx_http_trifecta_redis_hint(redis);

    return redis->state != ngx_http_trifecta_redis_ready && redis->fails;
}


ngx_http_trifecta_confirm_cmd_t *
ngx_http_trifecta_confirm_command(ngx_http_trifecta_confirm_t *confirm,
    int argc, const char **argv, const size_t *argvlen,
    ngx_http_trifecta_redis_handler_pt handler, void *data, uint64_t *spent)
{
    int                               len;
    ngx_http_trifecta_confirm_cmd_t  *cmd;

    /* that of requests asks now and then whether this Redis may be used */

    if (ngx_http_trifecta_confirm_down(confirm->shard->redis)
        || ngx_http_trifecta_confirm_down(confirm->redis)
        || confirm->ncmds >= NGX_HTTP_TRIFECTA_REDIS_MAX
        || confirm->bytes >= NGX_HTTP_TRIFECTA_REDIS_BYTES)
    {
        return NULL;
    }

    cmd = ngx_calloc(sizeof(ngx_http_trifecta_confirm_cmd_t), confirm->log);
    if (cmd == NULL) {
        return NULL;
    }

    len = redisFormatCommandArgv(&cmd->text, argc, argv, argvlen);

    if (len < 0) {
        ngx_free(cmd);
        return NULL;
    }

    cmd->len = (size_t) len;
    cmd->deadline = ngx_current_msec + NGX_HTTP_TRIFECTA_CONFIRM_DEADLINE;
    cmd->started = ngx_http_trifecta_usec();
    cmd->spent = spent;
    cmd->handler = handler;
    cmd->data = data;

    confirm->ncmds++;
    confirm->bytes += cmd->len;

    ngx_queue_insert_tail(&confirm->gathered, &cmd->queue);

    /* all of this turn of the loop leave together */

    ngx_post_event(&confirm->flush, &ngx_posted_events);
    ngx_http_trifecta_confirm_rearm(confirm);

    return cmd;
}


void
ngx_http_trifecta_confirm_orphan(ngx_http_trifecta_confirm_cmd_t *cmd)
{
    cmd->handler = NULL;
}
