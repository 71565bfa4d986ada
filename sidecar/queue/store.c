#include "queue/store.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "queue/emit.h"


/* One JSON array goes in as $1; the columns are taken out of it there. */

#define TF_STORE_COLUMNS                                                      \
    "id uuid, tenant text, owner text, groups jsonb, scopes jsonb, "          \
    "kind text, model text, prio smallint, request jsonb, "                   \
    "request_id text, fp text, idem text, retry_of uuid, trace text, "        \
    "run_at bigint, acc bigint, dl bigint"

#define TF_STORE_INTO                                                         \
    "id, tenant, owner, groups, scopes, kind, model, prio, request, "         \
    "request_id, fingerprint, idem_key, retry_of, trace, run_at, accepted, "  \
    "deadline, conversation"

#define TF_STORE_FROM                                                         \
    "id, tenant, owner, groups, scopes, kind, model, prio, request, "         \
    "request_id, fp, idem, retry_of, trace, to_timestamp(run_at / 1000.0), "  \
    "to_timestamp(acc / 1000.0), to_timestamp(dl / 1000.0), "                 \
    "request->>'conversation_id'"

static const char  tf_store_begin_sql[] =
    "INSERT INTO trifecta.job AS job (" TF_STORE_INTO ", state, epoch, "
    "lease, attempt, worker, started) "
    "SELECT " TF_STORE_FROM ", 'running', epoch, lease, 1, $2, now() "
    "FROM json_to_recordset($1::json) AS x(" TF_STORE_COLUMNS
    ", epoch bigint, lease bigint) ORDER BY id "
    "ON CONFLICT (id) DO UPDATE SET attempt = job.attempt + 1, "
    "epoch = excluded.epoch, lease = excluded.lease, "
    "worker = excluded.worker, state = 'running', "
    "started = coalesce(job.started, now()) "
    "WHERE job.state IN ('queued', 'running') "
    "AND (job.epoch, job.lease) < (excluded.epoch, excluded.lease) "
    "RETURNING job.id, job.attempt";

static const char  tf_store_look_sql[] =
    "SELECT id, state, lease FROM trifecta.job WHERE id = ANY ("
    "SELECT (x->>'id')::uuid FROM json_array_elements($1::json) AS x)";

static const char  tf_store_complete_sql[] =
    "WITH x AS (SELECT * FROM json_to_recordset($1::json) AS x("
    "id uuid, attempt integer, state text, error jsonb, usage jsonb, "
    "body text, citations jsonb, tool_calls jsonb, deltas integer[], "
    "streamed jsonb)), "
    "done AS (UPDATE trifecta.job AS job SET state = x.state, "
    "error = x.error, usage = x.usage, streamed = x.streamed, "
    "finished = now() FROM x "
    "WHERE job.id = x.id AND job.attempt = x.attempt "
    "AND job.state = 'running' "
    "RETURNING job.id, job.tenant, job.owner, job.attempt), "
    "stored AS (INSERT INTO trifecta.job_result "
    "(job, tenant, owner, attempt, body, citations, tool_calls, deltas) "
    "SELECT done.id, done.tenant, done.owner, done.attempt, x.body, "
    "coalesce(x.citations, '[]'), x.tool_calls, x.deltas "
    "FROM done JOIN x USING (id) "
    "WHERE x.body IS NOT NULL) "
    "SELECT id FROM done";

/* begin may have been first, and knows none of these. */

static const char  tf_store_new_sql[] =
    "INSERT INTO trifecta.job (" TF_STORE_INTO ", state) "
    "SELECT DISTINCT ON (id) " TF_STORE_FROM ", 'queued' "
    "FROM json_to_recordset($1::json) AS x(" TF_STORE_COLUMNS
    ", op text) WHERE op = 'new' ORDER BY id ON CONFLICT (id) DO UPDATE "
    "SET idem_key = excluded.idem_key, retry_of = excluded.retry_of, "
    "trace = excluded.trace "
    "WHERE (job.idem_key, job.retry_of, job.trace) IS DISTINCT FROM "
    "(excluded.idem_key, excluded.retry_of, excluded.trace)";

