#include "ngx_http_trifecta_job.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_worker.h"


/*
 * GET /api/v1/query/{id}: what became of a job.
 *
 * An id that was not made for this tenant and owner is 404 without a look
 * anywhere.  Redis says where an open job stands; what ended, and what Redis
 * does not know, PostgreSQL says:
 *
 *                       PostgreSQL has the job
 *   Redis      ended          open               not              away
 *   open       -              -                  -                - (not asked)
 *   ended      the row        Redis' word        Redis' word      503 store
 *   absent     the row        the row            410              503 store
 *   away       the row        503 queue          503 queue        503 queue
 *
 * "Away" is also a Redis without an epoch.  A job that Redis calls succeeded
 * has its row committed before; if the row is not there the store has gone
 * back in time, and the answer is 503 store, not an empty success.
 *
 * A job that was deleted is 410, by the word of either.
 *
 * After a cancel two fields of the table differ: a job that Redis does not
 * know and that is open in PostgreSQL is 503 queue, since nobody could tell
 * it, and one that Redis calls cancelled does not need PostgreSQL.
 */

#define NGX_HTTP_TRIFECTA_COLUMNS  10

typedef struct {
    const char                  *word;
    ngx_uint_t                   terminal;
} ngx_http_trifecta_state_t;

typedef enum {
    ngx_http_trifecta_queue_away = 0,
    ngx_http_trifecta_queue_absent,
    ngx_http_trifecta_queue_ended
} ngx_http_trifecta_queue_e;

typedef struct {
    ngx_http_trifecta_op_t       op;
    ngx_http_trifecta_queue_e    queue;
    ngx_uint_t                   how;       /* NGX_HTTP_TRIFECTA_READ_... */

    /* Redis' word, when it has one */
    tf_job_state_t               state;
    int64_t                      accepted;
    ngx_str_t                    model;
} ngx_http_trifecta_result_t;


static void ngx_http_trifecta_looked(void *data,
    ngx_http_trifecta_redis_answer_t *answer);
static void ngx_http_trifecta_read(void *data, PGresult *res);


static const ngx_http_trifecta_state_t  ngx_http_trifecta_states[] = {
#define NGX_HTTP_TRIFECTA_STATE(name, word, terminal)  { word, terminal },
    TF_JOB_STATES(NGX_HTTP_TRIFECTA_STATE)
#undef NGX_HTTP_TRIFECTA_STATE
};


/*
 * The settings make row-level security let these rows through, and end with
 * the query's transaction; the predicate is the first lock, they are the
 * second.
 */

static const ngx_http_trifecta_pg_statement_t  ngx_http_trifecta_job_query[] =
{
    { "SELECT set_config('trifecta.tenant', $1, true),"
      " set_config('trifecta.owner', $2, true)", 2 },

    { "SELECT j.state, j.attempt, j.model,"
      " (extract(epoch from j.accepted) * 1000)::bigint,"
      " (extract(epoch from j.finished) * 1000)::bigint,"
      " j.error::text, j.usage::text, r.body, r.citations::text,"
      " j.deleted IS NOT NULL"
      " FROM trifecta.job j LEFT JOIN trifecta.job_result r ON r.job = j.id"
      " WHERE j.id = $3 AND j.tenant = $1 AND j.owner = $2", 3 },

    { NULL, 0 }
};


static tf_job_state_t
ngx_http_trifecta_state_of(const char *word, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; i < TF_JOB_NSTATES; i++) {
        if (ngx_strlen(ngx_http_trifecta_states[i].word) == len
            && ngx_memcmp(ngx_http_trifecta_states[i].word, word, len) == 0)
        {
            return i;
        }
    }

    return TF_JOB_NSTATES;
}


/* A column as it is, or null; citations and usage are JSON already. */

static void
ngx_http_trifecta_json_column(ngx_http_trifecta_json_t *j, const char *name,
    PGresult *res, int column)
{
    if (res == NULL || PQgetisnull(res, 0, column)) {
        return;
    }

    ngx_http_trifecta_json_printf(j, ",\"%s\":", name);
    ngx_http_trifecta_json_raw(j, PQgetvalue(res, 0, column),
                               PQgetlength(res, 0, column));
}


static int64_t
ngx_http_trifecta_pg_int(PGresult *res, int column)
{
    off_t  n;

    n = ngx_atoof((u_char *) PQgetvalue(res, 0, column),
                  PQgetlength(res, 0, column));

    return n == NGX_ERROR ? 0 : n;
}


/*
 * The body of the answer; res is NULL when Redis has said the state, and
 * stopping when it has also said that the job was told to stop.
 */

