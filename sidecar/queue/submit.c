#include "queue/submit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <trifecta/job.h>
#include <trifecta/trace.h>

#include "base/clock.h"
#include "queue/library.h"
#include "queue/redis_url.h"


#define TF_SUBMIT_NO_BOUND  "10000000"

typedef struct {
    const char  *word;
    const char  *prio;
    unsigned     limit;
} tf_submit_kind_t;

static const tf_submit_kind_t  tf_submit_kinds[] = {
#define TF_SUBMIT_KIND(name, word, prio, ms, ...)  { word, #prio, ms },
    TF_JOB_KINDS(TF_SUBMIT_KIND)
#undef TF_SUBMIT_KIND
    { NULL, NULL, 0 }
};


int
tf_submit_keys(const tf_conf_t *conf, tf_id_keys_t *keys, char *err,
    size_t errlen)
{
    char        *data;
    size_t       len;
    const char  *why, *file;

    file = conf->id_key_file;

    if (file[0] == '\0') {
        (void) snprintf(err, errlen, "id_key_file is not set: it names the "
                        "file with the key of job ids, the same that nginx "
                        "reads (trifecta_id_key_file)");
        return -1;
    }

    data = tf_read_file(file, 4096, &len);
    if (data == NULL) {
        (void) snprintf(err, errlen, "cannot read id_key_file \"%s\": %s",
                        file, strerror(errno));
        return -1;
    }

    why = tf_id_keys_parse(keys, data, len);
    OPENSSL_cleanse(data, len);
    free(data);

    if (why != NULL) {
        (void) snprintf(err, errlen, "id_key_file \"%s\": %s", file, why);
        return -1;
    }

    return 0;
}


int
tf_submit_id_by(const tf_id_keys_t *keys, const tf_submit_t *job, unsigned n,
    char text[TF_ID_TEXT_LEN + 1], unsigned *shard)
{
    tf_id_t        id;
    unsigned char  rnd[TF_ID_RND_LEN];

    *shard = tf_shard_of(job->tenant, strlen(job->tenant), n);

    if (RAND_bytes(rnd, sizeof(rnd)) != 1
        || tf_id_make(&id, keys, (uint64_t) tf_clock_wall_ms(), *shard, rnd,
                      job->tenant, strlen(job->tenant), job->owner,
                      strlen(job->owner))
           != 0)
    {
        return -1;
    }

    tf_id_format(text, &id);
    text[TF_ID_TEXT_LEN] = '\0';

    return 0;
}


int
tf_submit_id(const tf_conf_t *conf, const tf_submit_t *job, unsigned n,
    char text[TF_ID_TEXT_LEN + 1], unsigned *shard, char *err,
    size_t errlen)
{
    int           rc;
    tf_id_keys_t  keys;

    if (tf_submit_keys(conf, &keys, err, errlen) != 0) {
        return -1;
    }

    rc = tf_submit_id_by(&keys, job, n, text, shard);

    if (rc != 0) {
        (void) snprintf(err, errlen, "cannot make an id");
    }

    OPENSSL_cleanse(&keys, sizeof(keys));

    return rc;
}


int
tf_submit_cmd(const tf_submit_t *job, const char *prefix, const char *id,
    tf_cmd_t *cmd)
{
    char                     request_id[sizeof("req_") + 32];
    char                     trace[TF_TRACE_HEADER_LEN + 1];
    size_t                   i;
    tf_trace_t               t;
    unsigned char            rnd[16 + TF_TRACE_RND_LEN];
    const tf_submit_kind_t  *kind;

    for (kind = tf_submit_kinds; kind->word != NULL; kind++) {
        if (strcmp(kind->word, job->kind) == 0) {
            break;
        }
    }

    if (kind->word == NULL || RAND_bytes(rnd, sizeof(rnd)) != 1) {
        return -1;
    }

    memcpy(request_id, "req_", 4);
    tf_trace_dump(request_id + 4, rnd, 16);
    tf_trace_make(&t, NULL, rnd + 16);
    tf_trace_format(trace, &t);
    trace[TF_TRACE_HEADER_LEN] = '\0';

    tf_cmd_fcall(cmd, TF_FN_SUBMIT, prefix);

    {
        const char *const  pairs[][2] = {
            { "id", id }, { "tenant", job->tenant }, { "owner", job->owner },
            { "groups", job->groups }, { "scopes", job->scopes },
            { "kind", job->kind }, { "model", job->model },
            { "prio", job->prio ? job->prio : kind->prio },
            { "payload", job->payload }, { "fp", job->fp },
            { "request_id", request_id }, { "trace", trace },
            { "max", TF_SUBMIT_NO_BOUND }, { "tmax", TF_SUBMIT_NO_BOUND },
            { "retry_of", job->retry_of }
        };

        for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
            if (pairs[i][1] != NULL) {
                tf_cmd_str(cmd, pairs[i][0]);
                tf_cmd_str(cmd, pairs[i][1]);
            }
        }
    }

    tf_cmd_str(cmd, "limit");
    tf_cmd_num(cmd, kind->limit);

    return 0;
}


int
tf_submit(const tf_conf_t *conf, const tf_submit_t *job,
    char id[TF_ID_TEXT_LEN + 1], char *err, size_t errlen)
{
    int               rc;
    char              prefix[TF_KEY_PREFIX_MAX];
    unsigned          shard;
    tf_cmd_t          cmd = TF_CMD_INIT;
    redisReply       *reply;
    tf_redis_t        redis;
    tf_redis_urls_t   urls;

    if (tf_redis_urls(&urls, conf->redis_url, err, errlen) != 0) {
        return -1;
    }

    if (tf_submit_id(conf, job, urls.n, id, &shard, err, errlen) != 0) {
        tf_redis_urls_free(&urls);
        return -1;
    }

    (void) snprintf(prefix, sizeof(prefix), TF_KEY_PREFIX_FMT, shard);
    tf_redis_init(&redis, conf, urls.url[shard], prefix, 0);

    rc = -1;
    reply = NULL;

    if (tf_submit_cmd(job, prefix, id, &cmd) != 0) {
        (void) snprintf(err, errlen, "this release knows no jobs of kind "
                        "\"%s\"", job->kind);

    } else {
        reply = tf_redis_call(&redis, 0, &cmd);

        if (reply != NULL && strcmp(tf_reply_str(reply, 0), "OK") == 0) {
            rc = 0;

        } else {
            (void) snprintf(err, errlen, "Redis did not take the job: %s",
                            reply == NULL ? redis.err
                            : reply->type == REDIS_REPLY_ERROR ? reply->str
                            : tf_reply_str(reply, 0));
        }
    }

    freeReplyObject(reply);
    tf_cmd_free(&cmd);
    tf_redis_close(&redis);
    tf_redis_urls_free(&urls);

    return rc;
}
