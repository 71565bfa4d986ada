#include "queue/store.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"


/*
 * A job whose row PostgreSQL refuses (classes 22 and 23) was accepted all the
 * same: it ends as failed, in a row that has what its client needs in order
 * to read that, and nothing of what cannot be stored.
 */

#define TF_STORE_ERROR                                                        \
    "'{\"code\":\"queue_entry_damaged\",\"message\":\"What the queue held "   \
    "of the job cannot be stored.\"}'"

/*
 * With a lease, as begin has one, an open row ends, too, unless it has seen a
 * newer lease.  The ledger has none: it leaves a row that is there alone.
 */

static const char  tf_store_refused_sql[] =
    "INSERT INTO trifecta.job AS job (id, tenant, owner, kind, model, prio, "
    "request_id, fingerprint, idem_key, accepted, deadline, epoch, lease, "
    "state, error, finished) "
    "SELECT id, tenant, owner, coalesce(kind, ''), coalesce(model, ''), "
    "coalesce(prio, 1), request_id, fp, idem, to_timestamp(acc / 1000.0), "
    "to_timestamp(dl / 1000.0), coalesce(epoch, 0), coalesce(lease, 0), "
    "'failed', " TF_STORE_ERROR ", now() "
    "FROM json_to_recordset($1::json) AS x(id uuid, tenant text, owner text, "
    "kind text, model text, prio smallint, request_id text, fp text, "
    "idem text, acc bigint, dl bigint, epoch bigint, lease bigint) "
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, "
    "error = excluded.error, finished = excluded.finished, "
    "epoch = excluded.epoch, lease = excluded.lease "
    "WHERE job.state IN ('queued', 'running') "
    "AND (job.epoch, job.lease) < (excluded.epoch, excluded.lease)";

/* Not even that: its tenant or its owner was damaged, but there may be a row
 * of before. */

static const char  tf_store_refused_open_sql[] =
    "UPDATE trifecta.job AS job SET state = 'failed', "
    "error = " TF_STORE_ERROR ", finished = now() "
    "FROM json_to_recordset($1::json) AS x(id uuid, epoch bigint, "
    "lease bigint) WHERE job.id = x.id "
    "AND job.state IN ('queued', 'running') "
    "AND (job.epoch, job.lease) < (x.epoch, x.lease)";

/* What may be refused, and need not be stored. */

static const char *const  tf_store_refused_drop[] = {
    "request", "groups", "scopes", "trace", "retry_of", "run_at"
};


static void
tf_store_refused_text(json_t *row, const char *name, const char *text)
{
    json_t  *value;

    /* NULL: it is not UTF-8 */

    value = text[0] ? json_string(text) : NULL;

    if (value != NULL) {
        (void) json_object_set_new(row, name, value);
    }
}


static char *
tf_store_refused_dump(json_t *row)
{
    char    *text;
    json_t  *rows;

    rows = json_pack("[o]", row);
    text = rows ? json_dumps(rows, JSON_COMPACT) : NULL;
    json_decref(rows);

    if (text == NULL) {
        tf_log(TF_LOG_ERROR, "out of memory for a batch");
    }

    return text;
}


tf_pg_status_t
tf_store_refused_job(tf_pg_t *pg, const tf_job_t *job)
{
    char            *rows;
    json_t          *row;
    const char      *params[1];
    tf_pg_status_t   rc;

    row = json_pack("{s:i, s:I, s:I, s:I, s:I}", "prio", job->prio,
                    "acc", (json_int_t) job->accepted,
                    "dl", (json_int_t) job->deadline,
                    "epoch", (json_int_t) job->epoch,
                    "lease", (json_int_t) job->lease);

    tf_store_refused_text(row, "id", job->id);
    tf_store_refused_text(row, "tenant", job->tenant);
    tf_store_refused_text(row, "owner", job->owner);
    tf_store_refused_text(row, "kind", job->kind);
    tf_store_refused_text(row, "model", job->model);
    tf_store_refused_text(row, "request_id", job->request_id);
    tf_store_refused_text(row, "fp", job->fp);
    tf_store_refused_text(row, "idem", job->idem);

    rows = tf_store_refused_dump(row);
    if (rows == NULL) {
        return TF_PG_DOWN;
    }

    params[0] = rows;
    rc = tf_pg_query(pg, NULL, 0, tf_store_refused_sql, 1, params);

    if (rc == TF_PG_ERROR && tf_store_bad_data(pg)) {
        rc = tf_pg_query(pg, NULL, 0, tf_store_refused_open_sql, 1, params);
    }

    free(rows);

    return rc == TF_PG_OK || (rc == TF_PG_ERROR && tf_store_bad_data(pg))
           ? TF_PG_OK : TF_PG_DOWN;
}


tf_pg_status_t
tf_store_refused_entry(tf_pg_t *pg, const char *rows)
{
    char            *text;
    size_t           i;
    json_t          *all, *row;
    const char      *op, *params[1];
    tf_pg_status_t   rc;

    all = json_loads(rows, 0, NULL);
    row = json_array_get(all, 0);

    if (row == NULL) {
        json_decref(all);
        return TF_PG_ERROR;
    }

    for (i = 0; i < sizeof(tf_store_refused_drop)
                    / sizeof(tf_store_refused_drop[0]); i++)
    {
        (void) json_object_del(row, tf_store_refused_drop[i]);
    }

    (void) json_object_set_new(row, "groups", json_array());
    (void) json_object_set_new(row, "scopes", json_array());

    if (json_object_get(row, "model") == NULL) {
        (void) json_object_set_new(row, "model", json_string(""));
    }

    if (json_object_get(row, "kind") == NULL) {
        (void) json_object_set_new(row, "kind", json_string(""));
    }

    op = json_string_value(json_object_get(row, "op"));
    text = json_dumps(all, JSON_COMPACT);

    if (text == NULL) {
        rc = TF_PG_DOWN;

    } else if (op == NULL || strcmp(op, "new") != 0) {
        rc = tf_store_ledger(pg, text, op ? tf_store_op(op) : 0);

    } else {
        params[0] = text;
        rc = tf_pg_query(pg, NULL, 0, tf_store_refused_sql, 1, params);

        if (rc == TF_PG_ERROR && !tf_store_bad_data(pg)) {
            rc = TF_PG_DOWN;
        }
    }

    free(text);
    json_decref(all);

    return rc;
}
