#ifndef TRIFECTA_JOB_H
#define TRIFECTA_JOB_H


/*
 * The life of a job.
 *
 *               submit                 claim + begin
 *   (client) ───────────> queued ───────────────────────> running
 *                           │ ^                              │
 *                           │ └─ release, retry, lost lease ─┤
 *                           v                                v
 *              cancelled, failed (deadline)    succeeded, failed, cancelled,
 *                                              dead (too many crashes)
 *
 * - queued has three sub-states in Redis: ready (in a priority stream),
 *   parked (its tenant has TF_READY_MAX jobs ready already) and delayed
 *   (not before a given time).  A client only ever sees "queued".
 * - succeeded, failed, cancelled and dead are terminal: they absorb.
 * - While a job is open, Redis says where it stands (the hash P:j:<id>).
 *   What became of it, and who may still write that, is said by PostgreSQL
 *   (trifecta.job): begin hands out the attempt number, which is the fencing
 *   token, and complete writes only for the attempt that holds the row.
 * - The order of the end is always: PostgreSQL commit, then Redis finish.
 *
 * Who moves a job: submit and cancel (module), claim, release, retry, finish,
 * reclaim (the sidecar that claims), pump (any sidecar: delayed jobs whose
 * time has come), expire (claim, for a job past its deadline).
 *
 * Three counters are kept apart.  "fails" are errors of the job itself,
 * "crashes" are workers that vanished while they ran it, "lost" are leases
 * that ran out although the worker lived (or before it had begun).  A drain
 * moves none of them.
 */


/* X(name, word, terminal) */
#define TF_JOB_STATES(X)                                                     \
    X(QUEUED,     "queued",     0)                                           \
    X(RUNNING,    "running",    0)                                           \
    X(SUCCEEDED,  "succeeded",  1)                                           \
    X(FAILED,     "failed",     1)                                           \
    X(CANCELLED,  "cancelled",  1)                                           \
    X(DEAD,       "dead",       1)

typedef enum {
#define TF_JOB_STATE_ENUM(name, word, terminal)  TF_JOB_##name,
    TF_JOB_STATES(TF_JOB_STATE_ENUM)
#undef TF_JOB_STATE_ENUM
    TF_JOB_NSTATES
} tf_job_state_t;


/*
 * Kinds of job.  X(name, word, priority, limit in ms, tries, wait, longest)
 * The priority is the stream it waits in (0 is first).  The limit is the one
 * hard deadline over all attempts, counted from the acceptance.  An attempt
 * that fails in a way that may pass is made again, until so many have failed;
 * the wait before doubles each time, from the first to the longest (ms), and
 * is drawn at random below that.
 */
#define TF_JOB_KINDS(X)                                                      \
    X(QUERY,   "query",   1,  600000,      5,  1000,  60000)                 \
    X(EMBED,   "embed",   2,  86400000,    5,  1000,  60000)                 \
    X(FORGET,  "forget",  0,  86400000,    5,  1000,  60000)                 \
    X(INGEST,  "ingest",  2,  86400000,    5,  1000,  60000)                 \
    X(VECTORS, "embeddings",  0,  120000,  5,  1000,  10000)                 \
    X(WEBHOOK, "webhook", 1,  259200000,   200,  5000,  21600000)            \
    X(BATCH_QUERY,   "batch_query",      2,  3600000,  5,  1000,  60000)     \
    X(BATCH_VECTORS, "batch_embeddings", 2,  3600000,  5,  1000,  60000)


/* Bounds that both programs and the function library share. */

#define TF_PRIORITIES       3       /* streams P:r:0 .. P:r:2 */
#define TF_PRIORITY_BACKGROUND  (TF_PRIORITIES - 1)  /* work without hurry */
#define TF_READY_MAX        16      /* jobs of one tenant in the streams */
#define TF_CRASHES_MAX      3       /* then the job is dead */
#define TF_LOST_MAX         10      /* leases lost, then the job is dead */
#define TF_ENDED_TTL        3600    /* s, a job's hash after its end */

#define TF_EVENTS_TTL       300     /* s, a job's events after its end */
#define TF_EVENTS_MAX       16384   /* of a job, over all attempts */
#define TF_EVENTS_SIZE      4194304 /* bytes of them */

#define TF_TENANT_MAX       64      /* bytes */
#define TF_OWNER_MAX        255     /* bytes */
#define TF_QUERY_MAX        32768   /* characters (not bytes) */
#define TF_QUERY_BODY_MAX   262144  /* bytes of a POST /api/v1/query body */
#define TF_VECTORS_TEXTS    2048    /* texts of one request for vectors */
#define TF_VECTORS_NUMBERS  1048576 /* numbers in its answer */
#define TF_VECTORS_FLOATS   131072  /* of them that are drawn as text */
#define TF_MODEL_MAX        128     /* bytes of a model's name */
#define TF_JSON_DEPTH_MAX   32      /* nesting of any JSON from outside */


#endif /* TRIFECTA_JOB_H */
