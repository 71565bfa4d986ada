#ifndef TF_QUEUE_STORE_H
#define TF_QUEUE_STORE_H


#include "db/pg.h"
#include "db/pg_columns.h"
#include "queue/job.h"


/*
 * What PostgreSQL says of jobs: begin and complete, a batch at a time.
 *
 * begin hands out the attempt number of each job, if its (epoch, lease) is
 * newer than the one that the row has seen: a claimer that stalled cannot
 * fence the lawful one.  complete writes only where the attempt is still
 * the job's and the row is still running: a zombie writes nothing.  Both are
 * one transaction; TF_PG_OK means it is committed, anything else is
 * TF_PG_DOWN.  A batch that the server refuses because of its data is
 * repeated job by job, so that one bad job does not hold up its neighbours.
 *
 * result[i] belongs to jobs[i].
 */

#define TF_STORE_BATCH_MAX    256
#define TF_STORE_BATCH_BYTES  (4 * 1024 * 1024)

typedef enum {
    TF_BEGIN_OK,            /* job->attempt is set */
    TF_BEGIN_ENDED,         /* the row is terminal: job->state is its state */
    TF_BEGIN_RELET,         /* the row has seen a newer lease: see row_lease */
    TF_BEGIN_REFUSED        /* the row cannot be written: the job failed */
} tf_begin_status_t;

typedef struct {
    tf_begin_status_t  status;
    int64_t            row_lease;
} tf_begin_t;

typedef enum {
    TF_COMPLETE_OK,
    TF_COMPLETE_ENDED,      /* the row had ended: job->state is its state */
    TF_COMPLETE_FENCED,     /* another attempt holds the row */
    TF_COMPLETE_REFUSED     /* the data cannot be stored */
} tf_complete_t;


/*
 * A connection for these calls and those of the ledger; and one for
 * tf_store_complete() alone.
 */
void tf_store_init(tf_pg_t *pg, const tf_conf_t *conf);
void tf_store_complete_init(tf_pg_t *pg, const tf_conf_t *conf);

tf_pg_status_t tf_store_begin(tf_pg_t *pg, const char *worker,
    tf_job_t **jobs, unsigned n, tf_begin_t *result);

tf_pg_status_t tf_store_complete(tf_pg_t *pg, tf_job_t **jobs, unsigned n,
    tf_complete_t *result);


/*
 * The ledger: rows for what the accept log says.  rows is a JSON array of
 * objects with the members of a job's hash and "op" ("new", "expire",
 * "cancel", "damaged", "delete", or "end" with a state: a store has forgotten
 * it); a deleted job may have only its tenant and owner left.  ops is what
 * tf_store_op() says of each of them, or'ed: only these are looked for.
 * TF_PG_ERROR says that the server refuses the data of a row.
 */
unsigned tf_store_op(const char *op);
tf_pg_status_t tf_store_ledger(tf_pg_t *pg, const char *rows, unsigned ops);

/*
 * The same for new jobs that look well: in the order of a job's columns, id,
 * tenant, owner, groups, scopes, kind, model, prio, request, request_id, fp,
 * idem, retry_of, trace, run_at, acc and dl.
 */
void tf_store_new_init(tf_pg_columns_t *c);
tf_pg_status_t tf_store_new(tf_pg_t *pg, tf_pg_columns_t *c);

/*
 * What the server refuses ends as failed, in a row without that (see
 * store_refused.c): a job that was to begin, TF_PG_OK or TF_PG_DOWN; and the
 * only row of a JSON array as the ledger has it, TF_PG_ERROR when there is
 * not even a tenant and an owner to write.
 */
tf_pg_status_t tf_store_refused_job(tf_pg_t *pg, const tf_job_t *job);
tf_pg_status_t tf_store_refused_entry(tf_pg_t *pg, const char *rows);

/*
 * Whether the server refused the data (classes 22 and 23) or found it too
 * large or too deep (54), so that the same batch without the one bad row would
 * pass.  Anything else, such as a missing right, is the store's trouble and no
 * job's fault.
 */
int tf_store_bad_data(const tf_pg_t *pg);


#endif /* TF_QUEUE_STORE_H */