static ngx_int_t
ngx_http_trifecta_result_reply(ngx_http_request_t *r, tf_job_state_t state,
    ngx_uint_t stopping, ngx_str_t *model, int64_t accepted, PGresult *res)
{
    size_t                          size;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    ngx_http_trifecta_count(mcf, res ? NGX_HTTP_TRIFECTA_M_RESULT_STORE
                                     : NGX_HTTP_TRIFECTA_M_RESULT_QUEUE);

    size = 512;

    if (res) {
        size += PQgetlength(res, 0, 7) + PQgetlength(res, 0, 7) / 8
                + PQgetlength(res, 0, 8);
    }

    ngx_http_trifecta_json_init(&j, r->pool, size);

    ngx_http_trifecta_json_lit(&j, "{\"query_id\":");
    ngx_http_trifecta_json_str(&j, &ctx->job_id);
    ngx_http_trifecta_json_printf(&j, ",\"status\":\"%s\",\"response\":",
                                  ngx_http_trifecta_states[state].word);

    if (res == NULL || PQgetisnull(res, 0, 7)) {
        ngx_http_trifecta_json_lit(&j, "null");

    } else {
        ngx_http_trifecta_json_string(&j, PQgetvalue(res, 0, 7),
                                      PQgetlength(res, 0, 7));
    }

    ngx_http_trifecta_json_column(&j, "error", res, 5);
    ngx_http_trifecta_json_lit(&j, ",\"model\":");
    ngx_http_trifecta_json_str(&j, model);
    ngx_http_trifecta_json_lit(&j, ",\"created_at\":");
    ngx_http_trifecta_json_time(&j, accepted);
    ngx_http_trifecta_json_lit(&j, ",\"completed_at\":");

    if (res == NULL || PQgetisnull(res, 0, 4)) {
        ngx_http_trifecta_json_lit(&j, "null");

    } else {
        ngx_http_trifecta_json_time(&j, ngx_http_trifecta_pg_int(res, 4));
    }

    ngx_http_trifecta_json_column(&j, "usage", res, 6);
    ngx_http_trifecta_json_column(&j, "citations", res, 8);

    if (stopping) {
        ngx_http_trifecta_json_lit(&j, ",\"cancel_requested\":true");
    }

    ngx_http_trifecta_json_lit(&j, "}");

    if (!ngx_http_trifecta_states[state].terminal
        && ngx_http_trifecta_header_lit(r, "Retry-After", "1") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static ngx_int_t
ngx_http_trifecta_no_queue(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_QUEUE_UNAVAILABLE, NULL,
                                   "the queue cannot be reached, and the "
                                   "store has no end of this job");
}


static ngx_int_t
ngx_http_trifecta_no_store(ngx_http_request_t *r)
{
    return ngx_http_trifecta_error(r, TF_E_STORE_UNAVAILABLE, NULL,
                                   "the store of results cannot be read");
}


/* The column of the table above where PostgreSQL does not have the end. */

static ngx_int_t
ngx_http_trifecta_result_no_end(ngx_http_request_t *r,
    ngx_http_trifecta_result_t *result)
{
    if (result->queue == ngx_http_trifecta_queue_away) {
        return ngx_http_trifecta_no_queue(r);
    }

    if (result->queue == ngx_http_trifecta_queue_ended) {

        if (result->state == TF_JOB_SUCCEEDED) {
            return ngx_http_trifecta_no_store(r);
        }

        return ngx_http_trifecta_result_reply(r, result->state, 0,
                                              &result->model,
                                              result->accepted, NULL);
    }

    return ngx_http_trifecta_gone(r, "the job was accepted once and is not "
                                     "known any more");
}


static ngx_int_t
ngx_http_trifecta_result_row(ngx_http_request_t *r,
    ngx_http_trifecta_result_t *result, PGresult *res)
{
    ngx_str_t       model;
    tf_job_state_t  state;

    if (res == NULL || PQnfields(res) != NGX_HTTP_TRIFECTA_COLUMNS) {

        if (result->how == NGX_HTTP_TRIFECTA_READ_CANCEL
            && result->queue == ngx_http_trifecta_queue_ended
            && result->state == TF_JOB_CANCELLED)
        {
            return ngx_http_trifecta_result_no_end(r, result);
        }

        return result->queue == ngx_http_trifecta_queue_away
               ? ngx_http_trifecta_no_queue(r)
               : ngx_http_trifecta_no_store(r);
    }

    if (PQntuples(res) == 0) {
        return ngx_http_trifecta_result_no_end(r, result);
    }

    state = ngx_http_trifecta_state_of(PQgetvalue(res, 0, 0),
                                       PQgetlength(res, 0, 0));

    if (state == TF_JOB_NSTATES) {
        return ngx_http_trifecta_no_store(r);
    }

    if (PQgetvalue(res, 0, 9)[0] == 't') {
        return ngx_http_trifecta_gone(r, "the job was deleted");
    }

    if (!ngx_http_trifecta_states[state].terminal) {

        if (result->queue != ngx_http_trifecta_queue_absent) {
            return ngx_http_trifecta_result_no_end(r, result);
        }

        if (result->how == NGX_HTTP_TRIFECTA_READ_CANCEL) {
            return ngx_http_trifecta_no_queue(r);
        }
    }

    model.data = (u_char *) PQgetvalue(res, 0, 2);
    model.len = PQgetlength(res, 0, 2);

    return ngx_http_trifecta_result_reply(r, state, 0, &model,
                                          ngx_http_trifecta_pg_int(res, 3),
                                          res);
}


static void
ngx_http_trifecta_read(void *data, PGresult *res)
{
    ngx_http_trifecta_result_t *result = data;

    ngx_http_request_t  *r;

    r = result->op.request;
    result->op.query = NULL;

    ngx_http_trifecta_finalize(r, ngx_http_trifecta_result_row(r, result,
                                                               res));
}


/* NGX_DONE when PostgreSQL has been asked, else the answer. */

static ngx_int_t
ngx_http_trifecta_ask_store(ngx_http_request_t *r,
    ngx_http_trifecta_result_t *result)
{
    ngx_str_t                       params[3];
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    params[0] = ctx->tenant;
    params[1] = ctx->owner;
    params[2] = ctx->job_id;

    result->op.query = ngx_http_trifecta_pg_query(mcf->worker->pg,
                                                  ngx_http_trifecta_job_query,
                                                  params, 3,
                                                  ngx_http_trifecta_read,
                                                  result);
    if (result->op.query == NULL) {
        return ngx_http_trifecta_result_row(r, result, NULL);
    }

    return NGX_DONE;
}


/* NGX_DONE when Redis has left the question to PostgreSQL, else the answer. */

static ngx_int_t
ngx_http_trifecta_result_looked(ngx_http_request_t *r,
    ngx_http_trifecta_result_t *result, redisReply *reply)
{
    ngx_str_t        model;
    redisReply     **e;
    tf_job_state_t   state;

    result->queue = ngx_http_trifecta_queue_away;

    if (reply == NULL) {
        return ngx_http_trifecta_ask_store(r, result);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "ABSENT")) {
        result->queue = ngx_http_trifecta_queue_absent;
        return ngx_http_trifecta_ask_store(r, result);
    }

    if (ngx_http_trifecta_resp_is(reply, 0, "DELETED")) {
        return ngx_http_trifecta_gone(r, "the job was deleted");
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "trifecta: Redis refused to look: %*s",
                      (size_t) reply->len, reply->str);
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 4
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[3]->type != REDIS_REPLY_STRING)
    {
        return ngx_http_trifecta_ask_store(r, result);
    }

    e = reply->element;
    state = ngx_http_trifecta_state_of(e[0]->str, e[0]->len);

    if (state == TF_JOB_NSTATES) {
        return ngx_http_trifecta_ask_store(r, result);
    }

    model.data = (u_char *) e[3]->str;
    model.len = e[3]->len;

    if (!ngx_http_trifecta_states[state].terminal) {
        return ngx_http_trifecta_result_reply(r, state,
                              reply->elements > 7
                              && ngx_http_trifecta_resp_int(e[7]) == 1,
                              &model, ngx_http_trifecta_resp_int(e[2]), NULL);
    }

    result->queue = ngx_http_trifecta_queue_ended;
    result->state = state;
    result->accepted = ngx_http_trifecta_resp_int(e[2]);
    result->model.len = model.len;
    result->model.data = ngx_pstrdup(r->pool, &model);

    if (result->model.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_ask_store(r, result);
}


static void
ngx_http_trifecta_looked(void *data, ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_result_t *result = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = result->op.request;
    result->op.cmd = NULL;

    rc = ngx_http_trifecta_result_looked(r, result, answer->reply);

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(r, rc);
    }
}


ngx_int_t
ngx_http_trifecta_read_job(ngx_http_request_t *r, ngx_uint_t how)
{
    ngx_http_trifecta_result_t  *result;

    result = ngx_http_trifecta_op_create(r,
                                         sizeof(ngx_http_trifecta_result_t));
    if (result == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    result->how = how;
    result->op.cmd = ngx_http_trifecta_job_command(r, "FCALL_RO", TF_FN_LOOK,
                                                   0,
                                                   ngx_http_trifecta_looked,
                                                   result);
    if (result->op.cmd == NULL) {
        return ngx_http_trifecta_result_looked(r, result, NULL);
    }

    return NGX_DONE;
}


ngx_int_t
ngx_http_trifecta_result(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_trifecta_own_job(r, id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_trifecta_read_job(r, NGX_HTTP_TRIFECTA_READ);

    if (rc != NGX_DONE) {
        return rc;
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
