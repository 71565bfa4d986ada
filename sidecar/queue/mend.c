#include "queue/mend.h"

#include <string.h>


static void
tf_mend_say(tf_keeper_t *k, const redisReply *one)
{
    const char  *what, *name;

    what = tf_reply_str(one, 0);
    name = tf_reply_str(one, 1);

    if (strcmp(what, "aside") == 0) {
        tf_keeper_say(k, TF_LOG_ERROR, "the key %s:%s had become a %s, "
                      "which the queue cannot use: it is called %s now, for a "
                      "week, and what it had held comes back from PostgreSQL. "
                      "Something else writes to the keys %s:*", k->prefix,
                      name, tf_reply_str(one, 2), tf_reply_str(one, 3),
                      k->prefix);

    } else if (strcmp(what, "stream") == 0) {
        tf_keeper_say(k, TF_LOG_ERROR, "the stream %s:%s had got to the end "
                      "of its ids and took no entries any more: it goes on "
                      "from now, without the %lld entries that had them. "
                      "Something else writes to the keys %s:*", k->prefix,
                      name, (long long) tf_reply_num(one, 2), k->prefix);

    } else if (strcmp(what, "skipped") == 0) {
        tf_keeper_say(k, TF_LOG_ERROR, "%lld jobs of the stream %s:%s had "
                      "been skipped by its group, which was set beyond them "
                      "or lost who had them: they are in the stream again",
                      (long long) tf_reply_num(one, 2), k->prefix, name);

    } else {
        tf_keeper_say(k, TF_LOG_ERROR, "the group of the stream %s:%s had "
                      "been set to %s, so that its entries came to nobody: it "
                      "is set back. Something else writes to the keys %s:*",
                      k->prefix, name, tf_reply_str(one, 2), k->prefix);
    }
}


int
tf_mend(tf_keeper_t *k)
{
    size_t       i;
    tf_cmd_t     cmd = TF_CMD_INIT;
    redisReply  *reply;

    tf_cmd_fcall(&cmd, TF_FN_MEND, k->prefix);
    reply = tf_redis_call(&k->redis, 0, &cmd);
    tf_cmd_free(&cmd);

    if (reply == NULL) {
        return -1;
    }

    /* an error: the library is of a release that has no such function */

    for (i = 0; i < tf_reply_len(reply); i++) {
        tf_mend_say(k, reply->element[i]);
        (void) atomic_fetch_add(&k->stats->mended, 1);
        k->reconcile.at_once = 1;
    }

    freeReplyObject(reply);

    return 0;
}