/* An end that the queue decided: op, state, error. */

#define TF_STORE_END_SQL(op, state, error)                                    \
    "INSERT INTO trifecta.job AS job (" TF_STORE_INTO ", state, error, "      \
    "finished, streamed) "                                                    \
    "SELECT DISTINCT ON (id) " TF_STORE_FROM ", '" state "', "                \
    "'" error "', now(), streamed "                                           \
    "FROM json_to_recordset($1::json) AS x(" TF_STORE_COLUMNS                 \
    ", op text, streamed jsonb) WHERE op = '" op "' AND acc IS NOT NULL "     \
    "ORDER BY id "                                                            \
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, "                 \
    "error = excluded.error, finished = excluded.finished, "                  \
    "streamed = excluded.streamed "                                           \
    "WHERE job.state IN ('queued', 'running')"

#define TF_STORE_CANCELLED                                                    \
    "{\"code\":\"cancelled\",\"message\":\"The job was cancelled.\"}"

#define TF_STORE_EXPIRED                                                      \
    "{\"code\":\"deadline_exceeded\",\"message\":\"The job waited in "         \
    "the queue past its deadline.\"}"

#define TF_STORE_DEAD                                                         \
    "{\"code\":\"too_many_crashes\",\"message\":\"The workers that ran the "    \
    "job were lost too often.\"}"

#define TF_STORE_LOST                                                         \
    "{\"code\":\"error_lost\",\"message\":\"The job had failed; PostgreSQL "    \
    "went back to a moment before that, and the reason is lost.\"}"

#define TF_STORE_DAMAGED                                                      \
    "{\"code\":\"queue_entry_damaged\",\"message\":\"What the queue held of "  \
    "the job was damaged.\"}"

/*
 * What the ledger does, in this order.  Each is a transaction of its own, and
 * may be repeated: one over all of them would keep rows locked between two
 * statements, and a process that is stopped just there would hold up every
 * other one that begins or completes these jobs.
 */

static const char *const  tf_store_ledger_sql[] = {
    tf_store_new_sql,
    TF_STORE_END_SQL("expire", "failed", TF_STORE_EXPIRED),
    TF_STORE_END_SQL("cancel", "cancelled", TF_STORE_CANCELLED),

    /* once more, for a store that has forgotten it; a result is not here */

    "INSERT INTO trifecta.job AS job (" TF_STORE_INTO ", state, error, "
    "finished) "
    "SELECT DISTINCT ON (id) " TF_STORE_FROM ", state, (CASE state "
    "WHEN 'cancelled' THEN '" TF_STORE_CANCELLED "' "
    "WHEN 'dead' THEN '" TF_STORE_DEAD "' "
    "ELSE '" TF_STORE_LOST "' END)::jsonb, now() "
    "FROM json_to_recordset($1::json) AS x(" TF_STORE_COLUMNS
    ", op text, state text) WHERE op = 'end' AND acc IS NOT NULL "
    "AND state IN ('failed', 'cancelled', 'dead') ORDER BY id "
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, "
    "error = excluded.error, finished = excluded.finished "
    "WHERE job.state IN ('queued', 'running')",

    "UPDATE trifecta.job SET state = 'failed', "
    "error = '" TF_STORE_DAMAGED "', finished = now() "
    "WHERE id IN (SELECT (e->>'id')::uuid "
    "FROM json_array_elements($1::json) AS e WHERE e->>'op' = 'damaged') "
    "AND state IN ('queued', 'running')",

    /*
     * Deleted: an open one is cancelled, and what it held is erased, also from
     * the summary of its conversation.
     */

    TF_STORE_END_SQL("delete", "cancelled", TF_STORE_CANCELLED),

    "WITH x AS (SELECT DISTINCT (e->>'id')::uuid AS id, "
    "e->>'tenant' AS tenant, e->>'owner' AS owner "
    "FROM json_array_elements($1::json) AS e WHERE e->>'op' = 'delete'), "
    "gone AS (UPDATE trifecta.job AS job SET deleted = now(), "
    "state = CASE WHEN job.state IN ('queued', 'running') THEN 'cancelled' "
    "ELSE job.state END, finished = coalesce(job.finished, now()), "
    "request = NULL, conversation = NULL, streamed = NULL "
    "FROM x JOIN trifecta.job AS was ON was.id = x.id "
    "WHERE job.id = x.id AND job.tenant = x.tenant "
    "AND job.owner = x.owner "
    "RETURNING job.id, job.tenant, job.owner, was.conversation), "
    "talks AS (UPDATE trifecta.conversation AS c SET "
    "version = c.version + 1, summary = NULL, upto = NULL, groups = '[]' "
    "FROM (SELECT DISTINCT tenant, owner, conversation FROM gone) AS g "
    "WHERE c.tenant = g.tenant AND c.owner = g.owner "
    "AND c.id = g.conversation), "
    "steps AS (DELETE FROM trifecta.job_step WHERE job IN "
    "(SELECT id FROM gone)) "
    "DELETE FROM trifecta.job_result WHERE job IN (SELECT id FROM gone)"
};


