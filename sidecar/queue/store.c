#include "queue/store.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "queue/emit.h"


/*
 * A batch is an array of each column (pg_columns.h), its rows in the order of
 * their ids.
 *
 * Rows are looked up by their ids, in few of many partitions.  "id = ANY" of
 * the whole batch is for the index of a partition, and says nothing of which
 * partitions these are: TF_STORE_DAYS does.  And a state is compared as an
 * expression, or a small index of open jobs would seem good for finding an id,
 * and be read from its beginning to its end.
 *
 * One plan is made for all batches of a connection: to make one takes longer
 * than to write a few rows.  It must not be one that reads whole partitions
 * because they were empty when it was made, nor one that compares each row of
 * a batch with each other one because it was thought to be small.
 */

/*
 * Leaves out the partitions in which no id of $1 can be, when the statement
 * begins: $1 is in the order of the ids.  Such a range could be read from any
 * index as well, with all that is between the first and the last one; as two,
 * the second of which is empty, it cannot, where bitmaps are off.
 */
#define TF_STORE_DAYS(id)                                                     \
    "AND ((" id " >= ($1)[1] AND " id " <= ($1)[array_length($1, 1)]) "       \
    "OR (" id " > ($1)[array_length($1, 1)] AND " id " < ($1)[1])) "


static const char  tf_store_settings[] =
    "SELECT set_config('plan_cache_mode', 'force_generic_plan', false), "
    "set_config('enable_seqscan', 'off', false), "
    "set_config('jit', 'off', false)";

/* of a connection that joins nothing but a batch and its rows */

static const char  tf_store_complete_settings[] =
    "SELECT set_config('plan_cache_mode', 'force_generic_plan', false), "
    "set_config('enable_seqscan', 'off', false), "
    "set_config('enable_bitmapscan', 'off', false), "
    "set_config('enable_nestloop', 'off', false), "
    "set_config('jit', 'off', false)";

static const tf_pg_type_t  tf_store_begin_types[] = {
    TF_PG_TYPE_UUID, TF_PG_TYPE_TEXT, TF_PG_TYPE_TEXT, TF_PG_TYPE_JSONB,
    TF_PG_TYPE_JSONB, TF_PG_TYPE_TEXT, TF_PG_TYPE_TEXT, TF_PG_TYPE_INT2,
    TF_PG_TYPE_JSONB, TF_PG_TYPE_TEXT, TF_PG_TYPE_TEXT, TF_PG_TYPE_TEXT,
    TF_PG_TYPE_TEXT, TF_PG_TYPE_MOMENT, TF_PG_TYPE_MOMENT, TF_PG_TYPE_INT8,
    TF_PG_TYPE_INT8, TF_PG_TYPE_TEXT
};

static const char  tf_store_begin_sql[] =
    "INSERT INTO trifecta.job AS job (id, tenant, owner, groups, scopes, "
    "kind, model, prio, request, request_id, fingerprint, idem_key, trace, "
    "accepted, deadline, epoch, lease, worker, conversation, state, attempt, "
    "started) "
    "SELECT x.*, request->>'conversation_id', 'running', 1, now() "
    "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], "
    "$5::jsonb[], $6::text[], $7::text[], $8::smallint[], $9::jsonb[], "
    "$10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], "
    "$15::timestamptz[], $16::bigint[], $17::bigint[], $18::text[]) "
    "AS x(id, tenant, owner, groups, scopes, kind, model, prio, request, "
    "request_id, fp, idem, trace, acc, dl, epoch, lease, worker) "
    "ON CONFLICT (id) DO UPDATE SET attempt = job.attempt + 1, "
    "epoch = excluded.epoch, lease = excluded.lease, "
    "worker = excluded.worker, state = 'running', "
    "started = coalesce(job.started, now()) "
    "WHERE job.state IN ('queued', 'running') "
    "AND (job.epoch, job.lease) < (excluded.epoch, excluded.lease) "
    "RETURNING job.id, job.attempt";

static const tf_pg_type_t  tf_store_id_types[] = { TF_PG_TYPE_UUID };

static const char  tf_store_look_sql[] =
    "SELECT id, state, lease FROM trifecta.job WHERE id = ANY ($1::uuid[])";

static const tf_pg_type_t  tf_store_complete_types[] = {
    TF_PG_TYPE_UUID, TF_PG_TYPE_INT4, TF_PG_TYPE_TEXT, TF_PG_TYPE_JSONB,
    TF_PG_TYPE_JSONB, TF_PG_TYPE_TEXT, TF_PG_TYPE_JSONB, TF_PG_TYPE_JSONB,
    TF_PG_TYPE_JSONB, TF_PG_TYPE_JSONB
};

