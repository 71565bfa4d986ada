#include <stdlib.h>
#include <string.h>

#include <trifecta/fault.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/pool.h"


/*
 * What others want of this worker at once, on its own channel.  A message
 * that is lost with the connection is no loss: the heartbeat tells the same,
 * a little later.
 */

#define TF_CONTROL_WAIT_MS  1000    /* and look whether the pool is over */
#define TF_CONTROL_PING_MS  5000    /* of silence */


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

    tf_fault(cancel, heard);
    tf_pool_stop(q, id, lease, TF_STOP_CANCELLED);
}


/*
 * A channel is usually silent, and so is one whose server is frozen: the
 * two are told apart by a PING.
 */

static void
tf_control_silence(tf_redis_t *redis, int64_t ms)
{
    tf_cmd_t  cmd = TF_CMD_INIT;

    if (redis->ctx == NULL || ms < TF_CONTROL_PING_MS) {
        return;
    }

    if (ms >= TF_CONTROL_PING_MS + redis->command_ms + TF_CONTROL_WAIT_MS) {
        tf_redis_close(redis);
        return;
    }

    if (ms < TF_CONTROL_PING_MS + TF_CONTROL_WAIT_MS) {
        tf_cmd_begin(&cmd, "PING");
        (void) tf_redis_append(redis, &cmd);
        tf_cmd_free(&cmd);
    }
}


void *
tf_pool_control(void *data)
{
    char         channel[sizeof(((tf_shard_t *) 0)->worker)
                         + TF_KEY_PREFIX_MAX + 8];
    int64_t      heard;
    unsigned     streak;
    tf_cmd_t     cmd = TF_CMD_INIT;
    tf_queue_t  *q;
    tf_redis_t   redis;
    redisReply  *reply;
    tf_shard_t  *shard = data;

    q = shard->q;

    if (tf_pool_named(shard) != 0) {
        return NULL;
    }

    (void) snprintf(channel, sizeof(channel), "%s:w:%s", shard->prefix,
                    shard->worker);
    tf_pool_redis(shard, &redis);
    heard = 0;
    streak = 0;

    while (!tf_pool_over(q)) {
        tf_pulse_done(&shard->pulses[TF_POOL_STEP_control]);
        tf_pulse_try(&shard->pulses[TF_POOL_STEP_control]);

        if (redis.ctx == NULL) {
            tf_cmd_begin(&cmd, "SSUBSCRIBE");
            tf_cmd_str(&cmd, channel);

            if (tf_redis_append(&redis, &cmd) != 0) {
                tf_pulse_rest(&shard->pulses[TF_POOL_STEP_control]);
                tf_pool_sleep(q, tf_pool_backoff(streak++));
                continue;
            }

            heard = tf_clock_ms();
        }

        reply = tf_redis_push(&redis, TF_CONTROL_WAIT_MS);

        if (reply == NULL) {
            tf_control_silence(&redis, tf_clock_ms() - heard);
            continue;
        }

        heard = tf_clock_ms();

        if (reply->type == REDIS_REPLY_ERROR) {
            tf_log(TF_LOG_ERROR, "the control channel of shard %u cannot be "
                   "read, cancelled jobs are stopped by the heartbeat only: "
                   "%s", shard->index, reply->str);
            tf_redis_close(&redis);
            tf_pulse_rest(&shard->pulses[TF_POOL_STEP_control]);
            tf_pool_sleep(q, tf_pool_backoff(streak++));

        } else {
            streak = 0;
        }

        if (strcmp(tf_reply_str(reply, 0), "smessage") == 0) {
            tf_control_message(q, tf_reply_str(reply, 2));
        }

        freeReplyObject(reply);
    }

    tf_cmd_free(&cmd);
    tf_redis_close(&redis);

    return NULL;
}
