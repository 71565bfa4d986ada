#include "ngx_http_trifecta_confirm_batch.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_shard.h"


static void
ngx_http_trifecta_confirm_free(ngx_http_trifecta_confirm_t *confirm,
    ngx_http_trifecta_confirm_cmd_t *cmd)
{
    confirm->ncmds--;
    confirm->bytes -= cmd->len;

    if (cmd->reply) {
        freeReplyObject(cmd->reply);
    }

    redisFreeCommand(cmd->text);
    ngx_free(cmd);
}


/* The command stays, and is nobody's any more. */

static void
ngx_http_trifecta_confirm_answer(ngx_http_trifecta_confirm_t *confirm,
    ngx_http_trifecta_confirm_cmd_t *cmd, redisReply *reply,
    ngx_uint_t confirmed)
{
    uint64_t                             spent;
    ngx_http_trifecta_redis_answer_t     answer;
    ngx_http_trifecta_redis_handler_pt   handler;

    handler = cmd->handler;

    if (handler == NULL) {
        return;
    }

    cmd->handler = NULL;

    spent = ngx_http_trifecta_usec() - cmd->started;

    *cmd->spent += spent;

    if (cmd->sent) {
        ngx_http_trifecta_observe_store(
                   &ngx_http_trifecta_metrics(confirm->mcf)->redis_time,
                   spent);
    }

    ngx_memzero(&answer, sizeof(ngx_http_trifecta_redis_answer_t));

    answer.reply = reply;
    answer.sent = cmd->sent;
    answer.resent = cmd->resent;
    answer.unconfirmed = !confirmed;

    handler(cmd->data, &answer);
}


void
ngx_http_trifecta_confirm_rearm(ngx_http_trifecta_confirm_t *confirm)
{
    ngx_uint_t                        i, found;
    ngx_msec_t                        first;
    ngx_queue_t                      *q, *queues[2];
    ngx_msec_int_t                    timer;
    ngx_http_trifecta_confirm_cmd_t  *cmd;

    queues[0] = &confirm->batch;
    queues[1] = &confirm->gathered;

    first = 0;
    found = 0;

    for (i = 0; i < 2; i++) {
        for (q = ngx_queue_head(queues[i]);
             q != ngx_queue_sentinel(queues[i]);
             q = ngx_queue_next(q))
        {
            cmd = ngx_http_trifecta_confirm_cmd(q);

            if (cmd->handler == NULL) {
                continue;
            }

            if (!found || (ngx_msec_int_t) (cmd->deadline - first) < 0) {
                first = cmd->deadline;
                found = 1;
            }

            break;
        }
    }

    if (!found) {
        if (confirm->deadline.timer_set) {
            ngx_del_timer(&confirm->deadline);
        }

        return;
    }

    timer = (ngx_msec_int_t) (first - ngx_current_msec);

    ngx_add_timer(&confirm->deadline, timer > 0 ? (ngx_msec_t) timer : 1);
}


void
ngx_http_trifecta_confirm_finish(ngx_http_trifecta_confirm_t *confirm,
    ngx_queue_t *done, ngx_uint_t confirmed)
{
    ngx_queue_t                      *q;
    ngx_http_trifecta_confirm_cmd_t  *cmd;

    while (!ngx_queue_empty(done)) {
        q = ngx_queue_head(done);
        ngx_queue_remove(q);

        cmd = ngx_http_trifecta_confirm_cmd(q);

        ngx_http_trifecta_confirm_answer(confirm, cmd, cmd->reply, confirmed);
        ngx_http_trifecta_confirm_free(confirm, cmd);
    }
}


void
ngx_http_trifecta_confirm_move(ngx_queue_t *to, ngx_queue_t *from)
{
    if (!ngx_queue_empty(from)) {
        ngx_queue_add(to, from);
        ngx_queue_init(from);
    }
}


/* The batch is answered; what has come meanwhile is the next one. */

static void
ngx_http_trifecta_confirm_end(ngx_http_trifecta_confirm_t *confirm,
    ngx_uint_t confirmed)
{
    ngx_queue_t  done;

    confirm->out = 0;

    ngx_queue_init(&done);
    ngx_http_trifecta_confirm_move(&done, &confirm->batch);

    if (!ngx_queue_empty(&confirm->gathered)) {
        ngx_post_event(&confirm->flush, &ngx_posted_events);
    }

    ngx_http_trifecta_confirm_rearm(confirm);
    ngx_http_trifecta_confirm_finish(confirm, &done, confirmed);
}


static void
ngx_http_trifecta_confirm_replied(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_redis_t *redis = data;

    ngx_http_trifecta_confirm_t      *confirm;
    ngx_http_trifecta_confirm_cmd_t  *cmd;

    confirm = redis->data;

    if (answer->reply == NULL) {
        return;     /* lost() sees to it */
    }

    cmd = ngx_http_trifecta_confirm_cmd(confirm->next);
    confirm->next = ngx_queue_next(confirm->next);

    cmd->reply = answer->reply;
    answer->kept = 1;

    if (!confirm->waits
        && confirm->next == ngx_queue_sentinel(&confirm->batch))
    {
        ngx_http_trifecta_confirm_end(confirm, 0);
    }
}


/* The number of replicas, or how many have it on their disks, too. */

