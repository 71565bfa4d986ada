#ifndef TF_QUEUE_JOB_H
#define TF_QUEUE_JOB_H


#include <stdatomic.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include <trifecta/id.h>
#include <trifecta/job.h>
#include <trifecta/trace.h>


/*
 * A job in the hands of this process, from its claim until it was finished
 * or released.
 *
 * It moves through the stages of queue.h, and belongs to one stage at a
 * time; only "stop" is written from elsewhere (by the heartbeat and the
 * drain) and read wherever the job is worked on: a function that runs for
 * long looks at it at least every 100 ms and returns early.
 */

typedef enum {
    TF_STOP_NONE,
    TF_STOP_CANCELLED,          /* its owner cancelled it */
    TF_STOP_DEADLINE,           /* past its hard deadline */
    TF_STOP_DRAIN,              /* this process leaves: back to the queue */
    TF_STOP_LOST                /* somebody else holds it: drop it */
} tf_stop_t;

typedef enum {
    TF_HANDED_RUN,
    TF_HANDED_EXPIRED,          /* complete as failed */
    TF_HANDED_DEAD,             /* complete as dead */
    TF_HANDED_CANCELLED         /* complete as cancelled */
} tf_handed_t;

/* What running it came to. */

typedef enum {
    TF_RUN_ENDED,               /* state, body, error, ... are set */
    TF_RUN_RETRY,               /* the error is set, but may pass: again later,
                                 * not before retry_after */
    TF_RUN_RELEASE,             /* a store is away, or a drain: not its fault */
    TF_RUN_LATE                 /* no connection to a store was free for long:
                                 * as TF_RUN_RELEASE, but the store is there */
} tf_run_t;

/* How it leaves this process. */

typedef enum {
    TF_RETURN_FINISH,           /* it has ended */
    TF_RETURN_RELEASE,          /* back to the queue */
    TF_RETURN_RETRY             /* later */
} tf_return_t;

/* What the table of kinds (trifecta/job.h) says of one. */

typedef struct {
    const char  *word;
    unsigned     limit;             /* ms */
    int          tries;
    int64_t      wait;              /* ms, before the second one */
    int64_t      longest;           /* ms */
} tf_job_kind_t;

typedef struct tf_job_s    tf_job_t;
typedef struct tf_shard_s  tf_shard_t;      /* pool.h */
typedef struct tf_emit_s   tf_emit_t;       /* emit.h */

struct tf_job_s {
    tf_job_t        *next;          /* in the list of its stage */
    tf_job_t        *held_prev;     /* in the list of all held jobs */
    tf_job_t        *held_next;

    /* as claimed; its strings are in one piece of memory with it */

    tf_shard_t      *shard;         /* where it is and goes back to */
    tf_handed_t      handed;
    char             id[TF_ID_TEXT_LEN + 1];
    char            *sid;
    char            *tenant;
    char            *owner;
    char            *groups;        /* JSON array */
    char            *scopes;        /* JSON array */
    char            *kind;
    char            *model;
    char            *payload;       /* JSON object */
    char            *request_id;
    char            *fp;
    char            *idem;          /* of its Idempotency-Key, or "" */
    char            *trace;         /* traceparent of its submit, or "" */
    char             trace_id[TF_TRACE_ID_LEN + 1];     /* or "" */
    int64_t          lease;
    int64_t          epoch;
    int              prio;
    int              fails;         /* how often it was retried */
    int64_t          accepted;      /* ms, by Redis' clock */
    int64_t          deadline;      /* ms, by Redis' clock */
    int64_t          until;         /* the deadline by tf_clock_ms() */
    int64_t          waited;        /* ms, when it was handed out */

    int              attempt;       /* from PostgreSQL; 0 before begin */
    int              relet;         /* it was begun under a new lease once */
    int              returning;     /* nothing but Redis is missing */
    tf_return_t      back;          /* what Redis is to be told */
    int64_t          retry_after;   /* ms, asked for by a provider; or 0 */
    int              waits;         /* the attempt was no failure: it waits
                                     * for a limit that was set for us */
    int64_t          retry_wait;    /* ms, the first wait; 0: its kind's */
    int64_t          retry_until;   /* by tf_clock_ms(); 0: "until" */
    atomic_int       stop;          /* tf_stop_t */
    atomic_llong     stopped;       /* when it was set */
    atomic_int       runs;          /* a thread works on it */
    atomic_uint      done;          /* how far it is, of total, which the */
    atomic_uint      total;         /* heartbeat tells Redis; 0: unknown */
    unsigned         told;          /* the last "done" that was told, + 1 */
    tf_emit_t       *emit;          /* what it said on its way, if it did */

    /* what came of it; strings are malloc'ed */

    tf_job_state_t   state;
    char            *body;
    char            *citations;     /* JSON array */
    char            *usage;         /* JSON object */
    char            *tool_calls;    /* JSON array of {id, name, arguments} */
    char            *error;         /* JSON object */
};


/* From one element of the answer of claim or reclaim; NULL if it is none. */
tf_job_t *tf_job_from_reply(const redisReply *reply, int64_t epoch);

void tf_job_free(tf_job_t *job);

/* Its kind; of one that is not known, what most kinds have. */
const tf_job_kind_t *tf_job_kind(const char *word);

/*
 * When to try again, in ms: drawn at random below a time that doubles with
 * each failure and ends before the last moment, or what was asked for, if
 * that is longer.  Who only waits for its turn comes again soon.  -1: never,
 * for the tries or the time are used up.
 */
int64_t tf_job_retry_delay(const tf_job_t *job);

/* Ends it with {"code":code,"message":message}. */
void tf_job_fail(tf_job_t *job, tf_job_state_t state, const char *code,
    const char *message);

const char *tf_job_state_word(tf_job_state_t state);
/* TF_JOB_NSTATES for an unknown word */
tf_job_state_t tf_job_state_from_word(const char *word);
int tf_job_state_terminal(tf_job_state_t state);


#endif /* TF_QUEUE_JOB_H */
