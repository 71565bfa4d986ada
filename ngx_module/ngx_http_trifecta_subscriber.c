#include "ngx_http_trifecta_channels.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_read.h"
#include "ngx_http_trifecta_shard.h"


static void ngx_http_trifecta_subscriber_ready(void *data);
static void ngx_http_trifecta_subscriber_lost(void *data);
static void ngx_http_trifecta_subscriber_push(void *data, redisReply *reply);


static const ngx_http_trifecta_redis_owner_t  ngx_http_trifecta_subscriber = {
    " for messages",
    ngx_http_trifecta_subscriber_ready,
    ngx_http_trifecta_subscriber_lost,
    ngx_http_trifecta_subscriber_push
};


static ngx_uint_t
ngx_http_trifecta_subscriber_is_inv(ngx_http_trifecta_subscriber_t *sub,
    ngx_str_t *name)
{
    return name->len == sub->inv.len
           && ngx_memcmp(name->data, sub->inv.data, name->len) == 0;
}


void
ngx_http_trifecta_subscriber_confirmed(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_redis_t *redis = data;

    u_char                          *last;
    u_char                           buf[NGX_HTTP_TRIFECTA_CHANNEL_MAX];
    ngx_str_t                        name, other;
    redisReply                      *reply;
    ngx_http_trifecta_channel_t     *channel;
    ngx_http_trifecta_deletions_t   *deletions;
    ngx_http_trifecta_subscriber_t  *sub;

    sub = redis->data;
    reply = answer->reply;

    if (reply == NULL) {
        return;
    }

    if (!ngx_http_trifecta_resp_is(reply, 0, "ssubscribe")
        || reply->elements < 2
        || reply->element[1]->type != REDIS_REPLY_STRING)
    {
        last = ngx_snprintf(redis->reason, sizeof(redis->reason) - 1,
                            "Redis does not let it subscribe: %s",
                            reply->type == REDIS_REPLY_ERROR ? reply->str
                            : "an unexpected reply");
        *last = '\0';
        redis->refused = 1;
        return;
    }

    name.data = (u_char *) reply->element[1]->str;
    name.len = reply->element[1]->len;

    if (ngx_http_trifecta_subscriber_is_inv(sub, &name)) {
        sub->up = 1;
        ngx_http_trifecta_slot(sub->mcf)->subscriber_ready
            |= (ngx_atomic_uint_t) 1 << sub->shard->index;

        for (deletions = sub->deletions; deletions;
             deletions = deletions->next)
        {
            deletions->handler(deletions->data, NULL);
        }

        return;
    }

    if (ngx_http_trifecta_channel_other(sub, &name, 'e', buf, &other)
        == NGX_OK)
    {
        /* a doorbell that is not confirmed yet calls them when it is */

        channel = ngx_http_trifecta_channel_find(sub, &other);

        if (channel != NULL && channel->heard) {
            ngx_http_trifecta_channel_due(sub, channel,
                                          ngx_http_trifecta_rings_event);
        }

        return;
    }

    channel = ngx_http_trifecta_channel_find(sub, &name);

    if (channel != NULL) {
        channel->heard = 1;
        ngx_http_trifecta_channel_due(sub, channel,
                                      ngx_http_trifecta_rings_end);
    }
}