static void
ngx_http_trifecta_confirm_waited(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_redis_t *redis = data;

    int64_t                       own, acks;
    redisReply                   *reply;
    ngx_http_trifecta_confirm_t  *confirm;

    confirm = redis->data;
    reply = answer->reply;

    if (reply == NULL) {
        return;
    }

    own = 1;
    acks = -1;

    if (reply->type == REDIS_REPLY_INTEGER) {
        acks = reply->integer;

    } else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        own = ngx_http_trifecta_resp_int(reply->element[0]);
        acks = ngx_http_trifecta_resp_int(reply->element[1]);

    } else {
        ngx_log_error(NGX_LOG_ERR, confirm->log, 0,
                      "trifecta: Redis at %V does not say what its replicas "
                      "have: %s", &redis->peer.name,
                      reply->type == REDIS_REPLY_ERROR ? reply->str
                      : "an unexpected reply");
    }

    ngx_http_trifecta_confirm_end(confirm, own == 1
                                  && acks >= confirm->mcf->replicas);
}


/* SPUBLISH, then WAIT n timeout or WAITAOF 1 n timeout. */

static ngx_int_t
ngx_http_trifecta_confirm_wait(ngx_http_trifecta_confirm_t *confirm)
{
    int                             argc;
    char                            channel[TF_KEY_PREFIX_MAX + 4];
    char                            n[NGX_INT_T_LEN + 1];
    char                            timeout[NGX_INT_T_LEN + 1];
    const char                     *argv[4];
    ngx_http_trifecta_redis_cmd_t  *cmd;

    (void) snprintf(channel, sizeof(channel), "%s:ack",
                    confirm->shard->prefix);
    (void) snprintf(n, sizeof(n), "%d", (int) confirm->mcf->replicas);
    (void) snprintf(timeout, sizeof(timeout), "%d",
                    (int) confirm->mcf->replicas_timeout);

    argv[0] = "SPUBLISH";
    argv[1] = channel;
    argv[2] = "";

    if (ngx_http_trifecta_redis_own(confirm->redis, 3, argv, NULL) == NULL) {
        return NGX_ERROR;
    }

    argc = 0;

    if (confirm->aof) {
        argv[argc++] = "WAITAOF";
        argv[argc++] = "1";

    } else {
        argv[argc++] = "WAIT";
    }

    argv[argc++] = n;
    argv[argc++] = timeout;

    cmd = ngx_http_trifecta_redis_own(confirm->redis, argc, argv,
                                      ngx_http_trifecta_confirm_waited);
    if (cmd == NULL) {
        return NGX_ERROR;
    }

    cmd->deadline += confirm->mcf->replicas_timeout;

    return NGX_OK;
}


static void
ngx_http_trifecta_confirm_write(ngx_http_trifecta_confirm_t *confirm)
{
    ngx_queue_t                       open, failed, *q;
    ngx_http_trifecta_redis_t        *redis;
    ngx_http_trifecta_confirm_cmd_t  *cmd;

    redis = confirm->redis;

    ngx_queue_init(&open);
    ngx_queue_init(&failed);
    ngx_http_trifecta_confirm_move(&open, &confirm->gathered);

    while (!ngx_queue_empty(&open)) {
        q = ngx_queue_head(&open);
        ngx_queue_remove(q);

        cmd = ngx_http_trifecta_confirm_cmd(q);

        if (cmd->handler == NULL
            || ngx_http_trifecta_redis_own_text(redis, cmd->text, cmd->len,
                                           ngx_http_trifecta_confirm_replied)
               == NULL)
        {
            ngx_queue_insert_tail(&failed, q);
            continue;
        }

        if (cmd->sent) {
            cmd->resent = 1;
            ngx_http_trifecta_count_shard(confirm->mcf, confirm->shard,
                                          NGX_HTTP_TRIFECTA_S_RESENT);
        }

        cmd->sent = 1;
        ngx_queue_insert_tail(&confirm->batch, q);
    }

    if (!ngx_queue_empty(&confirm->batch)) {
        confirm->out = 1;
        confirm->next = ngx_queue_head(&confirm->batch);
        confirm->waits = (ngx_http_trifecta_confirm_wait(confirm) == NGX_OK);

        ngx_http_trifecta_redis_rearm(redis);
        ngx_post_event(redis->connection->write, &ngx_posted_events);
    }

    ngx_http_trifecta_confirm_rearm(confirm);
    ngx_http_trifecta_confirm_finish(confirm, &failed, 0);
}


void
ngx_http_trifecta_confirm_flush(ngx_event_t *ev)
{
    ngx_http_trifecta_confirm_t  *confirm;

    confirm = ev->data;

    if (confirm->redis->state == ngx_http_trifecta_redis_ready
        && confirm->known && !confirm->out)
    {
        ngx_http_trifecta_confirm_write(confirm);
    }
}


/* Those whose time is over; one that was written keeps its place. */

void
ngx_http_trifecta_confirm_expire(ngx_event_t *ev)
{
    ngx_uint_t                        i;
    ngx_queue_t                      *q, *next, *queues[2], late;
    ngx_http_trifecta_confirm_t      *confirm;
    ngx_http_trifecta_confirm_cmd_t  *cmd;

    confirm = ev->data;

    queues[0] = &confirm->gathered;
    queues[1] = &confirm->batch;

    ngx_queue_init(&late);

    for (i = 0; i < 2; i++) {
        for (q = ngx_queue_head(queues[i]);
             q != ngx_queue_sentinel(queues[i]);
             q = next)
        {
            next = ngx_queue_next(q);
            cmd = ngx_http_trifecta_confirm_cmd(q);

            if ((ngx_msec_int_t) (cmd->deadline - ngx_current_msec) > 0) {
                break;
            }

            if (cmd->handler == NULL) {
                continue;
            }

            if (i == 0) {
                ngx_queue_remove(q);
                ngx_queue_insert_tail(&late, q);
                continue;
            }

            ngx_http_trifecta_confirm_answer(confirm, cmd, NULL, 0);
        }
    }

    ngx_http_trifecta_confirm_rearm(confirm);
    ngx_http_trifecta_confirm_finish(confirm, &late, 0);
}