static const char  tf_store_complete_sql[] =
    "WITH done AS (UPDATE trifecta.job AS job SET state = x.state, "
    "error = x.error, usage = x.usage, streamed = x.streamed, "
    "finished = now() "
    "FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::jsonb[], "
    "$5::jsonb[], $6::text[], $7::jsonb[], $8::jsonb[], $9::jsonb[], "
    "$10::jsonb[]) AS x(id, attempt, state, error, usage, body, citations, "
    "tool_calls, deltas, streamed) "
    "WHERE job.id = x.id AND job.id = ANY ($1) " TF_STORE_DAYS("job.id")
    "AND job.attempt = x.attempt AND job.state || '' = 'running' "
    "RETURNING job.id, job.tenant, job.owner, job.attempt, x.body, "
    "x.citations, x.tool_calls, x.deltas), "
    "stored AS (INSERT INTO trifecta.job_result "
    "(job, tenant, owner, attempt, body, citations, tool_calls, deltas) "
    "SELECT id, tenant, owner, attempt, body, coalesce(citations, '[]'), "
    "tool_calls, (SELECT array_agg(d::integer) "
    "FROM jsonb_array_elements_text(deltas) AS d) "
    "FROM done WHERE body IS NOT NULL) "
    "SELECT id FROM done";


/* A job of a batch, and where it stands in it. */

typedef struct {
    tf_job_t  *job;
    unsigned   at;
} tf_store_row_t;


void
tf_store_init(tf_pg_t *pg, const tf_conf_t *conf)
{
    tf_pg_init(pg, conf, TF_PG_QUEUE);
    pg->settings = tf_store_settings;
}


void
tf_store_complete_init(tf_pg_t *pg, const tf_conf_t *conf)
{
    tf_pg_init(pg, conf, TF_PG_QUEUE);
    pg->settings = tf_store_complete_settings;
}


int
tf_store_bad_data(const tf_pg_t *pg)
{
    return pg->conn != NULL
           && (strncmp(pg->sqlstate, "22", 2) == 0
               || strncmp(pg->sqlstate, "23", 2) == 0
               || strncmp(pg->sqlstate, "54", 2) == 0);
}


static int
tf_store_order(const void *one, const void *two)
{
    const tf_store_row_t  *a = one;
    const tf_store_row_t  *b = two;

    return strcmp(a->job->id, b->job->id);
}


static void
tf_store_sort(tf_store_row_t *rows, tf_job_t **jobs, unsigned n)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        rows[i].job = jobs[i];
        rows[i].at = i;
    }

    qsort(rows, n, sizeof(tf_store_row_t), tf_store_order);
}


/*
 * The row of this id.  Answers come in the order of the rows as a rule: from
 * is where it stands then.  NULL: none of ours.
 */

static tf_store_row_t *
tf_store_find(tf_store_row_t *rows, unsigned n, const char *id,
    unsigned *from)
{
    unsigned  i;

    for (i = 0; i < n; i++) {
        if (*from >= n) {
            *from = 0;
        }

        if (strcmp(rows[*from].job->id, id) == 0) {
            return &rows[(*from)++];
        }

        (*from)++;
    }

    return NULL;
}


/*
 * JSON from elsewhere goes as it is, and the server refuses what is none.
 * With "anew", which is for a job whose batch was refused, it is made anew,
 * and what is none becomes NULL.
 */

static void
tf_store_json(tf_pg_columns_t *c, const char *text, int anew)
{
    char    *dump;
    json_t  *json;

    if (text == NULL || !anew) {
        tf_pg_columns_text(c, text);
        return;
    }

    /* 15 digits: a decimal fraction comes out as it went in */

    json = json_loads(text, JSON_DECODE_ANY, NULL);
    dump = json == NULL || json_is_null(json) ? NULL
           : json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY
                              | JSON_REAL_PRECISION(15));
    tf_pg_columns_text(c, dump);
    free(dump);
    json_decref(json);
}


static void
tf_store_begin_rows(tf_pg_columns_t *c, const char *worker,
    const tf_store_row_t *rows, unsigned n, int anew)
{
    unsigned         i;
    const tf_job_t  *job;

    tf_pg_columns_init(c, tf_store_begin_types,
                       sizeof(tf_store_begin_types)
                       / sizeof(tf_store_begin_types[0]));

    for (i = 0; i < n; i++) {
        job = rows[i].job;

        tf_pg_columns_id(c, job->id);
        tf_pg_columns_text(c, job->tenant);
        tf_pg_columns_text(c, job->owner);
        tf_store_json(c, job->groups, anew);
        tf_store_json(c, job->scopes, anew);
        tf_pg_columns_text(c, job->kind);
        tf_pg_columns_text(c, job->model);
        tf_pg_columns_num(c, job->prio);
        tf_store_json(c, job->payload, anew);
        tf_pg_columns_text(c, job->request_id);
        tf_pg_columns_text(c, job->fp);

        /*
         * The ledger writes both, too, but it may never come to that: a Redis
         * that was lost meanwhile is rebuilt from this row.
         */
        tf_pg_columns_text(c, job->idem[0] ? job->idem : NULL);
        tf_pg_columns_text(c, job->trace[0] ? job->trace : NULL);

        tf_pg_columns_num(c, job->accepted);
        tf_pg_columns_num(c, job->deadline);
        tf_pg_columns_num(c, job->epoch);
        tf_pg_columns_num(c, job->lease);
        tf_pg_columns_text(c, worker);
    }
}


