#include "ngx_http_trifecta_redis_cmd.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_shard.h"


#define NGX_HTTP_TRIFECTA_REDIS_IOVS  64


static ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_cmd(ngx_queue_t *q)
{
    return ngx_queue_data(q, ngx_http_trifecta_redis_cmd_t, queue);
}


void
ngx_http_trifecta_redis_rearm(ngx_http_trifecta_redis_t *redis)
{
    ngx_uint_t      i, found;
    ngx_msec_t      first, deadline;
    ngx_queue_t    *queues[3];
    ngx_msec_int_t  timer;

    queues[0] = &redis->waiting;
    queues[1] = &redis->sent;
    queues[2] = &redis->out;

    first = 0;
    found = 0;

    for (i = 0; i < 3; i++) {
        if (ngx_queue_empty(queues[i])) {
            continue;
        }

        deadline = ngx_http_trifecta_redis_cmd(ngx_queue_head(queues[i]))
                   ->deadline;

        if (!found || (ngx_msec_int_t) (deadline - first) < 0) {
            first = deadline;
            found = 1;
        }
    }

    if (redis->owner == NULL) {
        ngx_http_trifecta_slot(redis->mcf)->redis_pending[redis->shard->index]
            = (uint32_t) (redis->ncmds - redis->nown);
    }

    if (!found) {
        if (redis->deadline.timer_set) {
            ngx_del_timer(&redis->deadline);
        }

        return;
    }

    /* only commands of requests keep a worker that wants to leave */

    redis->deadline.cancelable = (redis->ncmds == redis->nown);

    timer = (ngx_msec_int_t) (first - ngx_current_msec);

    ngx_add_timer(&redis->deadline, timer > 0 ? (ngx_msec_t) timer : 1);
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_alloc_cmd(ngx_http_trifecta_redis_t *redis,
    size_t len)
{
    ngx_http_trifecta_redis_cmd_t  *cmd;

    cmd = ngx_alloc(sizeof(ngx_http_trifecta_redis_cmd_t) + len, redis->log);
    if (cmd == NULL) {
        return NULL;
    }

    ngx_memzero(cmd, sizeof(ngx_http_trifecta_redis_cmd_t));

    cmd->buf = (char *) cmd + sizeof(ngx_http_trifecta_redis_cmd_t);
    cmd->len = len;
    cmd->deadline = ngx_current_msec + NGX_HTTP_TRIFECTA_REDIS_TIMEOUT;
    cmd->started = ngx_http_trifecta_usec();

    redis->ncmds++;
    redis->bytes += len;

    return cmd;
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_create_cmd(ngx_http_trifecta_redis_t *redis, int argc,
    const char **argv, const size_t *argvlen)
{
    size_t                          len;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    len = ngx_http_trifecta_resp_size(argc, argv, argvlen);

    cmd = ngx_http_trifecta_redis_alloc_cmd(redis, len);

    if (cmd) {
        (void) ngx_http_trifecta_resp_write((u_char *) cmd->buf, argc, argv,
                                            argvlen);
    }

    return cmd;
}


static void
ngx_http_trifecta_redis_free_cmd(ngx_http_trifecta_redis_t *redis,
    ngx_http_trifecta_redis_cmd_t *cmd)
{
    ngx_uint_t  i;

    for (i = 0; i < cmd->nfirst; i++) {
        freeReplyObject(cmd->first[i]);
    }

    redis->ncmds--;
    redis->nown -= cmd->own;
    redis->bytes -= cmd->len;

    ngx_free(cmd);
}


/* Whether the handler has kept the reply. */

static ngx_uint_t
ngx_http_trifecta_redis_answer(ngx_http_trifecta_redis_t *redis,
    ngx_http_trifecta_redis_cmd_t *cmd, redisReply *reply)
{
    void                                *data;
    uint64_t                             spent;
    ngx_uint_t                           i, nfirst;
    redisReply                          *first[NGX_HTTP_TRIFECTA_REDIS_FIRST];
    ngx_http_trifecta_redis_answer_t     answer;
    ngx_http_trifecta_redis_handler_pt   handler;

    spent = ngx_http_trifecta_usec() - cmd->started;

    if (cmd->sent && !cmd->own) {
        ngx_http_trifecta_observe_store(
                     &ngx_http_trifecta_metrics(redis->mcf)->redis_time,
                     spent);
    }

    if (cmd->handler && cmd->spent) {
        *cmd->spent += spent;
    }

    ngx_memzero(&answer, sizeof(ngx_http_trifecta_redis_answer_t));

    answer.reply = reply;
    answer.sent = cmd->sent;
    answer.resent = cmd->resent;

    handler = cmd->handler;
    data = cmd->data;

    /* the command is gone before whoever gets the answer does anything */

    nfirst = cmd->nfirst;

    for (i = 0; i < nfirst; i++) {
        first[i] = cmd->first[i];
    }

    answer.first = first;
    answer.nfirst = nfirst;
    cmd->nfirst = 0;

    ngx_http_trifecta_redis_free_cmd(redis, cmd);

    if (handler) {
        handler(data, &answer);
    }

    for (i = 0; i < nfirst; i++) {
        freeReplyObject(first[i]);
    }

    return answer.kept;
}


void
ngx_http_trifecta_redis_doom(ngx_http_trifecta_redis_t *redis,
    ngx_queue_t *doomed)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(doomed)) {
        q = ngx_queue_head(doomed);
        ngx_queue_remove(q);

        (void) ngx_http_trifecta_redis_answer(redis,
                                              ngx_http_trifecta_redis_cmd(q),
                                              NULL);
    }
}


