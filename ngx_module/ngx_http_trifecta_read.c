#include "ngx_http_trifecta_look.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_read.h"
#include "ngx_http_trifecta_worker.h"


typedef struct {
    const char  *word;
    ngx_uint_t   ends;
} ngx_http_trifecta_state_row_t;


static void ngx_http_trifecta_read_looked(void *data,
    ngx_http_trifecta_redis_answer_t *answer);
static void ngx_http_trifecta_read_queried(void *data, PGresult *res);


static const ngx_http_trifecta_state_row_t  ngx_http_trifecta_states[] = {
#define NGX_HTTP_TRIFECTA_STATE(name, word, terminal)  { word, terminal },
    TF_JOB_STATES(NGX_HTTP_TRIFECTA_STATE)
#undef NGX_HTTP_TRIFECTA_STATE
};


/*
 * The settings make row-level security let these rows through, and end with
 * the query's transaction; the predicate is the first lock, they are the
 * second.  The job's id goes through the same row as the settings, so they
 * are made before any job is looked at, whatever the rest of the predicate
 * says; OFFSET keeps the planner from taking the two apart.
 *
 * "metadata" stays with the request, and JSON is text already when it comes.
 */

#define NGX_HTTP_TRIFECTA_JOB_AS                                              \
    "SELECT x.* FROM (SELECT $3::uuid AS id,"                                 \
    " set_config('trifecta.tenant', $1, true) AS tenant,"                     \
    " set_config('trifecta.owner', $2, true) AS owner OFFSET 0) AS me"        \
    " CROSS JOIN LATERAL (SELECT "

#define NGX_HTTP_TRIFECTA_JOB_COLUMNS                                         \
    "j.state, j.attempt, j.model,"                                            \
    " (date_part('epoch', j.accepted) * 1000)::bigint,"                       \
    " (date_part('epoch', j.finished) * 1000)::bigint,"                       \
    " j.error, j.usage, r.body, r.citations, j.deleted IS NOT NULL,"          \
    " j.conversation, j.request->'metadata'"

#define NGX_HTTP_TRIFECTA_JOB_FROM                                            \
    " FROM trifecta.job AS j LEFT JOIN trifecta.job_result AS r"              \
    " ON r.job = j.id AND r.job >= {from} AND r.job < {to}"                   \
    " WHERE j.id = me.id AND j.tenant = me.tenant AND j.owner = me.owner"     \
    " AND j.id >= {from} AND j.id < {to} OFFSET 0) AS x"