/* The states of rows; TF_PG_OK or TF_PG_DOWN. */

static tf_pg_status_t
tf_store_look(tf_pg_t *pg, PGresult **res, const tf_store_row_t *rows,
    unsigned n)
{
    unsigned         i;
    tf_pg_status_t   rc;
    tf_pg_columns_t  c;

    tf_pg_columns_init(&c, tf_store_id_types, 1);

    for (i = 0; i < n; i++) {
        tf_pg_columns_id(&c, rows[i].job->id);
    }

    rc = tf_pg_prepared_columns(pg, res, 0, tf_store_look_sql, &c);
    tf_pg_columns_free(&c);

    return rc == TF_PG_OK ? TF_PG_OK : TF_PG_DOWN;
}


static tf_pg_status_t
tf_store_begin_batch(tf_pg_t *pg, tf_pg_columns_t *c, tf_store_row_t *rows,
    unsigned n, tf_begin_t *result)
{
    int              r;
    unsigned         i, began, from;
    PGresult        *res;
    tf_job_state_t   state;
    tf_store_row_t  *row;
    tf_pg_status_t   rc;

    tf_fault_expect(pg, pg, begin);
    rc = tf_pg_prepared_columns(pg, &res, 0, tf_store_begin_sql, c);
    if (rc != TF_PG_OK) {
        return rc;
    }

    tf_fault(begin, committed);

    for (i = 0; i < n; i++) {
        result[i].status = TF_BEGIN_ENDED;
        result[i].row_lease = 0;
    }

    began = 0;
    from = 0;

    for (r = 0; r < PQntuples(res); r++) {
        row = tf_store_find(rows, n, PQgetvalue(res, r, 0), &from);
        if (row != NULL) {
            row->job->attempt = (int) strtol(PQgetvalue(res, r, 1), NULL, 10);
            result[row->at].status = TF_BEGIN_OK;
            began++;
        }
    }

    PQclear(res);

    if (began == n) {
        return TF_PG_OK;
    }

    rc = tf_store_look(pg, &res, rows, n);
    if (rc != TF_PG_OK) {
        return rc;
    }

    for (r = 0; r < PQntuples(res); r++) {
        row = tf_store_find(rows, n, PQgetvalue(res, r, 0), &from);

        if (row == NULL || result[row->at].status == TF_BEGIN_OK) {
            continue;
        }

        state = tf_job_state_from_word(PQgetvalue(res, r, 1));

        if (state != TF_JOB_NSTATES && tf_job_state_terminal(state)) {
            row->job->state = state;

        } else {
            result[row->at].status = TF_BEGIN_RELET;
            result[row->at].row_lease = strtoll(PQgetvalue(res, r, 2), NULL,
                                                10);
        }
    }

    PQclear(res);

    return TF_PG_OK;
}


/* TF_PG_ERROR: the server refuses the data. */

static tf_pg_status_t
tf_store_begin_some(tf_pg_t *pg, const char *worker, tf_job_t **jobs,
    unsigned n, tf_begin_t *result, int anew)
{
    tf_pg_status_t   rc;
    tf_store_row_t   rows[TF_STORE_BATCH_MAX];
    tf_pg_columns_t  c;

    tf_store_sort(rows, jobs, n);
    tf_store_begin_rows(&c, worker, rows, n, anew);
    rc = tf_store_begin_batch(pg, &c, rows, n, result);
    tf_pg_columns_free(&c);

    return rc == TF_PG_ERROR && !tf_store_bad_data(pg) ? TF_PG_DOWN : rc;
}