int
tf_store_bad_data(const tf_pg_t *pg)
{
    return pg->conn != NULL
           && (strncmp(pg->sqlstate, "22", 2) == 0
               || strncmp(pg->sqlstate, "23", 2) == 0);
}


/* JSON text from elsewhere; what is none becomes null. */

static json_t *
tf_store_json(const char *text)
{
    json_t  *json;

    json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

    return json ? json : json_null();
}


static char *
tf_store_dump(json_t *rows)
{
    char  *text;

    /* 15 digits: a decimal fraction comes out as it went in */

    text = rows ? json_dumps(rows, JSON_COMPACT | JSON_REAL_PRECISION(15))
                : NULL;
    json_decref(rows);

    if (text == NULL) {
        tf_log(TF_LOG_ERROR, "out of memory for a batch");
    }

    return text;
}


static char *
tf_store_begin_rows(tf_job_t **jobs, unsigned n)
{
    json_t    *rows, *row;
    unsigned   i;

    rows = json_array();

    for (i = 0; i < n; i++) {
        row = json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:i, s:o, s:s, "
                        "s:s, s:I, s:I, s:I, s:I}",
                        "id", jobs[i]->id, "tenant", jobs[i]->tenant,
                        "owner", jobs[i]->owner,
                        "groups", tf_store_json(jobs[i]->groups),
                        "scopes", tf_store_json(jobs[i]->scopes),
                        "kind", jobs[i]->kind, "model", jobs[i]->model,
                        "prio", jobs[i]->prio,
                        "request", tf_store_json(jobs[i]->payload),
                        "request_id", jobs[i]->request_id,
                        "fp", jobs[i]->fp,
                        "acc", (json_int_t) jobs[i]->accepted,
                        "dl", (json_int_t) jobs[i]->deadline,
                        "epoch", (json_int_t) jobs[i]->epoch,
                        "lease", (json_int_t) jobs[i]->lease);

        /*
         * The ledger writes it, too, but it may never come to that: a Redis
         * that was lost meanwhile is rebuilt from this row.
         */
        if (row != NULL && jobs[i]->idem[0]) {
            (void) json_object_set_new(row, "idem",
                                       json_string(jobs[i]->idem));
        }

        if (row == NULL || json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            return tf_store_dump(NULL);
        }
    }

    return tf_store_dump(rows);
}


static tf_job_t *
tf_store_find(tf_job_t **jobs, unsigned n, const char *id, unsigned *at)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        if (strcmp(jobs[i]->id, id) == 0) {
            *at = i;
            return jobs[i];
        }
    }

    return NULL;
}


