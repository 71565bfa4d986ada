#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "queue/pool.h"


/*
 * What others want of this worker at once, on its own channel.  A message
 * that is lost with the connection is no loss: the heartbeat tells the same,
 * a little later.
 */

#define TF_CONTROL_WAIT_MS  1000    /* and look whether the pool is over */


/* "cancel <id> <lease>" */

static void
tf_control_message(tf_queue_t *q, const char *text)
{
    char     id[TF_ID_TEXT_LEN + 1];
    char    *end;
    int64_t  lease;

    if (strncmp(text, "cancel ", 7) != 0
        || strlen(text) < 7 + TF_ID_TEXT_LEN + 2)
    {
        tf_log(TF_LOG_WARN, "unknown message on the control channel");
        return;
    }

    memcpy(id, text + 7, TF_ID_TEXT_LEN);
    id[TF_ID_TEXT_LEN] = '\0';

    lease = strtoll(text + 7 + TF_ID_TEXT_LEN + 1, &end, 10);
    if (*end != '\0') {
        return;
    }

    tf_pool_stop(q, id, lease, TF_STOP_CANCELLED);
}


void *
tf_pool_control(void *queue)
{
    char         channel[sizeof(((tf_queue_t *) 0)->worker)
                         + TF_KEY_PREFIX_MAX + 8];
    unsigned     streak;
    tf_cmd_t     cmd = TF_CMD_INIT;
    tf_queue_t  *q = queue;
    tf_redis_t   redis;
    redisReply  *reply;

    (void) snprintf(channel, sizeof(channel), "%s:w:%s", q->prefix,
                    q->worker);
    tf_redis_init(&redis, q->conf, q->prefix, 1);
    tf_cmd_begin(&cmd, "SSUBSCRIBE");
    tf_cmd_str(&cmd, channel);
    streak = 0;

    while (!tf_pool_over(q)) {

        if (redis.ctx == NULL && tf_redis_append(&redis, &cmd) != 0) {
            tf_pool_sleep(q, tf_pool_backoff(streak++));
            continue;
        }

        reply = tf_redis_push(&redis, TF_CONTROL_WAIT_MS);

        if (reply == NULL) {
            continue;
        }

        streak = 0;

        if (strcmp(tf_reply_str(reply, 0), "smessage") == 0) {
            tf_control_message(q, tf_reply_str(reply, 2));
        }

        freeReplyObject(reply);
    }

    tf_cmd_free(&cmd);
    tf_redis_close(&redis);

    return NULL;
}
