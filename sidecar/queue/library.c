#include "queue/library.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"


#define TF_LIBRARY_LOAD_MS  10000


static int
tf_library_is_part(const struct dirent *entry)
{
    size_t  len;

    len = strlen(entry->d_name);

    return len > 4 && strcmp(entry->d_name + len - 4, ".lua") == 0;
}


static int
tf_library_order(const struct dirent **one, const struct dirent **two)
{
    /* not alphasort(), which asks the locale */

    return strcmp((*one)->d_name, (*two)->d_name);
}


char *
tf_library_read(const tf_conf_t *conf, char *err, size_t errlen)
{
    int              i, n;
    char            *part, *text;
    size_t           len;
    tf_buf_t         dir = TF_BUF_INIT;
    tf_buf_t         path = TF_BUF_INIT;
    tf_buf_t         all = TF_BUF_INIT;
    struct dirent  **list;

    text = NULL;
    list = NULL;
    n = -1;

    tf_buf_printf(&dir, "%s/redis/" TF_LIBRARY, conf->migrations);
    if (dir.failed) {
        (void) snprintf(err, errlen, "out of memory");
        goto done;
    }

    n = scandir(dir.data, &list, tf_library_is_part, tf_library_order);

    if (n < 1 || n > TF_LIBRARY_FILES) {
        (void) snprintf(err, errlen, "cannot read the Lua files of \"%s\": "
                        "%s; set \"migrations\" to the folder of this "
                        "release", dir.data,
                        n < 0 ? strerror(errno) : n == 0 ? "there are none"
                        : "there are too many");
        goto done;
    }

    for (i = 0; i < n; i++) {
        tf_buf_reset(&path);
        tf_buf_printf(&path, "%s/%s", dir.data, list[i]->d_name);

        part = path.failed ? NULL
                           : tf_read_file(path.data, TF_LIBRARY_MAX, &len);
        if (part == NULL) {
            (void) snprintf(err, errlen, "cannot read \"%s/%s\": %s",
                            dir.data, list[i]->d_name, strerror(errno));
            goto done;
        }

        tf_buf_append(&all, part, len);
        free(part);
    }

    text = all.failed ? NULL : strdup(all.data);
    if (text == NULL) {
        (void) snprintf(err, errlen, "out of memory");
    }

done:

    for (i = 0; i < n; i++) {
        free(list[i]);
    }

    free(list);
    tf_buf_free(&dir);
    tf_buf_free(&path);
    tf_buf_free(&all);

    return text;
}


/* What was wrong with a call, in redis->err; frees the reply. */

static int
tf_library_failed(tf_redis_t *redis, redisReply *reply, const char *what)
{
    char  why[256];

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        (void) snprintf(redis->err, sizeof(redis->err), "%s: %s%s", what,
                        strstr(reply->str, "unknown command")
                        ? "this Redis has no functions; Redis 7.0 or newer "
                          "is needed: " : "",
                        reply->str);

    } else {
        (void) snprintf(why, sizeof(why), "%.255s",
                        reply ? "unexpected reply" : redis->err);
        (void) snprintf(redis->err, sizeof(redis->err), "%s: %s", what, why);
    }

    freeReplyObject(reply);

    return -1;
}


tf_library_t
tf_library_look(tf_redis_t *redis, const char *text)
{
    size_t             i;
    redisReply        *reply;
    tf_library_t       found;
    const redisReply  *library;

    reply = tf_redis_command(redis, 0, "FUNCTION", "LIST", "LIBRARYNAME",
                             TF_LIBRARY, text ? "WITHCODE" : NULL, NULL);

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        (void) tf_library_failed(redis, reply,
                                 "cannot list Redis' functions");
        return TF_LIBRARY_FAILED;
    }

    if (reply->elements == 0) {
        freeReplyObject(reply);
        return TF_LIBRARY_NONE;
    }

    found = text ? TF_LIBRARY_OTHER : TF_LIBRARY_SAME;
    library = reply->element[0];

    for (i = 0; text != NULL && i + 1 < tf_reply_len(library); i += 2) {
        if (strcmp(tf_reply_str(library, i), "library_code") == 0
            && strcmp(tf_reply_str(library, i + 1), text) == 0)
        {
            found = TF_LIBRARY_SAME;
        }
    }

    freeReplyObject(reply);

    return found;
}


int
tf_library_load(tf_redis_t *redis, const char *text)
{
    redisReply  *reply;

    reply = tf_redis_command(redis, TF_LIBRARY_LOAD_MS, "FUNCTION", "LOAD",
                             "REPLACE", text, NULL);

    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        return tf_library_failed(redis, reply,
                                 "cannot load the function library");
    }

    freeReplyObject(reply);

    return 0;
}