tf_pg_status_t
tf_store_begin(tf_pg_t *pg, const char *worker, tf_job_t **jobs, unsigned n,
    tf_begin_t *result)
{
    unsigned        i;
    tf_pg_status_t  rc;

    rc = tf_store_begin_some(pg, worker, jobs, n, result, 0);

    if (rc == TF_PG_ERROR && n == 1) {
        rc = tf_store_begin_some(pg, worker, jobs, n, result, 1);
    }

    if (rc != TF_PG_ERROR) {
        return rc;
    }

    if (n == 1) {
        tf_log(TF_LOG_ERROR, "job %s cannot be begun: %s", jobs[0]->id,
               pg->err);
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


/* What a job said on its way: the last two columns. */

static void
tf_store_said(tf_pg_columns_t *c, const tf_job_t *job)
{
    size_t       i;
    char        *text;
    json_t      *row;
    const char  *names[] = { "deltas", "streamed" };

    row = job->emit ? json_object() : NULL;

    if (row != NULL) {
        tf_emit_row(job, row);
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        text = row ? json_dumps(json_object_get(row, names[i]), JSON_COMPACT)
                   : NULL;
        tf_pg_columns_text(c, text);
        free(text);
    }

    json_decref(row);
}


static void
tf_store_complete_rows(tf_pg_columns_t *c, const tf_store_row_t *rows,
    unsigned n, int anew)
{
    unsigned         i;
    const tf_job_t  *job;

    tf_pg_columns_init(c, tf_store_complete_types,
                       sizeof(tf_store_complete_types)
                       / sizeof(tf_store_complete_types[0]));

    for (i = 0; i < n; i++) {
        job = rows[i].job;

        tf_pg_columns_id(c, job->id);
        tf_pg_columns_num(c, job->attempt);
        tf_pg_columns_text(c, tf_job_state_word(job->state));
        tf_store_json(c, job->error, anew);
        tf_store_json(c, job->usage, anew);
        tf_pg_columns_text(c, job->body);
        tf_store_json(c, job->citations, anew);
        tf_store_json(c, job->tool_calls, anew);
        tf_store_said(c, job);
    }
}


/*
 * A job whose row was not updated: if the row has ended (by us, when the
 * answer to an earlier commit got lost, or by a lawful other), its state is
 * the one to finish with.
 */

static tf_pg_status_t
tf_store_look_ended(tf_pg_t *pg, tf_store_row_t *rows, unsigned n,
    tf_complete_t *result)
{
    int              r;
    unsigned         from;
    PGresult        *res;
    tf_job_state_t   state;
    tf_store_row_t  *row;

    if (tf_store_look(pg, &res, rows, n) != TF_PG_OK) {
        return TF_PG_DOWN;
    }

    from = 0;

    for (r = 0; r < PQntuples(res); r++) {
        row = tf_store_find(rows, n, PQgetvalue(res, r, 0), &from);

        if (row == NULL || result[row->at] != TF_COMPLETE_FENCED) {
            continue;
        }

        state = tf_job_state_from_word(PQgetvalue(res, r, 1));

        if (state != TF_JOB_NSTATES && tf_job_state_terminal(state)) {
            row->job->state = state;
            result[row->at] = TF_COMPLETE_ENDED;
        }
    }

    PQclear(res);

    return TF_PG_OK;
}


/* TF_PG_ERROR: the server refuses the data. */

static tf_pg_status_t
tf_store_complete_some(tf_pg_t *pg, tf_job_t **jobs, unsigned n,
    tf_complete_t *result, int anew)
{
    int              r;
    unsigned         i, done, from;
    PGresult        *res;
    tf_pg_status_t   rc;
    tf_store_row_t  *row, rows[TF_STORE_BATCH_MAX];
    tf_pg_columns_t  c;

    tf_store_sort(rows, jobs, n);
    tf_store_complete_rows(&c, rows, n, anew);
    rc = tf_pg_prepared_columns(pg, &res, 0, tf_store_complete_sql, &c);
    tf_pg_columns_free(&c);

    if (rc != TF_PG_OK) {
        return rc == TF_PG_ERROR && tf_store_bad_data(pg) ? TF_PG_ERROR
                                                          : TF_PG_DOWN;
    }

    for (i = 0; i < n; i++) {
        result[i] = TF_COMPLETE_FENCED;
    }

    done = 0;
    from = 0;

    for (r = 0; r < PQntuples(res); r++) {
        row = tf_store_find(rows, n, PQgetvalue(res, r, 0), &from);
        if (row != NULL) {
            result[row->at] = TF_COMPLETE_OK;
            done++;
        }
    }

    PQclear(res);

    return done == n ? TF_PG_OK : tf_store_look_ended(pg, rows, n, result);
}


tf_pg_status_t
tf_store_complete(tf_pg_t *pg, tf_job_t **jobs, unsigned n,
    tf_complete_t *result)
{
    unsigned        i;
    tf_pg_status_t  rc;

    rc = tf_store_complete_some(pg, jobs, n, result, 0);

    if (rc == TF_PG_ERROR && n == 1) {
        rc = tf_store_complete_some(pg, jobs, n, result, 1);
    }

    if (rc != TF_PG_ERROR) {
        return rc;
    }

    if (n == 1) {
        tf_log(TF_LOG_ERROR, "the result of job %s cannot be stored: %s",
               jobs[0]->id, pg->err);
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
