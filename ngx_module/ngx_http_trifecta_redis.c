#include "ngx_http_trifecta_redis_cmd.h"
#include "ngx_http_trifecta_install.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_worker.h"


/* 50 ms, then twice, ... so often */
#define NGX_HTTP_TRIFECTA_REDIS_DOUBLED  5


static void ngx_http_trifecta_redis_fail(ngx_http_trifecta_redis_t *redis,
    const char *reason);


static void
ngx_http_trifecta_redis_flush(ngx_http_trifecta_redis_t *redis)
{
    if (ngx_http_trifecta_redis_write(redis) != NGX_OK) {
        ngx_http_trifecta_redis_fail(redis, "sending to Redis failed");
    }
}


static void
ngx_http_trifecta_redis_greet(ngx_http_trifecta_redis_t *redis)
{
    if (redis->connection->write->timer_set) {
        ngx_del_timer(redis->connection->write);
    }

    redis->state = ngx_http_trifecta_redis_greeting;

    if (ngx_http_trifecta_redis_introduce(redis) != NGX_OK) {
        ngx_http_trifecta_redis_fail(redis, "no memory");
        return;
    }

    ngx_http_trifecta_redis_rearm(redis);
    ngx_http_trifecta_redis_flush(redis);
}


static void
ngx_http_trifecta_redis_read_handler(ngx_event_t *rev)
{
    u_char                      buf[16384];
    ssize_t                     n;
    const char                 *err;
    ngx_uint_t                  was;
    ngx_connection_t           *c;
    ngx_http_trifecta_redis_t  *redis;

    c = rev->data;
    redis = c->data;

    if (redis->state == ngx_http_trifecta_redis_connecting) {
        return;     /* the write event decides */
    }

    was = redis->state;
    err = NULL;

    for ( ;; ) {
        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_http_trifecta_redis_fail(redis,
                                         "Redis closed the connection");
            return;
        }

        if (ngx_http_trifecta_resp_feed(&redis->resp, buf, n, &err) != NGX_OK
            || ngx_http_trifecta_redis_replies(redis, &err) != NGX_OK)
        {
            ngx_http_trifecta_redis_fail(redis, err);
            return;
        }
    }

    redis->active_at = ngx_current_msec;

    if (redis->readonly) {
        redis->refused = 1;
        ngx_http_trifecta_redis_fail(redis, "this Redis is a replica");
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_trifecta_redis_fail(redis, "watching the socket failed");
        return;
    }

    if (was == ngx_http_trifecta_redis_greeting
        && redis->state == ngx_http_trifecta_redis_ready)
    {
        if (redis->owner) {
            redis->owner->ready(redis->data);
        }

        ngx_http_trifecta_redis_release(redis);
        ngx_add_timer(&redis->idle, NGX_HTTP_TRIFECTA_REDIS_IDLE);
    }

    ngx_http_trifecta_redis_rearm(redis);
}


static void
ngx_http_trifecta_redis_write_handler(ngx_event_t *wev)
{
    int                         err;
    socklen_t                   len;
    ngx_connection_t           *c;
    ngx_http_trifecta_redis_t  *redis;

    c = wev->data;
    redis = c->data;

    if (wev->timedout) {
        ngx_http_trifecta_redis_fail(redis, "connecting to Redis timed out");
        return;
    }

    if (redis->state != ngx_http_trifecta_redis_connecting) {
        ngx_http_trifecta_redis_flush(redis);
        return;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_http_trifecta_redis_fail(redis, strerror(err));
        return;
    }

    ngx_http_trifecta_redis_greet(redis);
}


