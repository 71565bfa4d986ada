#include "ngx_http_trifecta_redis_cmd.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_shard.h"


/* What requests call: how a command gets into a queue. */


/*
 * While this worker waits to try again, another one may have found the server
 * back: then a request need not be refused.
 */

void
ngx_http_trifecta_redis_hint(ngx_http_trifecta_redis_t *redis)
{
    ngx_msec_t  ready_at;

    ready_at = ngx_http_trifecta_metrics(redis->mcf)
                   ->shards[redis->shard->index].ready_at;

    if (redis->reconnect.timer_set
        && (ngx_msec_int_t) (ready_at - redis->failed_at) > 0)
    {
        ngx_del_timer(&redis->reconnect);

        redis->fails = 0;

        ngx_http_trifecta_redis_connect(redis);
    }
}


/* Whether the connection takes a command, now or soon. */

static ngx_uint_t
ngx_http_trifecta_redis_takes(ngx_http_trifecta_redis_t *redis)
{
    ngx_http_trifecta_redis_hint(redis);

    return (redis->state == ngx_http_trifecta_redis_ready || !redis->fails)
           && redis->ncmds < NGX_HTTP_TRIFECTA_REDIS_MAX
           && redis->bytes < NGX_HTTP_TRIFECTA_REDIS_BYTES;
}


static void
ngx_http_trifecta_redis_queue(ngx_http_trifecta_redis_t *redis,
    ngx_http_trifecta_redis_cmd_t *cmd,
    ngx_http_trifecta_redis_handler_pt handler, void *data)
{
    cmd->handler = handler;
    cmd->data = data;

    if (redis->state == ngx_http_trifecta_redis_ready) {
        ngx_queue_insert_tail(&redis->out, &cmd->queue);

        /* all commands of this turn of the loop leave together */

        ngx_post_event(redis->connection->write, &ngx_posted_events);

    } else {
        ngx_queue_insert_tail(&redis->waiting, &cmd->queue);
    }

    ngx_http_trifecta_redis_rearm(redis);
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_command(ngx_http_trifecta_redis_t *redis, int argc,
    const char **argv, const size_t *argvlen, ngx_uint_t flags,
    ngx_http_trifecta_redis_handler_pt handler, void *data)
{
    ngx_http_trifecta_redis_cmd_t  *cmd;

    if (!ngx_http_trifecta_redis_takes(redis)) {
        return NULL;
    }

    cmd = ngx_http_trifecta_redis_create_cmd(redis, argc, argv, argvlen);

    if (cmd) {
        cmd->resend = (flags & NGX_HTTP_TRIFECTA_REDIS_RESEND) ? 1 : 0;

        ngx_http_trifecta_redis_queue(redis, cmd, handler, data);
    }

    return cmd;
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_commands(ngx_http_trifecta_redis_t *redis,
    ngx_uint_t n, const u_char *text, size_t len,
    ngx_http_trifecta_redis_handler_pt handler, void *data)
{
    ngx_http_trifecta_redis_cmd_t  *cmd;

    if (!ngx_http_trifecta_redis_takes(redis)) {
        return NULL;
    }

    cmd = ngx_http_trifecta_redis_alloc_cmd(redis, len);

    if (cmd) {
        ngx_memcpy(cmd->buf, text, len);
        cmd->owed = n - 1;

        ngx_http_trifecta_redis_queue(redis, cmd, handler, data);
    }

    return cmd;
}


void
ngx_http_trifecta_redis_charge(ngx_http_trifecta_redis_cmd_t *cmd,
    uint64_t *spent)
{
    if (cmd) {
        cmd->spent = spent;
    }
}


void
ngx_http_trifecta_redis_orphan(ngx_http_trifecta_redis_cmd_t *cmd)
{
    cmd->handler = NULL;
}
