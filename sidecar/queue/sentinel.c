#include "queue/sentinel.h"

#include <stdio.h>
#include <string.h>


/* One sentinel: 0, or -1 with s->err. */

static int
tf_sentinel_ask(tf_redis_t *s, const char *name, tf_redis_host_t *master)
{
    int          rc;
    int64_t      port;
    redisReply  *reply;
    const char  *host;

    reply = tf_redis_command(s, 0, "SENTINEL", "get-master-addr-by-name",
                             name, NULL);
    if (reply == NULL) {
        return -1;
    }

    rc = -1;
    host = tf_reply_str(reply, 0);
    port = tf_reply_num(reply, 1);

    if (reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(s->err, sizeof(s->err), "%.400s", reply->str);

    } else if (host[0] == '\0' || strlen(host) >= sizeof(master->host)
               || port < 1 || port > 65535)
    {
        (void) snprintf(s->err, sizeof(s->err), "it knows no master \"%s\"",
                        name);

    } else {
        (void) snprintf(master->host, sizeof(master->host), "%s", host);
        master->port = (int) port;
        rc = 0;
    }

    freeReplyObject(reply);

    return rc;
}


int
tf_sentinel_find(tf_redis_t *redis, const tf_redis_url_t *u,
    tf_redis_host_t *master)
{
    int                     rc;
    char                    url[320];
    unsigned                i, n;
    tf_redis_t              s;
    const tf_redis_host_t  *host;

    for (i = 0; i < u->nhosts; i++) {
        n = (redis->sentinel + i) % u->nhosts;
        host = &u->hosts[n];

        (void) snprintf(url, sizeof(url), strchr(host->host, ':')
                        ? "redis://[%s]:%d" : "redis://%s:%d", host->host,
                        host->port);

        tf_redis_init(&s, redis->conf, url, redis->prefix, 0);
        s.password_file = redis->conf->redis_sentinel_password_file;
        s.role = 0;
        s.connect_ms = redis->connect_ms / 2;
        s.command_ms = redis->command_ms / 2;

        rc = tf_sentinel_ask(&s, u->master, master);
        tf_redis_close(&s);

        if (rc == 0) {
            redis->sentinel = n;
            return 0;
        }

        (void) snprintf(redis->err, sizeof(redis->err), "no sentinel tells "
                        "where the master \"%s\" is; %s:%d: %.256s",
                        u->master, host->host, host->port, s.err);
    }

    return -1;
}
