#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "queue/pool.h"


void
tf_emitter_init(tf_emitter_t *emitter)
{
    (void) pthread_mutex_init(&emitter->mutex, NULL);
    tf_cond_init(&emitter->filled);
}


void
tf_emitter_over(tf_emitter_t *emitter)
{
    (void) pthread_mutex_lock(&emitter->mutex);
    emitter->over = 1;
    (void) pthread_cond_broadcast(&emitter->filled);
    (void) pthread_mutex_unlock(&emitter->mutex);
}


void
tf_emitter_free(tf_emitter_t *emitter)
{
    (void) pthread_cond_destroy(&emitter->filled);
    (void) pthread_mutex_destroy(&emitter->mutex);
}


int
tf_emit_add(tf_emit_t *e, int attempt, char type, size_t end)
{
    unsigned    room;
    tf_said_t  *said;

    if (e->n == e->room) {
        room = e->room ? 2 * e->room : 64;
        said = realloc(e->said, room * sizeof(tf_said_t));
        if (said == NULL) {
            e->full = 1;
            return -1;
        }

        e->said = said;
        e->room = room;
    }

    e->said[e->n].attempt = attempt;
    e->said[e->n].type = type;
    e->said[e->n++].end = end;

    return 0;
}


/*
 * The job's record, in the list of its shard, with the lock held; or NULL, and
 * no lock.
 */

static tf_emit_t *
tf_emit_lock(tf_job_t *job)
{
    tf_emit_t     *e;
    tf_emitter_t  *emitter;

    if (job->emit == NULL) {
        job->emit = calloc(1, sizeof(tf_emit_t));
        if (job->emit == NULL) {
            return NULL;
        }
    }

    e = job->emit;
    emitter = &job->shard->emitter;

    (void) pthread_mutex_lock(&emitter->mutex);

    if (!e->listed) {
        memcpy(e->id, job->id, sizeof(e->id));
        e->lease = job->lease;
        e->attempt = job->attempt;
        e->listed = 1;
        e->next = emitter->first;

        if (e->next != NULL) {
            e->next->prev = e;
        }

        emitter->first = e;
    }

    return e;
}


static int
tf_emit_unlock(tf_job_t *job, int rc, int wake)
{
    tf_emitter_t  *emitter;

    emitter = &job->shard->emitter;

    if (wake) {
        (void) pthread_cond_signal(&emitter->filled);
    }

    (void) pthread_mutex_unlock(&emitter->mutex);

    return rc;
}


/* A job that no queue has handed out has nobody to listen: a unit test's. */

int
tf_job_emit_text(tf_job_t *job, const char *text, size_t len)
{
    tf_emit_t  *e;

    if (job->shard == NULL || len == 0) {
        return 0;
    }

    e = tf_emit_lock(job);
    if (e == NULL) {
        return -1;
    }

    if (e->full || e->text.len - e->base_text + len > TF_EMIT_TEXT_MAX) {
        e->full = 1;
        return tf_emit_unlock(job, -1, 0);
    }

    if (e->text.len == e->cut) {
        e->since = tf_clock_ms();
    }

    tf_buf_append(&e->text, text, len);
    e->fresh = 1;

    if (e->text.failed) {
        e->full = 1;
        return tf_emit_unlock(job, -1, 0);
    }

    return tf_emit_unlock(job, 0, 0);
}


void
tf_job_emit_flush(tf_job_t *job)
{
    int         wake;
    tf_emit_t  *e;

    if (job->emit == NULL || !job->emit->fresh) {
        return;
    }

    e = tf_emit_lock(job);
    e->fresh = 0;

    /* what waits for its turn already wakes nobody, until it is much */

    wake = !e->ready || e->text.len - e->cut >= TF_EMIT_BYTES;

    /* that a search is over goes by itself: the next text is a first one */

    e->ready = e->text.len > e->cut;

    (void) tf_emit_unlock(job, 0, wake);
}


