#ifndef TF_QUEUE_EMIT_H
#define TF_QUEUE_EMIT_H


#include <pthread.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

#include "base/buf.h"
#include "queue/job.h"


/*
 * What a job says while it runs.
 *
 * The thread that runs a job appends text; the emitter, a thread of each
 * shard, cuts it into pieces and tells Redis (the function emit), many jobs in
 * one call.  It begins when the thread is about to wait for something: what is
 * said between the last wait and the end goes into the row with the end, and a
 * job that never waits costs Redis nothing.  The first text of a job that waits
 * goes at once, and in the same call what was not worth one of its own before
 * it; then a piece at most every TF_EMIT_MS, or as soon as TF_EMIT_BYTES are
 * there, or when the call before it was answered, whichever is later.  A job
 * that says very much says it in larger pieces after a while, so that readers
 * who come late, and Redis, have fewer of them.
 *
 * A piece is an event, and so are "searched" and "reset".  Each has the number
 * of its attempt and its own within that, and keeps both: what Redis did not
 * answer is said once more, with the same numbers, and Redis drops what it
 * has.  All that was said is kept here until the job leaves this process,
 * because it goes to PostgreSQL with the end (tf_emit_row): with the same
 * pieces, so that a replay from there has the same numbers as what was read
 * live.  What was not sent by then is no loss: the row has it.
 *
 * Redis' answer FENCED means that somebody else holds the job: it is stopped
 * as lost.  FULL means that it has said too much: the next text is refused.
 *
 * What earlier attempts said comes with the answer to "started", and is kept
 * as well.
 *
 * One mutex a shard guards the list of jobs that say something and what they
 * have said; nobody waits for a store while holding it, and nobody takes the
 * pool's while holding it.
 */

#define TF_EMIT_MS          25
#define TF_EMIT_BYTES       256
#define TF_EMIT_MANY        4096        /* pieces, then they are larger: */
#define TF_EMIT_MANY_MS     250
#define TF_EMIT_MANY_BYTES  4096
#define TF_EMIT_PIECE_MAX   4096        /* bytes of one */
#define TF_EMIT_TEXT_MAX    1048576     /* bytes of an attempt */


/* An event: 's', 'd' or 'r', and where its text ends. */

typedef struct {
    int        attempt;
    char       type;
    size_t     end;
} tf_said_t;

struct tf_emit_s {
    tf_emit_t  *prev;
    tf_emit_t  *next;
    char        id[TF_ID_TEXT_LEN + 1];
    int64_t     lease;
    int         attempt;

    tf_buf_t    text;           /* all of it, what is not cut yet at the end */
    size_t      cut;            /* bytes that are in events */
    tf_said_t  *said;
    unsigned    n;
    unsigned    room;
    unsigned    base;           /* the events of earlier attempts */
    size_t      base_text;

    unsigned    sent;           /* events that Redis has */
    unsigned    pieces;         /* since the last reset */
    int64_t     next_at;        /* no piece before that */
    int64_t     since;          /* what is not cut yet waits since then */
    int64_t     cut_since;      /* and what was cut last did */

    int         fresh;          /* for the job's own thread: not flushed */

    unsigned    listed:1;
    unsigned    ready:1;        /* what is not cut yet may be */
    unsigned    busy:1;         /* in a call that is on its way */
    unsigned    gone:1;         /* the job is not here any more */
    unsigned    mute:1;         /* Redis does not want more */
    unsigned    full:1;         /* it said too much, or memory was short */
    unsigned    quiet:1;        /* that it has searched can wait for text */
};

/* Of a shard. */

typedef struct {
    pthread_mutex_t   mutex;
    pthread_cond_t    filled;
    tf_emit_t        *first;
    int               over;
} tf_emitter_t;


/*
 * Text of the answer, whole characters: never waits.  0, or -1: too much (the
 * job fails), or no memory.
 */
int tf_job_emit_text(tf_job_t *job, const char *text, size_t len);

/*
 * What the answer needs was looked up; counts once, before any text.  Unless
 * it is news it leaves together with the first text, else with the next flush.
 */
int tf_job_emit_searched(tf_job_t *job, int news);

/* The text so far is void: another one begins. */
int tf_job_emit_reset(tf_job_t *job);


/* The job is about to wait: what it has said is to be seen meanwhile. */
void tf_job_emit_flush(tf_job_t *job);


/*
 * For the pool.  The events of attempts before this one, as started() lists
 * them; NULL: no memory, or there are none;
 */
tf_emit_t *tf_emit_earlier(const redisReply *entries, int attempt);

/* it has run: nothing more is cut or sent; */
void tf_emit_close(tf_job_t *job);

/* and it leaves. */
void tf_emit_free(tf_job_t *job);
void tf_emit_destroy(tf_emit_t *e);

void tf_emitter_init(tf_emitter_t *emitter);
void tf_emitter_over(tf_emitter_t *emitter);
void tf_emitter_free(tf_emitter_t *emitter);

/* One more event behind the text so far, up to end; 0 or -1. */
int tf_emit_add(tf_emit_t *e, int attempt, char type, size_t end);

/*
 * The members "deltas" and "streamed" of the row of a job that ended, if it
 * has something to say there (migrations/V15__streamed.sql); and about how
 * many bytes these have.
 */
void tf_emit_row(const tf_job_t *job, json_t *row);
size_t tf_emit_size(const tf_job_t *job);


#endif /* TF_QUEUE_EMIT_H */
