#include "ngx_http_trifecta_channels.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_worker.h"


#define NGX_HTTP_TRIFECTA_PORTION  128      /* waiters called in one go */
#define NGX_HTTP_TRIFECTA_PAUSE    5        /* ms, before the next portion */


void
ngx_http_trifecta_waiter_due(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_waiter_t *waiter)
{
    waiter->asked = 0;
    waiter->ended = 0;

    if (waiter->called) {
        return;
    }

    waiter->called = 1;
    ngx_queue_insert_tail(&sub->due, &waiter->due);

    if (!sub->call.posted && !sub->call.timer_set) {
        ngx_post_event(&sub->call, &ngx_posted_events);
    }
}


void
ngx_http_trifecta_subscriber_call(ngx_event_t *ev)
{
    ngx_uint_t                       n;
    ngx_queue_t                     *q;
    ngx_http_trifecta_waiter_t      *waiter;
    ngx_http_trifecta_subscriber_t  *sub;

    sub = ev->data;

    for (n = 0; n < NGX_HTTP_TRIFECTA_PORTION; n++) {

        if (ngx_queue_empty(&sub->due)) {
            return;
        }

        q = ngx_queue_head(&sub->due);
        ngx_queue_remove(q);

        waiter = ngx_queue_data(q, ngx_http_trifecta_waiter_t, due);
        waiter->called = 0;

        /* it may leave, and others with it */

        waiter->handler(waiter->data, ngx_http_trifecta_ring_read);
    }

    if (!ngx_queue_empty(&sub->due)) {
        ngx_add_timer(ev, NGX_HTTP_TRIFECTA_PAUSE);
    }
}


void
ngx_http_trifecta_channel_due(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_channel_t *channel, ngx_http_trifecta_rings_e rings)
{
    ngx_uint_t                   ended;
    ngx_queue_t                 *q;
    ngx_http_trifecta_waiter_t  *waiter;

    for (q = ngx_queue_head(&channel->waiters);
         q != ngx_queue_sentinel(&channel->waiters);
         q = ngx_queue_next(q))
    {
        waiter = ngx_queue_data(q, ngx_http_trifecta_waiter_t, queue);

        if (rings >= ngx_http_trifecta_rings_end || waiter->events
            || (rings == ngx_http_trifecta_rings_state && waiter->every))
        {
            ended = rings == ngx_http_trifecta_rings_ended && !waiter->called
                    && !waiter->asked;

            ngx_http_trifecta_waiter_due(sub, waiter);

            waiter->ended = ended;
        }
    }
}


/*
 * Those who hear it may leave, and the channel with them: it is looked up
 * after each, and who was told goes to the end of the queue.  Of very many the
 * streams read it, in portions, instead.
 */

void
ngx_http_trifecta_channel_said(ngx_http_trifecta_subscriber_t *sub,
    ngx_str_t *name, ngx_str_t *text)
{
    ngx_uint_t                    n;
    ngx_queue_t                  *q;
    ngx_http_trifecta_waiter_t   *waiter;
    ngx_http_trifecta_channel_t  *channel;

    channel = ngx_http_trifecta_channel_find(sub, name);

    if (channel == NULL) {
        return;
    }

    n = 0;

    for (q = ngx_queue_head(&channel->waiters);
         q != ngx_queue_sentinel(&channel->waiters);
         q = ngx_queue_next(q))
    {
        n++;
    }

    if (n > NGX_HTTP_TRIFECTA_PORTION) {
        ngx_http_trifecta_channel_due(sub, channel,
                                      ngx_http_trifecta_rings_event);
        return;
    }

    while (n-- && channel != NULL) {
        q = ngx_queue_head(&channel->waiters);
        waiter = ngx_queue_data(q, ngx_http_trifecta_waiter_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&channel->waiters, q);

        /* who is to read does so, and finds it */

        if (waiter->events && !waiter->called && !waiter->asked) {
            waiter->said(waiter->data, text);
            channel = ngx_http_trifecta_channel_find(sub, name);
        }
    }
}


