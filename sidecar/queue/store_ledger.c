#include "queue/store.h"

#include <string.h>


/* What the ledger writes (ledger.c). */

/* Rows go in as one JSON array, $1; the columns are taken out of it there. */

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

/* begin may have been first, and does not know of what it is a repetition. */

#define TF_STORE_NEW_SQL(select)                                              \
    "INSERT INTO trifecta.job (" TF_STORE_INTO ", state) "                    \
    "SELECT DISTINCT ON (id) " select " ORDER BY id "                         \
    "ON CONFLICT (id) DO UPDATE "                                             \
    "SET idem_key = excluded.idem_key, retry_of = excluded.retry_of, "        \
    "trace = excluded.trace "                                                 \
    "WHERE (job.idem_key, job.retry_of, job.trace) IS DISTINCT FROM "         \
    "(excluded.idem_key, excluded.retry_of, excluded.trace)"

static const tf_pg_type_t  tf_store_new_types[] = {
    TF_PG_TYPE_UUID, TF_PG_TYPE_TEXT, TF_PG_TYPE_TEXT, TF_PG_TYPE_JSONB,
    TF_PG_TYPE_JSONB, TF_PG_TYPE_TEXT, TF_PG_TYPE_TEXT, TF_PG_TYPE_INT2,
    TF_PG_TYPE_JSONB, TF_PG_TYPE_TEXT, TF_PG_TYPE_TEXT, TF_PG_TYPE_TEXT,
    TF_PG_TYPE_UUID, TF_PG_TYPE_TEXT, TF_PG_TYPE_MOMENT, TF_PG_TYPE_MOMENT,
    TF_PG_TYPE_MOMENT
};

static const char  tf_store_new_sql[] =
    TF_STORE_NEW_SQL("x.*, request->>'conversation_id', 'queued' "
    "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], "
    "$5::jsonb[], $6::text[], $7::text[], $8::smallint[], $9::jsonb[], "
    "$10::text[], $11::text[], $12::text[], $13::uuid[], $14::text[], "
    "$15::timestamptz[], $16::timestamptz[], $17::timestamptz[]) "
    "AS x(id, tenant, owner, groups, scopes, kind, model, prio, request, "
    "request_id, fp, idem, retry_of, trace, run_at, acc, dl)");

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
 * What the ledger does, in this order, for the entries of which op.  Each is a
 * transaction of its own, and may be repeated: one over all of them would keep
 * rows locked between two statements, and a process that is stopped just there
 * would hold up every other one that begins or completes these jobs.
 */

static const struct {
    const char  *op;
    const char  *sql;
} tf_store_ledger_sql[] = {
    { "new", TF_STORE_NEW_SQL(TF_STORE_FROM ", 'queued' "
    "FROM json_to_recordset($1::json) AS x(" TF_STORE_COLUMNS
    ", op text) WHERE op = 'new'") },
    { "expire", TF_STORE_END_SQL("expire", "failed", TF_STORE_EXPIRED) },
    { "cancel", TF_STORE_END_SQL("cancel", "cancelled", TF_STORE_CANCELLED) },

    /* once more, for a store that has forgotten it; a result is not here */

    { "end", "INSERT INTO trifecta.job AS job (" TF_STORE_INTO ", state, "
    "error, finished) "
    "SELECT DISTINCT ON (id) " TF_STORE_FROM ", state, (CASE state "
    "WHEN 'cancelled' THEN '" TF_STORE_CANCELLED "' "
    "WHEN 'dead' THEN '" TF_STORE_DEAD "' "
    "ELSE '" TF_STORE_LOST "' END)::jsonb, now() "
    "FROM json_to_recordset($1::json) AS x(" TF_STORE_COLUMNS
    ", op text, state text) WHERE op = 'end' AND acc IS NOT NULL "
    "AND state IN ('failed', 'cancelled', 'dead') ORDER BY id "
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, "
    "error = excluded.error, finished = excluded.finished "
    "WHERE job.state IN ('queued', 'running')" },

    { "damaged", "UPDATE trifecta.job SET state = 'failed', "
    "error = '" TF_STORE_DAMAGED "', finished = now() "
    "WHERE id IN (SELECT (e->>'id')::uuid "
    "FROM json_array_elements($1::json) AS e WHERE e->>'op' = 'damaged') "
    "AND state IN ('queued', 'running')" },

    /*
     * Deleted: an open one is cancelled, and what it held is erased, also from
     * the summary of its conversation.
     */

    { "delete", TF_STORE_END_SQL("delete", "cancelled", TF_STORE_CANCELLED) },

    { "delete", "WITH x AS (SELECT DISTINCT (e->>'id')::uuid AS id, "
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
    "DELETE FROM trifecta.job_result WHERE job IN (SELECT id FROM gone)" }
};

#define TF_STORE_NLEDGER                                                      \
    (sizeof(tf_store_ledger_sql) / sizeof(tf_store_ledger_sql[0]))


unsigned
tf_store_op(const char *op)
{
    size_t    i;
    unsigned  ops;

    ops = 0;

    for (i = 0; i < TF_STORE_NLEDGER; i++) {
        if (strcmp(tf_store_ledger_sql[i].op, op) == 0) {
            ops |= 1u << i;
        }
    }

    return ops;
}


void
tf_store_new_init(tf_pg_columns_t *c)
{
    tf_pg_columns_init(c, tf_store_new_types,
                       sizeof(tf_store_new_types)
                       / sizeof(tf_store_new_types[0]));
}


tf_pg_status_t
tf_store_new(tf_pg_t *pg, tf_pg_columns_t *c)
{
    PGresult        *res;
    tf_pg_status_t   rc;

    rc = tf_pg_prepared_columns(pg, &res, 0, tf_store_new_sql, c);
    PQclear(res);

    return rc == TF_PG_ERROR && !tf_store_bad_data(pg) ? TF_PG_DOWN : rc;
}


tf_pg_status_t
tf_store_ledger(tf_pg_t *pg, const char *rows, unsigned ops)
{
    size_t           i;
    const char      *params[1];
    tf_pg_status_t   rc;

    params[0] = rows;

    for (i = 0; i < TF_STORE_NLEDGER; i++) {
        rc = ops & (1u << i)
             ? tf_pg_query(pg, NULL, 0, tf_store_ledger_sql[i].sql, 1, params)
             : TF_PG_OK;

        if (rc != TF_PG_OK) {
            return (rc == TF_PG_ERROR && tf_store_bad_data(pg)) ? TF_PG_ERROR
                                                                : TF_PG_DOWN;
        }

        tf_fault_at(ledger, new, i);
    }

    return TF_PG_OK;
}
