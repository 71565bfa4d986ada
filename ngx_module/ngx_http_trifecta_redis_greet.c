#include "ngx_http_trifecta_redis_cmd.h"
#include "ngx_http_trifecta_install.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_shard.h"


/* What a connection asks for itself: whom it has reached, and may it stay. */


/*
 * The answers run inside the reader's loop: they only note what is wrong.  A
 * connection that fails calls them without a reply.
 */

static void
ngx_http_trifecta_redis_refuse(ngx_http_trifecta_redis_t *redis,
    const char *reason)
{
    if (!redis->refused) {
        ngx_cpystrn(redis->reason, (u_char *) reason, sizeof(redis->reason));
        redis->refused = 1;
    }
}


static void
ngx_http_trifecta_redis_authenticated(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_redis_t *redis = data;

    u_char       buf[sizeof(redis->reason)], *last;
    redisReply  *reply;

    reply = answer->reply;

    if (reply && reply->type == REDIS_REPLY_ERROR) {
        last = ngx_snprintf(buf, sizeof(buf) - 1, "Redis says: %*s",
                            (size_t) reply->len, reply->str);
        *last = '\0';

        ngx_http_trifecta_redis_refuse(redis, (char *) buf);
    }
}


static void
ngx_http_trifecta_redis_identified(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_redis_t *redis = data;

    u_char       buf[sizeof(redis->reason)];
    const char  *wrong;

    if (answer->reply == NULL) {
        return;
    }

    wrong = ngx_http_trifecta_resp_identity(answer->reply, &redis->identity,
                                            buf, sizeof(buf));
    if (wrong) {
        ngx_http_trifecta_redis_refuse(redis, wrong);
    }
}


static void
ngx_http_trifecta_redis_is_ready(ngx_http_trifecta_redis_t *redis)
{
    ngx_http_trifecta_metrics_t  *m;

    redis->state = ngx_http_trifecta_redis_ready;
    redis->ready_at = ngx_current_msec;
    redis->active_at = ngx_current_msec;

    ngx_log_error(NGX_LOG_NOTICE, redis->log, 0,
                  "trifecta: connected to Redis at %V%s", &redis->peer.name,
                  redis->owner ? redis->owner->what : "");

    ngx_http_trifecta_count_shard(redis->mcf, redis->shard,
                                  NGX_HTTP_TRIFECTA_S_CONNECTS);

    if (redis->owner == NULL) {
        ngx_http_trifecta_slot(redis->mcf)->redis_ready
            |= (ngx_atomic_uint_t) 1 << redis->shard->index;
    }

    m = ngx_http_trifecta_metrics(redis->mcf);
    m->shards[redis->shard->index].ready_at = ngx_current_msec;
}


static void
ngx_http_trifecta_redis_checked(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_redis_t *redis = data;

    u_char       buf[sizeof(redis->reason)];
    const char  *wrong;

    if (answer->reply == NULL) {
        return;
    }

    wrong = ngx_http_trifecta_redis_check(redis, answer->reply, buf,
                                          sizeof(buf));
    if (wrong) {
        ngx_http_trifecta_redis_refuse(redis, wrong);

    } else if (redis->state == ngx_http_trifecta_redis_greeting) {
        ngx_http_trifecta_redis_is_ready(redis);
    }
}


const char *
ngx_http_trifecta_redis_check(ngx_http_trifecta_redis_t *redis,
    redisReply *reply, u_char *buf, size_t size)
{
    const char  *wrong;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 5) {
        wrong = ngx_http_trifecta_install_check(redis->mcf, reply->element[4],
                                                buf, size);
        if (wrong) {
            return wrong;
        }
    }

    return ngx_http_trifecta_resp_check(reply, &redis->identity, buf, size);
}


/* Whether the server is the one for which the queue was adopted. */

static ngx_int_t
ngx_http_trifecta_redis_identify(ngx_http_trifecta_redis_t *redis)
{
    const char  *argv[3];

    argv[0] = "INFO";
    argv[1] = "server";
    argv[2] = "replication";

    if (ngx_http_trifecta_redis_own(redis, 3, argv,
                                    ngx_http_trifecta_redis_identified)
        == NULL
        || ngx_http_trifecta_redis_meta(redis,
                                        ngx_http_trifecta_redis_checked,
                                        redis)
           == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_redis_introduce(ngx_http_trifecta_redis_t *redis)
{
    int          argc;
    const char  *argv[3];

    if (redis->mcf->redis_password.len) {
        argc = 0;
        argv[argc++] = "AUTH";

        if (redis->shard->server->user.len) {
            argv[argc++] = (char *) redis->shard->server->user.data;
        }

        argv[argc++] = (char *) redis->mcf->redis_password.data;

        if (ngx_http_trifecta_redis_own(redis, argc, argv,
                                        ngx_http_trifecta_redis_authenticated)
            == NULL)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_trifecta_redis_identify(redis);
}


ngx_int_t
ngx_http_trifecta_redis_inquire(ngx_http_trifecta_redis_t *redis)
{
    const char  *argv[1];

    if (redis->owner == NULL || redis->owner->push == NULL) {
        return ngx_http_trifecta_redis_identify(redis);
    }

    /* nothing else may be sent where messages come */

    argv[0] = "PING";

    return ngx_http_trifecta_redis_own(redis, 1, argv, NULL) ? NGX_OK
                                                             : NGX_ERROR;
}


/* The connection itself asks it, and a request when it is ready. */

ngx_http_trifecta_redis_cmd_t *
ngx_http_trifecta_redis_meta(ngx_http_trifecta_redis_t *redis,
    ngx_http_trifecta_redis_handler_pt handler, void *data)
{
    char         key[TF_KEY_PREFIX_MAX + sizeof(":meta")];
    const char  *argv[7];

    (void) snprintf(key, sizeof(key), "%s:meta", redis->shard->prefix);

    argv[0] = "HMGET";
    argv[1] = key;
    argv[2] = "epoch";
    argv[3] = "schema";
    argv[4] = "server";
    argv[5] = "rebuild";
    argv[6] = "install";

    if (data == redis) {
        return ngx_http_trifecta_redis_own(redis, 7, argv, handler);
    }

    return ngx_http_trifecta_redis_command(redis, 7, argv, NULL, 0, handler,
                                           data);
}