int
tf_job_emit_searched(tf_job_t *job, int news)
{
    int         rc;
    tf_emit_t  *e;

    if (job->shard == NULL) {
        return 0;
    }

    e = tf_emit_lock(job);
    if (e == NULL) {
        return -1;
    }

    if (e->n > e->base || e->text.len > e->cut) {
        return tf_emit_unlock(job, 0, 0);
    }

    rc = tf_emit_add(e, e->attempt, 's', e->cut);
    e->quiet = !news;
    e->fresh |= news;

    return tf_emit_unlock(job, rc, 0);
}


int
tf_job_emit_reset(tf_job_t *job)
{
    int         rc;
    tf_emit_t  *e;

    if (job->shard == NULL || job->emit == NULL) {
        return 0;
    }

    e = tf_emit_lock(job);
    if (e == NULL) {
        return -1;
    }

    /* what is not cut yet, nobody has seen */

    e->text.len = e->cut;
    e->ready = 0;
    e->fresh = 0;

    if (e->pieces == 0) {
        return tf_emit_unlock(job, 0, 0);
    }

    e->pieces = 0;
    rc = tf_emit_add(e, e->attempt, 'r', e->cut);

    return tf_emit_unlock(job, rc, 1);
}


static void
tf_emit_unlist(tf_emitter_t *emitter, tf_emit_t *e)
{
    if (!e->listed) {
        return;
    }

    if (e->prev != NULL) {
        e->prev->next = e->next;

    } else {
        emitter->first = e->next;
    }

    if (e->next != NULL) {
        e->next->prev = e->prev;
    }

    e->listed = 0;
}


void
tf_emit_close(tf_job_t *job)
{
    tf_emitter_t  *emitter;

    if (job->emit == NULL) {
        return;
    }

    emitter = &job->shard->emitter;

    (void) pthread_mutex_lock(&emitter->mutex);
    tf_emit_unlist(emitter, job->emit);
    job->emit->text.len = job->emit->cut;
    (void) pthread_mutex_unlock(&emitter->mutex);
}


void
tf_emit_destroy(tf_emit_t *e)
{
    tf_buf_free(&e->text);
    free(e->said);
    free(e);
}


void
tf_emit_free(tf_job_t *job)
{
    tf_emit_t     *e;
    tf_emitter_t  *emitter;

    e = job->emit;
    job->emit = NULL;

    if (e == NULL) {
        return;
    }

    emitter = &job->shard->emitter;

    (void) pthread_mutex_lock(&emitter->mutex);

    tf_emit_unlist(emitter, e);

    if (e->busy) {
        /* the emitter frees it */
        e->gone = 1;
        e = NULL;
    }

    (void) pthread_mutex_unlock(&emitter->mutex);

    if (e != NULL) {
        tf_emit_destroy(e);
    }
}


tf_emit_t *
tf_emit_earlier(const redisReply *entries, int attempt)
{
    int                of;
    char               type;
    size_t             i;
    tf_emit_t         *e;
    const char        *data;
    const redisReply  *entry;

    e = calloc(1, sizeof(tf_emit_t));
    if (e == NULL) {
        return NULL;
    }

    for (i = 0; i < tf_reply_len(entries); i++) {
        entry = entries->element[i];
        of = (int) strtol(tf_reply_str(entry, 0), NULL, 10);
        type = tf_reply_str(entry, 1)[0];
        data = tf_reply_str(entry, 2);

        if (tf_reply_len(entry) != 3 || of < 1 || of >= attempt) {
            continue;
        }

        tf_buf_puts(&e->text, data);

        if (e->text.failed || tf_emit_add(e, of, type, e->text.len) != 0) {
            tf_emit_destroy(e);
            return NULL;
        }
    }

    if (e->n == 0) {
        tf_emit_destroy(e);
        return NULL;
    }

    e->cut = e->text.len;
    e->base = e->n;
    e->base_text = e->text.len;
    e->sent = e->n;

    return e;
}