static const ngx_http_trifecta_pg_statement_t  ngx_http_trifecta_job_query[] =
{
    { NGX_HTTP_TRIFECTA_JOB_AS NGX_HTTP_TRIFECTA_JOB_COLUMNS
      NGX_HTTP_TRIFECTA_JOB_FROM, 3 },

    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t  ngx_http_trifecta_more_query[] =
{
    { NGX_HTTP_TRIFECTA_JOB_AS NGX_HTTP_TRIFECTA_JOB_COLUMNS ","
      " j.request, r.deltas, j.streamed, r.tool_calls"
      NGX_HTTP_TRIFECTA_JOB_FROM, 3 },

    { NULL, 0 }
};


const char *
ngx_http_trifecta_state_word(tf_job_state_t state)
{
    return ngx_http_trifecta_states[state].word;
}


tf_job_state_t
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


ngx_uint_t
ngx_http_trifecta_state_ends(tf_job_state_t state)
{
    return ngx_http_trifecta_states[state].ends;
}


int64_t
ngx_http_trifecta_row_int(PGresult *row, int column)
{
    off_t  n;

    n = ngx_atoof((u_char *) PQgetvalue(row, 0, column),
                  PQgetlength(row, 0, column));

    return n == NGX_ERROR ? 0 : n;
}


static void
ngx_http_trifecta_read_model(ngx_http_trifecta_read_t *read,
    const char *model, size_t len)
{
    read->model.data = read->name;
    read->model.len = ngx_min(len, sizeof(read->name));

    ngx_memcpy(read->name, model, read->model.len);
}


static ngx_uint_t
ngx_http_trifecta_more(ngx_http_trifecta_read_t *read)
{
    return read->payload || read->full;
}


/* It never changes, and a reading may be repeated: one copy will do. */

static void
ngx_http_trifecta_read_request(ngx_http_trifecta_read_t *read,
    const char *text, size_t len)
{
    u_char  *p;

    if (len == 0 || read->request.len) {
        return;
    }

    p = ngx_pnalloc(read->op.request->pool, len);

    if (p) {
        ngx_memcpy(p, text, len);
        read->request.data = p;
        read->request.len = len;
    }
}


/* The column of the table in the header where PostgreSQL has no end. */

static void
ngx_http_trifecta_read_no_end(ngx_http_trifecta_read_t *read)
{
    switch (read->queue) {

    case ngx_http_trifecta_queue_away:
        read->seen = ngx_http_trifecta_seen_no_queue;
        return;

    case ngx_http_trifecta_queue_ended:
        read->seen = (read->state == TF_JOB_SUCCEEDED)
                     ? ngx_http_trifecta_seen_no_store
                     : ngx_http_trifecta_seen_ended;
        return;

    case ngx_http_trifecta_queue_absent:
        read->seen = ngx_http_trifecta_seen_gone;
        return;

    case ngx_http_trifecta_queue_doubted:
        read->seen = ngx_http_trifecta_seen_open;
        return;
    }
}


/*
 * When the end of this job, or of another one with the same hash, was told
 * without Redis; 0: never.  Jobs that are not one only cost a query.
 */

static ngx_atomic_t *
ngx_http_trifecta_read_told(ngx_http_trifecta_read_t *read)
{
    tf_id_t                         id;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_main_conf_t  *mcf;

    ctx = ngx_http_trifecta_get_ctx(read->op.request);
    mcf = ngx_http_get_module_main_conf(read->op.request,
                                        ngx_http_trifecta_module);

    if (tf_id_parse(&id, (char *) ctx->job_id.data, ctx->job_id.len) != 0) {
        ngx_memzero(&id, sizeof(tf_id_t));
    }

    return &ngx_http_trifecta_metrics(mcf)->told
               [(id.octets[14] << 8 | id.octets[15]) % NGX_HTTP_TRIFECTA_TOLD];
}


static ngx_uint_t
ngx_http_trifecta_read_doubts(ngx_http_trifecta_read_t *read)
{
    ngx_msec_t  told;

    told = *ngx_http_trifecta_read_told(read);

    return told != 0
           && ngx_current_msec - told < NGX_HTTP_TRIFECTA_READ_DOUBT;
}


static void
ngx_http_trifecta_read_row(ngx_http_trifecta_read_t *read, PGresult *res)
{
    ngx_uint_t      ends;
    tf_job_state_t  state;

    if (res == NULL
        || PQnfields(res) != (ngx_http_trifecta_more(read)
                              ? NGX_HTTP_TRIFECTA_ROW_MORE
                              : NGX_HTTP_TRIFECTA_ROW_COLUMNS))
    {

        if (read->cancelled && read->queue == ngx_http_trifecta_queue_ended
            && read->state == TF_JOB_CANCELLED)
        {
            ngx_http_trifecta_read_no_end(read);
            return;
        }

        read->seen = (read->queue == ngx_http_trifecta_queue_away)
                     ? ngx_http_trifecta_seen_no_queue
                     : ngx_http_trifecta_seen_no_store;
        return;
    }

    if (PQntuples(res) == 0) {
        ngx_http_trifecta_read_no_end(read);
        return;
    }

    state = ngx_http_trifecta_state_of(PQgetvalue(res, 0, 0),
                                       PQgetlength(res, 0, 0));

    if (state == TF_JOB_NSTATES) {
        read->seen = ngx_http_trifecta_seen_no_store;
        return;
    }

    if (PQgetvalue(res, 0, NGX_HTTP_TRIFECTA_ROW_DELETED)[0] == 't') {
        read->seen = ngx_http_trifecta_seen_deleted;
        return;
    }

    ends = ngx_http_trifecta_state_ends(state);

    if (!ends) {

        if (read->queue != ngx_http_trifecta_queue_absent) {
            ngx_http_trifecta_read_no_end(read);
            return;
        }

        if (read->cancelled) {
            read->seen = ngx_http_trifecta_seen_no_queue;
            return;
        }
    }

    if (ends && read->queue == ngx_http_trifecta_queue_away) {
        *ngx_http_trifecta_read_told(read) = ngx_max(ngx_current_msec, 1);
    }

    read->seen = ends ? ngx_http_trifecta_seen_ended
                      : ngx_http_trifecta_seen_open;
    read->state = state;
    read->accepted = ngx_http_trifecta_row_int(res, 3);
    read->position = 0;
    read->stopping = 0;
    read->row = res;

    if (read->payload) {
        ngx_http_trifecta_read_request(read,
                        PQgetvalue(res, 0, NGX_HTTP_TRIFECTA_ROW_REQUEST),
                        PQgetlength(res, 0, NGX_HTTP_TRIFECTA_ROW_REQUEST));
    }

    ngx_http_trifecta_read_model(read, PQgetvalue(res, 0, 2),
                                 PQgetlength(res, 0, 2));
}


void
ngx_http_trifecta_read_clear(ngx_http_trifecta_read_t *read)
{
    if (read->full) {
        PQclear(read->row);
    }

    if (read->reply) {
        freeReplyObject(read->reply);
    }

    read->row = NULL;
    read->reply = NULL;
    read->events = NULL;
}


static void
ngx_http_trifecta_read_queried(void *data, PGresult *res)
{
    ngx_http_trifecta_read_t *read = data;

    read->op.query = NULL;

    if (read->full && res) {

        /* no memory is no answer */

        res = PQcopyResult(res, PG_COPYRES_ATTRS|PG_COPYRES_TUPLES);
    }

    ngx_http_trifecta_read_row(read, res);

    if (read->full && read->row == NULL) {
        PQclear(res);
    }

    if (read->rung && read->row == NULL) {
        read->rung = 0;

        if (ngx_http_trifecta_read(read) == NGX_AGAIN) {
            return;
        }
    }

    read->rung = 0;

    /* the request, and this reading with it, may be gone afterwards */

    read->done(read);
}


static ngx_int_t
ngx_http_trifecta_read_store(ngx_http_trifecta_read_t *read)
{
    tf_id_t                         id;
    ngx_str_t                       all[3];
    ngx_http_request_t             *r;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_pg_params_t   params;
    ngx_http_trifecta_main_conf_t  *mcf;

    r = read->op.request;
    ctx = ngx_http_trifecta_get_ctx(r);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    if (tf_id_parse(&id, (char *) ctx->job_id.data, ctx->job_id.len) != 0) {
        ngx_http_trifecta_read_row(read, NULL);
        return NGX_OK;
    }

    all[0] = ctx->tenant;
    all[1] = ctx->owner;
    all[2] = ctx->job_id;

    ngx_memzero(&params, sizeof(ngx_http_trifecta_pg_params_t));

    params.params = all;
    params.nparams = 3;
    params.day = (ngx_uint_t) (tf_id_time(&id) / NGX_HTTP_TRIFECTA_PG_DAY);

    read->op.query = ngx_http_trifecta_pg_query_params(mcf->worker->pg,
                                              ngx_http_trifecta_more(read)
                                              ? ngx_http_trifecta_more_query
                                              : ngx_http_trifecta_job_query,
                                              &params,
                                              ngx_http_trifecta_read_queried,
                                              read);
    ngx_http_trifecta_pg_charge(read->op.query, &ctx->store_time);

    if (read->op.query == NULL) {
        ngx_http_trifecta_read_row(read, NULL);
        return NGX_OK;
    }

    return NGX_AGAIN;
}


/* NGX_AGAIN when Redis has left the question to PostgreSQL. */

static ngx_int_t
ngx_http_trifecta_read_reply(ngx_http_trifecta_read_t *read,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_look_t  look;

    ngx_http_trifecta_looked(read->op.request, answer, &look);

    switch (look.what) {

    case ngx_http_trifecta_look_away:
        read->queue = ngx_http_trifecta_queue_away;
        return ngx_http_trifecta_read_store(read);

    case ngx_http_trifecta_look_absent:
        read->queue = ngx_http_trifecta_queue_absent;
        return ngx_http_trifecta_read_store(read);

    case ngx_http_trifecta_look_deleted:
        read->queue = ngx_http_trifecta_queue_away;
        read->seen = ngx_http_trifecta_seen_deleted;
        return NGX_OK;

    case ngx_http_trifecta_look_known:
        break;
    }

    read->state = look.state;
    read->accepted = look.accepted;
    read->position = look.position;
    read->stopping = 0;
    read->ready = 0;
    read->total = 0;

    ngx_http_trifecta_read_model(read, (char *) look.model.data,
                                 look.model.len);

    if (ngx_http_trifecta_state_ends(look.state)) {
        read->queue = ngx_http_trifecta_queue_ended;
        return ngx_http_trifecta_read_store(read);
    }

    read->stopping = look.stopping;
    read->ready = look.ready;
    read->total = look.total;

    if (ngx_http_trifecta_read_doubts(read)) {
        read->queue = ngx_http_trifecta_queue_doubted;
        return ngx_http_trifecta_read_store(read);
    }

    read->queue = ngx_http_trifecta_queue_away;
    read->seen = ngx_http_trifecta_seen_open;

    return NGX_OK;
}


/* Behind what "look" answers: the request, and the list of events. */

static void
ngx_http_trifecta_read_more(ngx_http_trifecta_read_t *read,
    ngx_http_trifecta_redis_answer_t *answer)
{
    redisReply  *reply;

    reply = answer->reply;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements < 12)
    {
        return;
    }

    if (reply->element[10]->type == REDIS_REPLY_STRING) {
        ngx_http_trifecta_read_request(read, reply->element[10]->str,
                                       reply->element[10]->len);
    }

    if (read->full && reply->element[11]->type == REDIS_REPLY_ARRAY) {
        answer->kept = 1;
        read->reply = reply;
        read->events = reply->element[11];
    }
}