ngx_int_t
ngx_http_trifecta_channel_other(ngx_http_trifecta_subscriber_t *sub,
    ngx_str_t *name, u_char kind, u_char *buf, ngx_str_t *other)
{
    size_t  prefix;

    prefix = sub->inv.len - (sizeof(":inv") - 1);

    if (name->len != prefix + 3 + TF_ID_TEXT_LEN
        || name->data[prefix] != ':' || name->data[prefix + 1] != kind)
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(buf, name->data, name->len);
    buf[prefix + 1] = (kind == 'e') ? 'c' : 'e';
    buf[name->len] = '\0';

    other->data = buf;
    other->len = name->len;

    return NGX_OK;
}


ngx_http_trifecta_channel_t *
ngx_http_trifecta_channel_find(ngx_http_trifecta_subscriber_t *sub,
    ngx_str_t *name)
{
    return (ngx_http_trifecta_channel_t *)
               ngx_str_rbtree_lookup(&sub->channels, name,
                                     ngx_crc32_short(name->data, name->len));
}


ngx_http_trifecta_channel_t *
ngx_http_trifecta_channel_next(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_channel_t *channel)
{
    ngx_rbtree_node_t  *node;

    if (channel) {
        node = ngx_rbtree_next(&sub->channels, &channel->node.node);

    } else if (sub->channels.root == &sub->sentinel) {
        node = NULL;

    } else {
        node = ngx_rbtree_min(sub->channels.root, &sub->sentinel);
    }

    return (ngx_http_trifecta_channel_t *) node;
}


static ngx_uint_t
ngx_http_trifecta_subscriber_connected(ngx_http_trifecta_subscriber_t *sub)
{
    return sub->redis->state == ngx_http_trifecta_redis_ready;
}


/*
 * Its events, too, or not any more.  Without a connection nothing is asked:
 * everything is, when there is one.
 */

static void
ngx_http_trifecta_channel_follow(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_channel_t *channel)
{
    u_char      buf[NGX_HTTP_TRIFECTA_CHANNEL_MAX];
    ngx_str_t   name;
    ngx_uint_t  wanted;

    wanted = channel->nevents > 0;

    if (wanted == channel->follows
        || !ngx_http_trifecta_subscriber_connected(sub)
        || ngx_http_trifecta_channel_other(sub, &channel->node.str, 'c', buf,
                                           &name)
           != NGX_OK)
    {
        return;
    }

    if (ngx_http_trifecta_subscriber_send(sub, wanted ? "SSUBSCRIBE"
                                                      : "SUNSUBSCRIBE",
                                          &name, wanted
                                       ? ngx_http_trifecta_subscriber_confirmed
                                       : NULL)
        == NGX_OK)
    {
        channel->follows = wanted;
    }
}


void
ngx_http_trifecta_channel_ask(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_channel_t *channel)
{
    /* events first: when the doorbell is confirmed, so are they */

    ngx_http_trifecta_channel_follow(sub, channel);

    channel->asked = (ngx_http_trifecta_subscriber_send(sub, "SSUBSCRIBE",
                                       &channel->node.str,
                                       ngx_http_trifecta_subscriber_confirmed)
                      == NGX_OK);
}


static void
ngx_http_trifecta_channel_leave(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_channel_t *channel)
{
    ngx_rbtree_delete(&sub->channels, &channel->node.node);

    ngx_http_trifecta_channel_follow(sub, channel);

    if (channel->asked) {
        (void) ngx_http_trifecta_subscriber_send(sub, "SUNSUBSCRIBE",
                                                 &channel->node.str, NULL);
    }

    ngx_http_trifecta_slot(sub->mcf)->channels--;

    ngx_free(channel);
}