static void
ngx_http_trifecta_redis_open(ngx_http_trifecta_redis_t *redis)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t   peer;

    ngx_memzero(&peer, sizeof(ngx_peer_connection_t));

    peer.sockaddr = redis->peer.sockaddr;
    peer.socklen = redis->peer.socklen;
    peer.name = &redis->peer.name;
    peer.get = ngx_event_get_peer;
    peer.log = redis->log;
    peer.log_error = NGX_ERROR_INFO;

    redis->state = ngx_http_trifecta_redis_connecting;

    if (ngx_http_trifecta_resp_open(&redis->resp) != NGX_OK) {
        ngx_http_trifecta_redis_fail(redis, "no memory");
        return;
    }

    rc = ngx_event_connect_peer(&peer);

    if (rc == NGX_ERROR || rc == NGX_BUSY || rc == NGX_DECLINED) {
        ngx_http_trifecta_redis_fail(redis, "connecting to Redis failed");
        return;
    }

    c = peer.connection;

    redis->connection = c;

    c->data = redis;
    c->read->handler = ngx_http_trifecta_redis_read_handler;
    c->write->handler = ngx_http_trifecta_redis_write_handler;
    c->write->cancelable = 1;

    if (redis->peer.sockaddr->sa_family != AF_UNIX) {
        (void) ngx_tcp_nodelay(c);
    }

    if (rc == NGX_OK) {
        ngx_http_trifecta_redis_greet(redis);
        return;
    }

    ngx_add_timer(c->write, NGX_HTTP_TRIFECTA_REDIS_CONNECT);
}


static void
ngx_http_trifecta_redis_found(void *data, ngx_addr_t *master,
    const char *reason)
{
    ngx_http_trifecta_redis_t *redis = data;

    if (master == NULL) {
        ngx_http_trifecta_redis_fail(redis, reason);
        return;
    }

    redis->peer = *master;

    ngx_http_trifecta_redis_open(redis);
}


void
ngx_http_trifecta_redis_connect(ngx_http_trifecta_redis_t *redis)
{
    redis->readonly = 0;
    redis->refused = 0;
    redis->held = 0;
    redis->doubt = ngx_http_trifecta_doubt_none;

    if (redis->sentinel) {
        redis->state = ngx_http_trifecta_redis_finding;
        ngx_http_trifecta_sentinel_ask(redis->sentinel);
        return;
    }

    redis->peer = redis->shard->server->addrs[redis->addr];

    ngx_http_trifecta_redis_open(redis);
}


static void
ngx_http_trifecta_redis_close(ngx_http_trifecta_redis_t *redis)
{
    if (redis->connection) {
        ngx_close_connection(redis->connection);
        redis->connection = NULL;
    }

    ngx_http_trifecta_resp_close(&redis->resp);

    if (redis->sentinel) {
        ngx_http_trifecta_sentinel_stop(redis->sentinel);
    }

    redis->state = ngx_http_trifecta_redis_down;

    if (redis->idle.timer_set) {
        ngx_del_timer(&redis->idle);
    }

    if (redis->owner == NULL) {
        ngx_http_trifecta_slot(redis->mcf)->redis_ready
            &= ~((ngx_atomic_uint_t) 1 << redis->shard->index);
    }
}


/*
 * A sidecar adopts a queue within a second or two after its Redis was
 * restarted or replaced: the pause is never longer than one.
 */

static ngx_msec_t
ngx_http_trifecta_redis_pause(ngx_http_trifecta_redis_t *redis)
{
    ngx_msec_t  delay;

    delay = ngx_http_trifecta_backoff(redis->fails);

    if (redis->fails > NGX_HTTP_TRIFECTA_REDIS_DOUBLED) {
        delay = ngx_http_trifecta_backoff(NGX_HTTP_TRIFECTA_REDIS_DOUBLED);
    }

    return delay;
}


/* The connection of requests has ended: is that of messages any better? */

static void
ngx_http_trifecta_redis_doubt(ngx_http_trifecta_redis_t *redis,
    ngx_http_trifecta_doubt_e doubt)
{
    if (redis->state == ngx_http_trifecta_redis_ready) {
        redis->doubt = doubt;
        ngx_add_timer(&redis->idle, 1);
    }
}


/* The end of a connection, or of the attempt to make one. */