ngx_int_t
ngx_http_trifecta_subscriber_send(ngx_http_trifecta_subscriber_t *sub,
    const char *command, ngx_str_t *name,
    ngx_http_trifecta_redis_handler_pt handler)
{
    const char                 *argv[2];
    ngx_http_trifecta_redis_t  *redis;

    redis = sub->redis;

    argv[0] = command;
    argv[1] = (char *) name->data;

    if (ngx_http_trifecta_redis_own(redis, 2, argv, handler) == NULL) {
        return NGX_ERROR;   /* no memory: waiters look by themselves */
    }

    ngx_http_trifecta_redis_rearm(redis);
    ngx_post_event(redis->connection->write, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_http_trifecta_subscriber_ready(void *data)
{
    ngx_http_trifecta_subscriber_t *sub = data;

    ngx_http_trifecta_channel_t  *channel;

    if (ngx_http_trifecta_subscriber_send(sub, "SSUBSCRIBE", &sub->inv,
                                       ngx_http_trifecta_subscriber_confirmed)
        != NGX_OK)
    {
        return;
    }

    for (channel = ngx_http_trifecta_channel_next(sub, NULL); channel;
         channel = ngx_http_trifecta_channel_next(sub, channel))
    {
        ngx_http_trifecta_channel_ask(sub, channel);
    }
}


/*
 * Those who have not read yet need not wait for what will not come; those who
 * sleep must know that nothing will wake them, and look by themselves.
 */

static void
ngx_http_trifecta_subscriber_deaf(ngx_http_trifecta_subscriber_t *sub,
    ngx_queue_t *waiters, ngx_uint_t up)
{
    ngx_queue_t                 *q;
    ngx_http_trifecta_waiter_t  *waiter;

    for (q = ngx_queue_head(waiters);
         q != ngx_queue_sentinel(waiters);
         q = ngx_queue_next(q))
    {
        waiter = ngx_queue_data(q, ngx_http_trifecta_waiter_t, all);

        if (up || waiter->asked) {
            ngx_http_trifecta_waiter_due(sub, waiter);
        }
    }
}


static void
ngx_http_trifecta_subscriber_lost(void *data)
{
    ngx_http_trifecta_subscriber_t *sub = data;

    ngx_uint_t                    up;
    ngx_http_trifecta_channel_t  *channel;

    up = sub->up;
    sub->up = 0;
    ngx_http_trifecta_slot(sub->mcf)->subscriber_ready
        &= ~((ngx_atomic_uint_t) 1 << sub->shard->index);

    for (channel = ngx_http_trifecta_channel_next(sub, NULL); channel;
         channel = ngx_http_trifecta_channel_next(sub, channel))
    {
        channel->asked = 0;
        channel->heard = 0;
        channel->follows = 0;
    }

    ngx_http_trifecta_subscriber_deaf(sub, &sub->waiters, up);
    ngx_http_trifecta_subscriber_deaf(sub, &sub->streams, up);
}


static void
ngx_http_trifecta_subscriber_push(void *data, redisReply *reply)
{
    ngx_http_trifecta_subscriber_t *sub = data;

    u_char                          buf[NGX_HTTP_TRIFECTA_CHANNEL_MAX];
    ngx_str_t                       name, text, other;
    tf_job_state_t                  state;
    ngx_http_trifecta_rings_e       rings;
    ngx_http_trifecta_channel_t    *channel;
    ngx_http_trifecta_deletions_t  *deletions;

    if (reply->elements < 3 || reply->element[1]->type != REDIS_REPLY_STRING
        || reply->element[2]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    name.data = (u_char *) reply->element[1]->str;
    name.len = reply->element[1]->len;
    text.data = (u_char *) reply->element[2]->str;
    text.len = reply->element[2]->len;

    if (ngx_http_trifecta_subscriber_is_inv(sub, &name)) {

        for (deletions = sub->deletions; deletions;
             deletions = deletions->next)
        {
            deletions->handler(deletions->data, &text);
        }

        return;
    }

    if (ngx_http_trifecta_channel_other(sub, &name, 'e', buf, &other)
        == NGX_OK)
    {
        ngx_http_trifecta_channel_said(sub, &other, &text);
        return;
    }

    channel = ngx_http_trifecta_channel_find(sub, &name);

    if (channel != NULL) {
        state = ngx_http_trifecta_state_of((char *) text.data, text.len);

        if (ngx_http_trifecta_resp_is(reply, 2, "event")) {
            rings = ngx_http_trifecta_rings_event;

        } else if (ngx_http_trifecta_resp_is(reply, 2, "ledgered")
                   || (state != TF_JOB_NSTATES
                       && !ngx_http_trifecta_state_ends(state)))
        {
            rings = ngx_http_trifecta_rings_state;

        } else {
            rings = state == TF_JOB_NSTATES ? ngx_http_trifecta_rings_end
                                            : ngx_http_trifecta_rings_ended;
        }

        ngx_http_trifecta_channel_due(sub, channel, rings);
    }
}


ngx_uint_t
ngx_http_trifecta_subscriber_up(ngx_http_trifecta_subscriber_t *sub)
{
    return sub->up;
}


ngx_http_trifecta_redis_t *
ngx_http_trifecta_subscriber_redis(ngx_http_trifecta_subscriber_t *sub)
{
    return sub->redis;
}


void
ngx_http_trifecta_subscriber_deletions(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_deletions_t *deletions)
{
    deletions->next = sub->deletions;
    sub->deletions = deletions;
}


/* Start and end */

/*
 * nginx calls the read handler of connections that are idle when the worker
 * is told to leave, and there is no other call at that time.  This one is
 * always there, whatever became of Redis: its descriptor has no events.
 */

static void
ngx_http_trifecta_subscriber_leaving(ngx_event_t *rev)
{
    ngx_queue_t                     *q;
    ngx_connection_t                *c;
    ngx_http_trifecta_waiter_t      *waiter;
    ngx_http_trifecta_subscriber_t  *sub;

    c = rev->data;
    sub = c->data;

    if (!c->close) {
        return;
    }

    sub->leaving = 1;

    while (!ngx_queue_empty(&sub->waiters)) {
        q = ngx_queue_head(&sub->waiters);
        waiter = ngx_queue_data(q, ngx_http_trifecta_waiter_t, all);

        ngx_http_trifecta_subscriber_leave(waiter);

        waiter->handler(waiter->data, ngx_http_trifecta_ring_leaving);
    }
}


static void
ngx_http_trifecta_subscriber_no_event(ngx_event_t *ev)
{
}


static ngx_int_t
ngx_http_trifecta_subscriber_bell(ngx_http_trifecta_subscriber_t *sub)
{
    ngx_socket_t       fd;
    ngx_connection_t  *c;

    fd = ngx_open_file("/dev/null", NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ALERT, sub->log, ngx_errno,
                      ngx_open_file_n " \"/dev/null\" failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, sub->log);

    if (c == NULL) {
        (void) ngx_close_file(fd);
        return NGX_ERROR;
    }

    c->data = sub;
    c->idle = 1;
    c->log = sub->log;
    c->read->log = sub->log;
    c->write->log = sub->log;
    c->read->handler = ngx_http_trifecta_subscriber_leaving;
    c->write->handler = ngx_http_trifecta_subscriber_no_event;

    sub->bell = c;

    return NGX_OK;
}


ngx_http_trifecta_subscriber_t *
ngx_http_trifecta_subscriber_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_shard_t *shard)
{
    ngx_http_trifecta_subscriber_t  *sub;

    sub = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_subscriber_t));
    if (sub == NULL) {
        return NULL;
    }

    sub->mcf = mcf;
    sub->shard = shard;
    sub->log = cycle->log;
    sub->fd = (ngx_socket_t) -1;

    ngx_rbtree_init(&sub->channels, &sub->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&sub->waiters);
    ngx_queue_init(&sub->streams);
    ngx_queue_init(&sub->due);

    sub->call.handler = ngx_http_trifecta_subscriber_call;
    sub->call.data = sub;
    sub->call.log = cycle->log;
    sub->call.cancelable = 1;

    sub->inv.data = sub->inv_name;
    sub->inv.len = ngx_sprintf(sub->inv_name, "%s:inv", shard->prefix)
                   - sub->inv_name;

    if (ngx_http_trifecta_subscriber_bell(sub) != NGX_OK) {
        return NULL;
    }

    sub->redis = ngx_http_trifecta_redis_create(cycle, mcf, shard,
                                                &ngx_http_trifecta_subscriber,
                                                sub);

    return sub->redis ? sub : NULL;
}


void
ngx_http_trifecta_subscriber_destroy(ngx_http_trifecta_subscriber_t *sub)
{
    ngx_http_trifecta_redis_destroy(sub->redis);

    if (sub->call.timer_set) {
        ngx_del_timer(&sub->call);
    }

    if (sub->call.posted) {
        ngx_delete_posted_event(&sub->call);
    }

    ngx_close_connection(sub->bell);
}