static tf_pg_status_t
tf_store_begin_batch(tf_pg_t *pg, const char *worker, const char *rows,
    tf_job_t **jobs, unsigned n, tf_begin_t *result)
{
    int              r;
    unsigned         i, began;
    tf_job_t        *job;
    PGresult        *res;
    const char      *params[2];
    tf_job_state_t   state;
    tf_pg_status_t   rc;

    params[0] = rows;
    params[1] = worker;

    tf_fault_expect(pg, pg, begin);
    rc = tf_pg_query(pg, &res, 0, tf_store_begin_sql, 2, params);
    if (rc != TF_PG_OK) {
        return rc;
    }

    tf_fault(begin, committed);

    for (i = 0; i < n; i++) {
        result[i].status = TF_BEGIN_ENDED;
        result[i].row_lease = 0;
    }

    began = 0;

    for (r = 0; r < PQntuples(res); r++) {
        job = tf_store_find(jobs, n, PQgetvalue(res, r, 0), &i);
        if (job != NULL) {
            job->attempt = (int) strtol(PQgetvalue(res, r, 1), NULL, 10);
            result[i].status = TF_BEGIN_OK;
            began++;
        }
    }

    PQclear(res);

    if (began == n) {
        return TF_PG_OK;
    }

    rc = tf_pg_query(pg, &res, 0, tf_store_look_sql, 1, params);
    if (rc != TF_PG_OK) {
        return TF_PG_DOWN;
    }

    for (r = 0; r < PQntuples(res); r++) {
        job = tf_store_find(jobs, n, PQgetvalue(res, r, 0), &i);

        if (job == NULL || result[i].status == TF_BEGIN_OK) {
            continue;
        }

        state = tf_job_state_from_word(PQgetvalue(res, r, 1));

        if (state != TF_JOB_NSTATES && tf_job_state_terminal(state)) {
            job->state = state;

        } else {
            result[i].status = TF_BEGIN_RELET;
            result[i].row_lease = strtoll(PQgetvalue(res, r, 2), NULL, 10);
        }
    }

    PQclear(res);

    return TF_PG_OK;
}


tf_pg_status_t
tf_store_begin(tf_pg_t *pg, const char *worker, tf_job_t **jobs, unsigned n,
    tf_begin_t *result)
{
    char            *rows;
    unsigned         i;
    tf_pg_status_t   rc;

    /* NULL for text that is not UTF-8: Redis may hand out anything */

    rows = tf_store_begin_rows(jobs, n);

    if (rows != NULL) {
        rc = tf_store_begin_batch(pg, worker, rows, jobs, n, result);
        free(rows);

        if (rc == TF_PG_OK) {
            return TF_PG_OK;
        }

        if (rc == TF_PG_DOWN || !tf_store_bad_data(pg)) {
            return TF_PG_DOWN;
        }
    }

    if (n == 1) {
        tf_log(TF_LOG_ERROR, "job %s cannot be begun: %s", jobs[0]->id,
               rows ? pg->err : "what Redis has of it is not UTF-8");
        result[0].status = TF_BEGIN_REFUSED;
        return tf_store_refused_job(pg, jobs[0]);
    }

    for (i = 0; i < n; i++) {
        rc = tf_store_begin(pg, worker, jobs + i, 1, result + i);
        if (rc != TF_PG_OK) {
            return rc;
        }
    }

    return TF_PG_OK;
}


static char *
tf_store_complete_rows(tf_job_t **jobs, unsigned n)
{
    json_t    *rows, *row;
    unsigned   i;

    rows = json_array();

    for (i = 0; i < n; i++) {
        row = json_pack("{s:s, s:i, s:s, s:o, s:o, s:s?, s:o, s:o}",
                        "id", jobs[i]->id, "attempt", jobs[i]->attempt,
                        "state", tf_job_state_word(jobs[i]->state),
                        "error", tf_store_json(jobs[i]->error),
                        "usage", tf_store_json(jobs[i]->usage),
                        "body", jobs[i]->body,
                        "citations", tf_store_json(jobs[i]->citations),
                        "tool_calls", tf_store_json(jobs[i]->tool_calls));

        if (row != NULL) {
            tf_emit_row(jobs[i], row);
        }

        if (row == NULL || json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            return tf_store_dump(NULL);
        }
    }

    return tf_store_dump(rows);
}


/*
 * A job whose row was not updated: if the row has ended (by us, when the
 * answer to an earlier commit got lost, or by a lawful other), its state is
 * the one to finish with.
 */