static void
ngx_http_trifecta_redis_fail(ngx_http_trifecta_redis_t *redis,
    const char *reason)
{
    ngx_uint_t                       level, was;
    ngx_queue_t                      doomed;
    ngx_http_trifecta_subscriber_t  *sub;

    was = redis->state;

    if ((u_char *) reason != redis->reason) {
        ngx_cpystrn(redis->reason, (u_char *) reason, sizeof(redis->reason));
    }

    /* one that breaks at once again and again is no good connection */

    if (redis->state == ngx_http_trifecta_redis_ready
        && ngx_current_msec - redis->ready_at > 1000)
    {
        redis->fails = 0;

    } else {
        redis->fails++;
    }

    level = (redis->fails <= 1) ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, redis->log, 0,
                  "trifecta: Redis at %V is not available%s: %s",
                  was == ngx_http_trifecta_redis_finding
                  ? &redis->shard->server->url : &redis->peer.name,
                  redis->owner ? redis->owner->what : "", redis->reason);

    ngx_http_trifecta_count_shard(redis->mcf, redis->shard,
                                  NGX_HTTP_TRIFECTA_S_ERRORS);

    ngx_http_trifecta_redis_close(redis);

    redis->failed_at = ngx_current_msec;
    redis->addr = (redis->addr + 1) % redis->shard->server->naddrs;

    if (redis->sentinel && was != ngx_http_trifecta_redis_finding
        && was != ngx_http_trifecta_redis_ready)
    {
        ngx_http_trifecta_sentinel_skip(redis->sentinel);
    }

    ngx_queue_init(&doomed);
    ngx_http_trifecta_redis_sort(redis, &doomed);

    ngx_add_timer(&redis->reconnect,
                  redis->fails ? ngx_http_trifecta_redis_pause(redis) : 1);

    ngx_http_trifecta_redis_doom(redis, &doomed);
    ngx_http_trifecta_redis_rearm(redis);

    if (redis->owner) {
        redis->owner->lost(redis->data);
        return;
    }

    sub = redis->shard->subscriber;

    if (was == ngx_http_trifecta_redis_ready && sub) {
        ngx_http_trifecta_redis_doubt(ngx_http_trifecta_subscriber_redis(sub),
                                      redis->refused
                                      ? ngx_http_trifecta_doubt_moved
                                      : ngx_http_trifecta_doubt_alive);
    }
}


static void
ngx_http_trifecta_redis_deadline_handler(ngx_event_t *ev)
{
    ngx_queue_t                 doomed;
    ngx_http_trifecta_redis_t  *redis;

    redis = ev->data;

    ngx_queue_init(&doomed);

    if (ngx_http_trifecta_redis_expire(redis, &doomed)) {
        ngx_http_trifecta_redis_fail(redis, "Redis does not answer");
    }

    ngx_http_trifecta_redis_doom(redis, &doomed);
    ngx_http_trifecta_redis_rearm(redis);
}


static void
ngx_http_trifecta_redis_reconnect_handler(ngx_event_t *ev)
{
    ngx_http_trifecta_redis_connect(ev->data);
}


/*
 * Every so often a connection that is idle is tried, and that of requests is
 * asked who it is, also when it is not: a server that became a replica goes
 * on answering those who only read.
 */

static void
ngx_http_trifecta_redis_idle_handler(ngx_event_t *ev)
{
    ngx_msec_t                  quiet;
    ngx_http_trifecta_redis_t  *redis;

    redis = ev->data;

    if (redis->doubt == ngx_http_trifecta_doubt_moved) {
        ngx_http_trifecta_redis_fail(redis, "the queue has moved");
        return;
    }

    quiet = ngx_current_msec - redis->active_at;

    if (redis->owner && redis->owner->push
        && quiet < NGX_HTTP_TRIFECTA_REDIS_IDLE
        && redis->doubt == ngx_http_trifecta_doubt_none)
    {
        ngx_add_timer(ev, NGX_HTTP_TRIFECTA_REDIS_IDLE - quiet);
        return;
    }

    redis->doubt = ngx_http_trifecta_doubt_none;

    ngx_add_timer(ev, NGX_HTTP_TRIFECTA_REDIS_IDLE);

    if (redis->nown == 0
        && ngx_http_trifecta_redis_inquire(redis) == NGX_OK)
    {
        ngx_http_trifecta_redis_rearm(redis);
        ngx_http_trifecta_redis_flush(redis);
    }
}


static void
ngx_http_trifecta_redis_timer(ngx_http_trifecta_redis_t *redis,
    ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = redis;
    ev->log = redis->log;
    ev->cancelable = 1;
}


