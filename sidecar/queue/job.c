#include "queue/job.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/rand.h>

#include "base/clock.h"
#include "queue/emit.h"
#include "queue/redis.h"


static const struct {
    const char  *word;
    int          terminal;
} tf_job_states[] = {
#define TF_JOB_STATE_ROW(name, word, terminal)  { word, terminal },
    TF_JOB_STATES(TF_JOB_STATE_ROW)
#undef TF_JOB_STATE_ROW
};


#define TF_JOB_TURN_MS  1000    /* between two looks whether it is one's turn */

static const tf_job_kind_t  tf_job_kinds[] = {
#define TF_JOB_KIND_ROW(name, word, prio, limit, tries, wait, longest)       \
    { word, limit, tries, wait, longest },
    TF_JOB_KINDS(TF_JOB_KIND_ROW)
#undef TF_JOB_KIND_ROW
};


const tf_job_kind_t *
tf_job_kind(const char *word)
{
    size_t  i;

    for (i = 0; i < sizeof(tf_job_kinds) / sizeof(tf_job_kinds[0]); i++) {
        if (strcmp(tf_job_kinds[i].word, word) == 0) {
            return &tf_job_kinds[i];
        }
    }

    return &tf_job_kinds[0];
}


int64_t
tf_job_retry_delay(const tf_job_t *job)
{
    int                   i;
    int64_t               ms, wait, left;
    uint32_t              rnd;
    const tf_job_kind_t  *kind;

    kind = tf_job_kind(job->kind);
    wait = job->waits ? TF_JOB_TURN_MS
           : job->retry_wait ? job->retry_wait : kind->wait;
    left = (job->retry_until ? job->retry_until : job->until) - tf_clock_ms();

    if ((job->fails + 1 >= kind->tries && !job->waits) || left <= wait
        || left <= job->retry_after)
    {
        return -1;
    }

    for (i = 0, ms = wait;
         i < job->fails && ms < kind->longest && !job->waits;
         i++)
    {
        ms *= 2;
    }

    if (ms > kind->longest) {
        ms = kind->longest;
    }

    if (ms > left) {
        ms = left;
    }

    if (RAND_bytes((unsigned char *) &rnd, sizeof(rnd)) == 1) {
        ms = 1 + rnd % ms;
    }

    return ms > job->retry_after ? ms : job->retry_after;
}


const char *
tf_job_state_word(tf_job_state_t state)
{
    return tf_job_states[state].word;
}


tf_job_state_t
tf_job_state_from_word(const char *word)
{
    unsigned  i;

    for (i = 0; i < TF_JOB_NSTATES; i++) {
        if (strcmp(word, tf_job_states[i].word) == 0) {
            break;
        }
    }

    return (tf_job_state_t) i;
}


int
tf_job_state_terminal(tf_job_state_t state)
{
    return tf_job_states[state].terminal;
}


/* Where the strings of an answer go: the element and the member. */

static const struct {
    size_t  element;
    size_t  offset;
} tf_job_strings[] = {
    { 2,  offsetof(tf_job_t, sid) },
    { 5,  offsetof(tf_job_t, tenant) },
    { 6,  offsetof(tf_job_t, owner) },
    { 7,  offsetof(tf_job_t, groups) },
    { 8,  offsetof(tf_job_t, scopes) },
    { 9,  offsetof(tf_job_t, kind) },
    { 10, offsetof(tf_job_t, model) },
    { 11, offsetof(tf_job_t, payload) },
    { 12, offsetof(tf_job_t, request_id) },
    { 13, offsetof(tf_job_t, fp) },
    { 18, offsetof(tf_job_t, trace) },
    { 19, offsetof(tf_job_t, idem) }
};

#define TF_JOB_NSTRINGS                                                       \
    (sizeof(tf_job_strings) / sizeof(tf_job_strings[0]))


/* Memory for the job and, behind it, its strings. */

static tf_job_t *
tf_job_alloc(const redisReply *reply)
{
    char        *to;
    size_t       i, size;
    tf_job_t    *job;
    const char  *from;

    size = sizeof(tf_job_t);

    for (i = 0; i < TF_JOB_NSTRINGS; i++) {
        size += strlen(tf_reply_str(reply, tf_job_strings[i].element)) + 1;
    }

    job = malloc(size);
    if (job == NULL) {
        return NULL;
    }

    memset(job, 0, sizeof(tf_job_t));
    to = (char *) (job + 1);

    for (i = 0; i < TF_JOB_NSTRINGS; i++) {
        from = tf_reply_str(reply, tf_job_strings[i].element);
        size = strlen(from) + 1;
        memcpy(to, from, size);
        memcpy((char *) job + tf_job_strings[i].offset, &to, sizeof(to));
        to += size;
    }

    return job;
}


tf_job_t *
tf_job_from_reply(const redisReply *reply, int64_t epoch)
{
    int64_t      now;
    tf_job_t    *job;
    tf_trace_t   trace;
    const char  *what;

    if (tf_reply_len(reply) != 20
        || strlen(tf_reply_str(reply, 1)) != TF_ID_TEXT_LEN)
    {
        return NULL;
    }

    job = tf_job_alloc(reply);
    if (job == NULL) {
        return NULL;
    }

    what = tf_reply_str(reply, 0);
    job->handed = strcmp(what, "DEAD") == 0 ? TF_HANDED_DEAD
                  : strcmp(what, "EXPIRED") == 0 ? TF_HANDED_EXPIRED
                  : strcmp(what, "CANCELLED") == 0 ? TF_HANDED_CANCELLED
                  : TF_HANDED_RUN;

    memcpy(job->id, tf_reply_str(reply, 1), TF_ID_TEXT_LEN);
    job->lease = tf_reply_num(reply, 3);
    job->prio = (int) tf_reply_num(reply, 4);
    job->epoch = epoch;
    job->accepted = tf_reply_num(reply, 14);
    job->deadline = tf_reply_num(reply, 15);
    now = tf_reply_num(reply, 16);
    job->fails = (int) tf_reply_num(reply, 17);
    job->waited = now - job->accepted;
    job->until = tf_clock_ms() + job->deadline - now;
    job->state = TF_JOB_RUNNING;

    if (tf_trace_parse(&trace, job->trace, strlen(job->trace)) == 0) {
        memcpy(job->trace_id, trace.trace_id, sizeof(job->trace_id));
    }

    return job;
}


void
tf_job_free(tf_job_t *job)
{
    tf_emit_free(job);
    free(job->body);
    free(job->citations);
    free(job->tool_calls);
    free(job->usage);
    free(job->error);
    free(job);
}


void
tf_job_fail(tf_job_t *job, tf_job_state_t state, const char *code,
    const char *message)
{
    json_t  *error;

    free(job->body);
    free(job->citations);
    free(job->tool_calls);
    free(job->error);
    job->body = NULL;
    job->citations = NULL;
    job->tool_calls = NULL;
    job->error = NULL;
    job->state = state;

    error = json_pack("{s:s, s:s}", "code", code, "message", message);
    if (error != NULL) {
        job->error = json_dumps(error, JSON_COMPACT);
        json_decref(error);
    }
}