static tf_pg_status_t
tf_store_look_ended(tf_pg_t *pg, const char *rows, tf_job_t **jobs,
    unsigned n, tf_complete_t *result)
{
    int              r;
    unsigned         i;
    PGresult        *res;
    const char      *params[1];
    tf_job_state_t   state;

    params[0] = rows;

    if (tf_pg_query(pg, &res, 0, tf_store_look_sql, 1, params) != TF_PG_OK) {
        return TF_PG_DOWN;
    }

    for (r = 0; r < PQntuples(res); r++) {
        if (tf_store_find(jobs, n, PQgetvalue(res, r, 0), &i) == NULL
            || result[i] != TF_COMPLETE_FENCED)
        {
            continue;
        }

        state = tf_job_state_from_word(PQgetvalue(res, r, 1));

        if (state != TF_JOB_NSTATES && tf_job_state_terminal(state)) {
            jobs[i]->state = state;
            result[i] = TF_COMPLETE_ENDED;
        }
    }

    PQclear(res);

    return TF_PG_OK;
}


static tf_pg_status_t
tf_store_complete_batch(tf_pg_t *pg, const char *rows, tf_job_t **jobs,
    unsigned n, tf_complete_t *result)
{
    int              r;
    unsigned         i, done;
    PGresult        *res;
    const char      *params[1];
    tf_pg_status_t   rc;

    params[0] = rows;

    rc = tf_pg_query(pg, &res, 0, tf_store_complete_sql, 1, params);
    if (rc != TF_PG_OK) {
        return rc;
    }

    for (i = 0; i < n; i++) {
        result[i] = TF_COMPLETE_FENCED;
    }

    done = 0;

    for (r = 0; r < PQntuples(res); r++) {
        if (tf_store_find(jobs, n, PQgetvalue(res, r, 0), &i) != NULL) {
            result[i] = TF_COMPLETE_OK;
            done++;
        }
    }

    PQclear(res);

    if (done == n) {
        return TF_PG_OK;
    }

    return tf_store_look_ended(pg, rows, jobs, n, result);
}


tf_pg_status_t
tf_store_complete(tf_pg_t *pg, tf_job_t **jobs, unsigned n,
    tf_complete_t *result)
{
    char            *rows;
    unsigned         i;
    tf_pg_status_t   rc;

    /* NULL for text that is not UTF-8, for example: JSON cannot carry it */

    rows = tf_store_complete_rows(jobs, n);

    if (rows != NULL) {
        rc = tf_store_complete_batch(pg, rows, jobs, n, result);
        free(rows);

        if (rc == TF_PG_OK) {
            return TF_PG_OK;
        }

        if (rc == TF_PG_DOWN || !tf_store_bad_data(pg)) {
            return TF_PG_DOWN;
        }
    }

    if (n == 1) {
        tf_log(TF_LOG_ERROR, "the result of job %s cannot be stored: %s",
               jobs[0]->id, rows ? pg->err : "it is not UTF-8");
        result[0] = TF_COMPLETE_REFUSED;
        return TF_PG_OK;
    }

    for (i = 0; i < n; i++) {
        rc = tf_store_complete(pg, jobs + i, 1, result + i);
        if (rc != TF_PG_OK) {
            return rc;
        }
    }

    return TF_PG_OK;
}


tf_pg_status_t
tf_store_ledger(tf_pg_t *pg, const char *rows)
{
    size_t           i;
    const char      *params[1];
    tf_pg_status_t   rc;

    params[0] = rows;

    for (i = 0; i < sizeof(tf_store_ledger_sql)
                    / sizeof(tf_store_ledger_sql[0]); i++)
    {
        rc = tf_pg_query(pg, NULL, 0, tf_store_ledger_sql[i], 1, params);

        if (rc != TF_PG_OK) {
            return (rc == TF_PG_ERROR && tf_store_bad_data(pg)) ? TF_PG_ERROR
                                                                : TF_PG_DOWN;
        }

        tf_fault_at(ledger, new, i);
    }

    return TF_PG_OK;
}