ngx_http_trifecta_redis_t *
ngx_http_trifecta_redis_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf, ngx_http_trifecta_shard_t *shard,
    const ngx_http_trifecta_redis_owner_t *owner, void *data)
{
    ngx_http_trifecta_redis_t  *redis;

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->mcf = mcf;
    redis->shard = shard;
    redis->owner = owner;
    redis->data = data;
    redis->log = cycle->log;
    redis->fd = (ngx_socket_t) -1;

    ngx_queue_init(&redis->waiting);
    ngx_queue_init(&redis->out);
    ngx_queue_init(&redis->sent);

    ngx_http_trifecta_redis_timer(redis, &redis->deadline,
                                  ngx_http_trifecta_redis_deadline_handler);
    ngx_http_trifecta_redis_timer(redis, &redis->reconnect,
                                  ngx_http_trifecta_redis_reconnect_handler);
    ngx_http_trifecta_redis_timer(redis, &redis->idle,
                                  ngx_http_trifecta_redis_idle_handler);

    if (shard->server->naddrs == 0) {
        redis->fails = 1;
        ngx_cpystrn(redis->reason, shard->server->url.len
                    ? (u_char *) "the name could not be resolved"
                    : (u_char *) "trifecta_redis is not configured",
                    sizeof(redis->reason));
        return redis;
    }

    if (shard->server->master.len) {
        redis->sentinel = ngx_http_trifecta_sentinel_create(cycle, mcf,
                                               shard->server,
                                               ngx_http_trifecta_redis_found,
                                               redis);
        if (redis->sentinel == NULL) {
            return NULL;
        }
    }

    ngx_cpystrn(redis->reason, (u_char *) "connecting",
                sizeof(redis->reason));

    if (ngx_http_trifecta_install_awaited(mcf)) {
        redis->held = 1;
        ngx_add_timer(&redis->reconnect, NGX_HTTP_TRIFECTA_INSTALL_WAIT);
        return redis;
    }

    ngx_http_trifecta_redis_connect(redis);

    return redis;
}


void
ngx_http_trifecta_redis_hurry(ngx_http_trifecta_redis_t *redis)
{
    if (redis->held) {

        /* nginx would keep a timer that is as near as that */

        ngx_del_timer(&redis->reconnect);

        redis->held = 0;
        ngx_add_timer(&redis->reconnect, 1);
    }
}


void
ngx_http_trifecta_redis_look(ngx_http_trifecta_redis_t *redis)
{
    ngx_http_trifecta_redis_doubt(redis, ngx_http_trifecta_doubt_alive);
}


void
ngx_http_trifecta_redis_destroy(ngx_http_trifecta_redis_t *redis)
{
    ngx_uint_t                      i;
    ngx_queue_t                    *q, *queues[3];
    ngx_http_trifecta_redis_cmd_t  *cmd;

    ngx_http_trifecta_redis_close(redis);

    if (redis->reconnect.timer_set) {
        ngx_del_timer(&redis->reconnect);
    }

    if (redis->deadline.timer_set) {
        ngx_del_timer(&redis->deadline);
    }

    /* the process ends: their requests are gone or about to go */

    queues[0] = &redis->waiting;
    queues[1] = &redis->out;
    queues[2] = &redis->sent;

    for (i = 0; i < 3; i++) {
        for (q = ngx_queue_head(queues[i]);
             q != ngx_queue_sentinel(queues[i]);
             q = ngx_queue_next(q))
        {
            cmd = ngx_queue_data(q, ngx_http_trifecta_redis_cmd_t, queue);
            cmd->handler = NULL;
        }

        ngx_http_trifecta_redis_doom(redis, queues[i]);
    }
}


const char *
ngx_http_trifecta_redis_reason(ngx_http_trifecta_redis_t *redis)
{
    return redis->state == ngx_http_trifecta_redis_ready
           ? NULL : (char *) redis->reason;
}


ngx_str_t *
ngx_http_trifecta_redis_address(ngx_http_trifecta_redis_t *redis)
{
    return &redis->peer.name;
}