static void
ngx_http_trifecta_redis_add_own(ngx_http_trifecta_redis_t *redis,
    ngx_http_trifecta_redis_cmd_t *cmd,
    ngx_http_trifecta_redis_handler_pt handler)
{
    cmd->own = 1;
    redis->nown++;
    cmd->handler = handler;
    cmd->data = redis;

    ngx_queue_insert_tail(&redis->out, &cmd->queue);
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_own(ngx_http_trifecta_redis_t *redis, int argc,
    const char **argv, ngx_http_trifecta_redis_handler_pt handler)
{
    ngx_http_trifecta_redis_cmd_t  *cmd;

    cmd = ngx_http_trifecta_redis_create_cmd(redis, argc, argv, NULL);

    if (cmd) {
        ngx_http_trifecta_redis_add_own(redis, cmd, handler);
    }

    return cmd;
}


ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_own_text(ngx_http_trifecta_redis_t *redis,
    const char *text, size_t len, ngx_http_trifecta_redis_handler_pt handler)
{
    ngx_http_trifecta_redis_cmd_t  *cmd;

    cmd = ngx_http_trifecta_redis_alloc_cmd(redis, len);

    if (cmd) {
        ngx_memcpy(cmd->buf, text, len);
        ngx_http_trifecta_redis_add_own(redis, cmd, handler);
    }

    return cmd;
}


/* Not those by which the connection of requests looks after itself. */

static void
ngx_http_trifecta_redis_count(ngx_http_trifecta_redis_t *redis,
    ngx_http_trifecta_redis_cmd_t *cmd)
{
    if (cmd->own && redis->owner == NULL) {
        return;
    }

    ngx_http_trifecta_count_shard(redis->mcf, redis->shard,
                                  cmd->resent ? NGX_HTTP_TRIFECTA_S_RESENT
                                              : NGX_HTTP_TRIFECTA_S_COMMANDS);
}


ngx_int_t
ngx_http_trifecta_redis_write(ngx_http_trifecta_redis_t *redis)
{
    ngx_buf_t                       bufs[NGX_HTTP_TRIFECTA_REDIS_IOVS];
    ngx_uint_t                      i, n;
    ngx_chain_t                     chain[NGX_HTTP_TRIFECTA_REDIS_IOVS], *cl;
    ngx_queue_t                    *q;
    ngx_connection_t               *c;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    c = redis->connection;

    while (!ngx_queue_empty(&redis->out)) {

        n = 0;

        for (q = ngx_queue_head(&redis->out);
             q != ngx_queue_sentinel(&redis->out)
             && n < NGX_HTTP_TRIFECTA_REDIS_IOVS;
             q = ngx_queue_next(q))
        {
            cmd = ngx_http_trifecta_redis_cmd(q);

            ngx_memzero(&bufs[n], sizeof(ngx_buf_t));
            bufs[n].pos = (u_char *) cmd->buf + cmd->written;
            bufs[n].last = (u_char *) cmd->buf + cmd->len;
            bufs[n].memory = 1;

            chain[n].buf = &bufs[n];
            chain[n].next = NULL;

            if (n) {
                chain[n - 1].next = &chain[n];
            }

            n++;
        }

        cl = c->send_chain(c, chain,
                           ngx_http_trifecta_fault_slice(redis->mcf));

        if (cl == NGX_CHAIN_ERROR) {
            return NGX_ERROR;
        }

        for (i = 0; i < n; i++) {
            q = ngx_queue_head(&redis->out);
            cmd = ngx_http_trifecta_redis_cmd(q);

            if (bufs[i].pos == (u_char *) cmd->buf + cmd->written) {
                break;
            }

            if (cmd->written == 0) {
                cmd->resent = cmd->sent;
                cmd->sent = 1;

                ngx_http_trifecta_redis_count(redis, cmd);
            }

            cmd->written = bufs[i].pos - (u_char *) cmd->buf;

            if (cmd->written < cmd->len) {
                break;
            }

            ngx_queue_remove(q);
            ngx_queue_insert_tail(&redis->sent, q);

            ngx_http_trifecta_fault_written(redis->mcf, cmd);
        }

        if (cl != NULL) {
            ngx_http_trifecta_fault_sliced(redis->mcf, c);
            break;
        }
    }

    return ngx_handle_write_event(c->write, 0);
}


/* What waited goes out; what nobody waits for any more does not. */

void
ngx_http_trifecta_redis_release(ngx_http_trifecta_redis_t *redis)
{
    ngx_queue_t                    *q;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    while (!ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        ngx_queue_remove(q);

        cmd = ngx_http_trifecta_redis_cmd(q);

        if (cmd->handler) {
            ngx_queue_insert_tail(&redis->out, q);

        } else {
            ngx_http_trifecta_redis_free_cmd(redis, cmd);
        }
    }

    ngx_post_event(redis->connection->write, &ngx_posted_events);
}


/*
 * Whose reply is next; NULL: nobody's.  Of several commands that are written
 * together the first may be answered before the last one is written: the
 * socket takes what it has room for.
 */

static ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_next(ngx_http_trifecta_redis_t *redis)
{
    ngx_http_trifecta_redis_cmd_t  *cmd;

    if (!ngx_queue_empty(&redis->sent)) {
        return ngx_http_trifecta_redis_cmd(ngx_queue_head(&redis->sent));
    }

    if (ngx_queue_empty(&redis->out)) {
        return NULL;
    }

    cmd = ngx_http_trifecta_redis_cmd(ngx_queue_head(&redis->out));

    return cmd->owed && cmd->written ? cmd : NULL;
}


ngx_int_t
ngx_http_trifecta_redis_replies(ngx_http_trifecta_redis_t *redis,
    const char **err)
{
    ngx_int_t                       rc;
    redisReply                     *reply;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    for ( ;; ) {

        rc = ngx_http_trifecta_resp_next(&redis->resp, &reply, err);

        if (rc != NGX_OK) {
            return rc == NGX_AGAIN ? NGX_OK : NGX_ERROR;
        }

        if (redis->owner && redis->owner->push
            && ngx_http_trifecta_resp_is(reply, 0, "smessage"))
        {
            redis->owner->push(redis->data, reply);
            freeReplyObject(reply);
            continue;
        }

        cmd = ngx_http_trifecta_redis_next(redis);

        if (cmd == NULL) {
            freeReplyObject(reply);
            *err = "a reply without a command";
            return NGX_ERROR;
        }

        if (cmd->owed) {
            cmd->owed--;
            cmd->first[cmd->nfirst++] = reply;
            continue;
        }

        ngx_queue_remove(&cmd->queue);

        if (ngx_http_trifecta_resp_error(reply, "READONLY")) {
            redis->readonly = 1;
        }

        if (!ngx_http_trifecta_redis_answer(redis, cmd, reply)) {
            freeReplyObject(reply);
        }

        if (redis->refused) {
            *err = (char *) redis->reason;
            return NGX_ERROR;
        }
    }
}


void
ngx_http_trifecta_redis_sort(ngx_http_trifecta_redis_t *redis,
    ngx_queue_t *doomed)
{
    ngx_uint_t                      i, waits;
    ngx_queue_t                    *q, *queues[3], open;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    queues[0] = &redis->sent;
    queues[1] = &redis->out;
    queues[2] = &redis->waiting;

    ngx_queue_init(&open);

    for (i = 0; i < 3; i++) {
        if (!ngx_queue_empty(queues[i])) {
            ngx_queue_add(&open, queues[i]);
            ngx_queue_init(queues[i]);
        }
    }

    while (!ngx_queue_empty(&open)) {
        q = ngx_queue_head(&open);
        ngx_queue_remove(q);

        cmd = ngx_http_trifecta_redis_cmd(q);

        if (cmd->own || cmd->handler == NULL) {
            waits = 0;

        } else if (cmd->retried) {

            /* until its time is over, unless this was its second try */

            waits = (cmd->written == 0);

        } else if (cmd->sent) {
            waits = cmd->resend;

        } else {

            /* nothing of it has left: it may wait for one attempt */

            waits = (redis->fails == 0);
        }

        if (!waits) {
            ngx_queue_insert_tail(doomed, q);
            continue;
        }

        if (!cmd->retried) {
            cmd->retried = cmd->sent;
            cmd->written = 0;
            cmd->deadline = ngx_current_msec
                            + NGX_HTTP_TRIFECTA_REDIS_TIMEOUT;
        }

        ngx_queue_insert_tail(&redis->waiting, q);
    }
}


ngx_uint_t
ngx_http_trifecta_redis_expire(ngx_http_trifecta_redis_t *redis,
    ngx_queue_t *doomed)
{
    ngx_queue_t                    *q;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    while (!ngx_queue_empty(&redis->waiting)) {
        q = ngx_queue_head(&redis->waiting);
        cmd = ngx_http_trifecta_redis_cmd(q);

        if ((ngx_msec_int_t) (cmd->deadline - ngx_current_msec) > 0) {
            break;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(doomed, q);
    }

    if (!ngx_queue_empty(&redis->sent)) {
        q = ngx_queue_head(&redis->sent);

    } else if (!ngx_queue_empty(&redis->out)) {
        q = ngx_queue_head(&redis->out);

    } else {
        return 0;
    }

    cmd = ngx_http_trifecta_redis_cmd(q);

    return (ngx_msec_int_t) (cmd->deadline - ngx_current_msec) <= 0;
}