static void
ngx_http_trifecta_read_looked(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
    ngx_http_trifecta_read_t *read = data;

    read->op.cmd = NULL;

    if (ngx_http_trifecta_more(read)) {
        ngx_http_trifecta_read_more(read, answer);
    }

    if (ngx_http_trifecta_read_reply(read, answer) == NGX_OK) {
        read->done(read);
    }
}


ngx_int_t
ngx_http_trifecta_read(ngx_http_trifecta_read_t *read)
{
    ngx_uint_t           wanted;
    ngx_http_request_t  *r;

    r = read->op.request;

    ngx_http_trifecta_read_clear(read);
    ngx_str_null(&read->cached.body);

    if (!read->cancelled && !ngx_http_trifecta_more(read)
        && ngx_http_trifecta_cache_get(r, &read->cached) == NGX_OK)
    {
        read->seen = ngx_http_trifecta_seen_ended;
        return NGX_OK;
    }

    read->ticket = ngx_http_trifecta_cache_ticket(r);

    if (read->rung) {
        read->queue = ngx_http_trifecta_queue_ended;

        if (ngx_http_trifecta_read_store(read) == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        read->rung = 0;
    }

    wanted = (read->payload && read->request.len == 0);

    if (read->full || wanted) {
        read->op.cmd = ngx_http_trifecta_job_events(r, &read->after,
                                              read->full ? read->count : 0,
                                              wanted,
                                              ngx_http_trifecta_read_looked,
                                              read);

    } else {
        read->op.cmd = ngx_http_trifecta_look(r,
                                              ngx_http_trifecta_read_looked,
                                              read);
    }

    if (read->op.cmd == NULL) {
        return ngx_http_trifecta_read_reply(read, NULL);
    }

    return NGX_AGAIN;
}