static ngx_http_trifecta_channel_t *
ngx_http_trifecta_channel_create(ngx_http_trifecta_subscriber_t *sub,
    ngx_str_t *name)
{
    ngx_http_trifecta_channel_t  *channel;

    channel = ngx_calloc(sizeof(ngx_http_trifecta_channel_t) + name->len,
                         sub->log);
    if (channel == NULL) {
        return NULL;
    }

    ngx_queue_init(&channel->waiters);
    ngx_memcpy(channel->name, name->data, name->len);

    channel->node.str.data = channel->name;
    channel->node.str.len = name->len;
    channel->node.node.key = ngx_crc32_short(name->data, name->len);

    ngx_rbtree_insert(&sub->channels, &channel->node.node);
    ngx_http_trifecta_slot(sub->mcf)->channels++;

    return channel;
}


ngx_int_t
ngx_http_trifecta_subscriber_join(ngx_http_trifecta_subscriber_t *sub,
    ngx_str_t *id, ngx_http_trifecta_waiter_t *waiter)
{
    u_char                        buf[NGX_HTTP_TRIFECTA_CHANNEL_MAX];
    ngx_str_t                     name;
    ngx_http_trifecta_worker_t   *worker;
    ngx_http_trifecta_channel_t  *channel;

    worker = sub->mcf->worker;

    if (sub->leaving || ngx_exiting
        || worker->nwaiters >= (ngx_uint_t) sub->mcf->max_waiters)
    {
        return NGX_DECLINED;
    }

    name.data = buf;
    name.len = ngx_snprintf(buf, sizeof(buf), "%s:c:%V", sub->shard->prefix,
                            id)
               - buf;

    ngx_http_trifecta_redis_hint(sub->redis);

    channel = ngx_http_trifecta_channel_find(sub, &name);

    if (channel == NULL) {

        channel = ngx_http_trifecta_channel_create(sub, &name);
        if (channel == NULL) {
            return NGX_DECLINED;
        }

        channel->nevents = waiter->events;

        if (ngx_http_trifecta_subscriber_connected(sub)) {
            ngx_http_trifecta_channel_ask(sub, channel);
        }

    } else if (waiter->events) {

        /* who reads before this is confirmed is called when it is */

        channel->nevents++;

        if (channel->asked) {
            ngx_http_trifecta_channel_follow(sub, channel);
        }
    }

    waiter->subscriber = sub;
    waiter->channel = channel;
    waiter->called = 0;
    ngx_queue_insert_tail(&channel->waiters, &waiter->queue);
    ngx_queue_insert_tail(waiter->events ? &sub->streams : &sub->waiters,
                          &waiter->all);

    worker->nwaiters++;
    ngx_http_trifecta_slot(sub->mcf)->waiters = worker->nwaiters;

    /* without a connection, after a failed attempt, nothing will come soon */

    waiter->asked = !channel->heard
                    && (ngx_http_trifecta_subscriber_connected(sub)
                        || sub->redis->fails == 0);

    return waiter->asked ? NGX_AGAIN : NGX_OK;
}


void
ngx_http_trifecta_subscriber_leave(ngx_http_trifecta_waiter_t *waiter)
{
    ngx_http_trifecta_worker_t      *worker;
    ngx_http_trifecta_channel_t     *channel;
    ngx_http_trifecta_subscriber_t  *sub;

    sub = waiter->subscriber;

    if (sub == NULL) {
        return;
    }

    worker = sub->mcf->worker;
    channel = waiter->channel;

    waiter->subscriber = NULL;
    waiter->channel = NULL;
    ngx_queue_remove(&waiter->queue);
    ngx_queue_remove(&waiter->all);

    if (waiter->called) {
        waiter->called = 0;
        ngx_queue_remove(&waiter->due);
    }

    if (waiter->events) {
        channel->nevents--;
    }

    worker->nwaiters--;
    ngx_http_trifecta_slot(sub->mcf)->waiters = worker->nwaiters;

    if (ngx_queue_empty(&channel->waiters)) {
        ngx_http_trifecta_channel_leave(sub, channel);

    } else {
        ngx_http_trifecta_channel_follow(sub, channel);
    }
}
