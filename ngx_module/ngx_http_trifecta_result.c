#include "ngx_http_trifecta_result.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_cache.h"
#include "ngx_http_trifecta_fields.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_reply.h"


/*
 * GET /api/v1/query/{id}: what became of a job.
 *
 * An id that was not made for this tenant and owner is 404 without a look
 * anywhere.  What the stores say of it is read.c's; this file turns it into
 * an answer.  The body of a state is the same bytes whenever it is asked for,
 * and its ETag is their digest.
 */


/* A column as it is, if it is not null; citations and usage are JSON. */

static void
ngx_http_trifecta_json_column(ngx_http_trifecta_json_t *j, const char *name,
    PGresult *row, int column)
{
    if (row == NULL || PQgetisnull(row, 0, column)) {
        return;
    }

    ngx_http_trifecta_json_lit(j, ",\"");
    ngx_http_trifecta_json_raw(j, name, ngx_strlen(name));
    ngx_http_trifecta_json_lit(j, "\":");
    ngx_http_trifecta_json_raw(j, PQgetvalue(row, 0, column),
                               PQgetlength(row, 0, column));
}


void
ngx_http_trifecta_result_write(ngx_http_trifecta_read_t *read,
    ngx_http_trifecta_json_t *j)
{
    PGresult                 *row;
    const char               *state;
    ngx_http_trifecta_ctx_t  *ctx;

    row = read->row;
    state = ngx_http_trifecta_state_word(read->state);
    ctx = ngx_http_trifecta_get_ctx(read->op.request);

    ngx_http_trifecta_json_lit(j, "{\"query_id\":");
    ngx_http_trifecta_json_str(j, &ctx->job_id);
    ngx_http_trifecta_json_lit(j, ",\"status\":\"");
    ngx_http_trifecta_json_raw(j, state, ngx_strlen(state));
    ngx_http_trifecta_json_lit(j, "\",\"response\":");

    if (row == NULL || PQgetisnull(row, 0, NGX_HTTP_TRIFECTA_ROW_BODY)) {
        ngx_http_trifecta_json_lit(j, "null");

    } else {
        ngx_http_trifecta_json_string(j,
                            PQgetvalue(row, 0, NGX_HTTP_TRIFECTA_ROW_BODY),
                            PQgetlength(row, 0, NGX_HTTP_TRIFECTA_ROW_BODY));
    }

    ngx_http_trifecta_json_column(j, "error", row,
                                  NGX_HTTP_TRIFECTA_ROW_ERROR);
    ngx_http_trifecta_json_lit(j, ",\"model\":");
    ngx_http_trifecta_json_str(j, &read->model);

    if (row != NULL
        && !PQgetisnull(row, 0, NGX_HTTP_TRIFECTA_ROW_CONVERSATION))
    {
        ngx_http_trifecta_json_lit(j, ",\"conversation_id\":");
        ngx_http_trifecta_json_string(j,
                      PQgetvalue(row, 0, NGX_HTTP_TRIFECTA_ROW_CONVERSATION),
                      PQgetlength(row, 0, NGX_HTTP_TRIFECTA_ROW_CONVERSATION));
    }

    ngx_http_trifecta_json_lit(j, ",\"created_at\":");
    ngx_http_trifecta_json_time(j, read->accepted);
    ngx_http_trifecta_json_lit(j, ",\"completed_at\":");

    if (row == NULL || PQgetisnull(row, 0, NGX_HTTP_TRIFECTA_ROW_FINISHED)) {
        ngx_http_trifecta_json_lit(j, "null");

    } else {
        ngx_http_trifecta_json_time(j, ngx_http_trifecta_row_int(row,
                                           NGX_HTTP_TRIFECTA_ROW_FINISHED));
    }

    ngx_http_trifecta_json_column(j, "usage", row,
                                  NGX_HTTP_TRIFECTA_ROW_USAGE);
    ngx_http_trifecta_json_column(j, "citations", row,
                                  NGX_HTTP_TRIFECTA_ROW_CITATIONS);
    ngx_http_trifecta_json_column(j, "metadata", row,
                                  NGX_HTTP_TRIFECTA_ROW_METADATA);

    if (read->stopping) {
        ngx_http_trifecta_json_lit(j, ",\"cancel_requested\":true");
    }

    if (read->seen == ngx_http_trifecta_seen_open && read->total > 0) {
        ngx_http_trifecta_json_printf(j, ",\"progress\":{\"done\":%L,"
                                      "\"total\":%L}", read->ready,
                                      read->total);
    }

    ngx_http_trifecta_json_lit(j, "}");
}


static void
ngx_http_trifecta_result_body(ngx_http_trifecta_read_t *read,
    ngx_http_trifecta_json_t *j)
{
    size_t     size;
    PGresult  *row;

    row = read->row;
    size = 512;

    if (row) {
        size += PQgetlength(row, 0, NGX_HTTP_TRIFECTA_ROW_BODY) * 9 / 8
                + PQgetlength(row, 0, NGX_HTTP_TRIFECTA_ROW_CITATIONS);
    }

    ngx_http_trifecta_json_init(j, read->op.request->pool, size);
    ngx_http_trifecta_result_write(read, j);
}


/* Whether the client has the body of this tag. */

static ngx_uint_t
ngx_http_trifecta_result_known(ngx_http_request_t *r, ngx_str_t *etag)
{
    ngx_str_t                  *line;
    ngx_http_trifecta_lines_t   at;

    ngx_memzero(&at, sizeof(ngx_http_trifecta_lines_t));

    while ((line = ngx_http_trifecta_header_next(r, "if-none-match", &at))
           != NULL)
    {
        if (tf_etag_match((char *) line->data, line->len,
                          (char *) etag->data, etag->len))
        {
            return 1;
        }
    }

    return 0;
}


/*
 * The body, and the tag that a GET gets; from the cache if that had them.
 * An end goes there, unless it is known from PostgreSQL alone.
 */

static ngx_int_t
ngx_http_trifecta_result_make(ngx_http_trifecta_read_t *read,
    ngx_http_trifecta_json_t *j, ngx_str_t *etag)
{
    ngx_http_request_t  *r;

    r = read->op.request;
    ngx_str_null(etag);

    if (read->cached.body.data) {
        *etag = read->cached.etag;

        ngx_memzero(j, sizeof(ngx_http_trifecta_json_t));
        j->start = read->cached.body.data;
        j->last = j->start + read->cached.body.len;

        return NGX_OK;
    }

    ngx_http_trifecta_result_body(read, j);

    if (r->method != NGX_HTTP_GET) {
        return NGX_OK;
    }

    *etag = ngx_http_trifecta_etag(r, j);

    if (etag->len == 0) {
        return NGX_ERROR;
    }

    if (read->seen == ngx_http_trifecta_seen_ended && read->row != NULL
        && read->queue != ngx_http_trifecta_queue_away)
    {
        ngx_http_trifecta_cache_put(r, read->ticket, etag, j);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_result_job(ngx_http_trifecta_poll_t *poll)
{
    ngx_str_t                       etag;
    ngx_http_request_t             *r;
    ngx_http_trifecta_json_t        j;
    ngx_http_trifecta_read_t       *read;
    ngx_http_trifecta_main_conf_t  *mcf;

    read = &poll->read;
    r = read->op.request;
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    ngx_http_trifecta_count(mcf, read->cached.body.data
                                 ? NGX_HTTP_TRIFECTA_M_RESULT_CACHE
                                 : read->row
                                 ? NGX_HTTP_TRIFECTA_M_RESULT_STORE
                                 : NGX_HTTP_TRIFECTA_M_RESULT_QUEUE);

    if (ngx_http_trifecta_result_make(read, &j, &etag) != NGX_OK
        || ngx_http_trifecta_poll_headers(poll) != NGX_OK
        || (read->seen == ngx_http_trifecta_seen_open
            && ngx_http_trifecta_retry_after(r, read->position) != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method == NGX_HTTP_GET) {

        if (ngx_http_trifecta_header_etag(r, &etag) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (ngx_http_trifecta_result_known(r, &etag)) {
            return ngx_http_trifecta_not_modified(r);
        }
    }

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


ngx_int_t
ngx_http_trifecta_result_reply(ngx_http_trifecta_poll_t *poll)
{
    ngx_http_request_t  *r;

    r = poll->read.op.request;

    switch (poll->read.seen) {

    case ngx_http_trifecta_seen_open:
    case ngx_http_trifecta_seen_ended:
        return ngx_http_trifecta_result_job(poll);

    case ngx_http_trifecta_seen_gone:
        return ngx_http_trifecta_lost(r);

    case ngx_http_trifecta_seen_deleted:
        return ngx_http_trifecta_gone(r, "the job was deleted");

    case ngx_http_trifecta_seen_no_store:
        return ngx_http_trifecta_error(r, TF_E_STORE_UNAVAILABLE, NULL,
                                       "the store of results cannot be read");

    default:
        return ngx_http_trifecta_error(r, TF_E_QUEUE_UNAVAILABLE, NULL,
                                       "the queue cannot be reached, and the "
                                       "store has no end of this job");
    }
}


/*
 * What a client waits for: the end, or, if it says what it has, any state
 * that is another.  An ended job never changes again, so what its client has
 * is enough, too.
 */

static ngx_uint_t
ngx_http_trifecta_result_enough(ngx_http_trifecta_poll_t *poll)
{
    ngx_str_t                  etag;
    ngx_http_request_t        *r;
    ngx_http_trifecta_json_t   j;
    ngx_http_trifecta_read_t  *read;

    read = &poll->read;
    r = read->op.request;

    switch (read->seen) {

    case ngx_http_trifecta_seen_open:
        break;

    case ngx_http_trifecta_seen_ended:
    case ngx_http_trifecta_seen_gone:
    case ngx_http_trifecta_seen_deleted:
        return 1;

    default:
        return 0;
    }

    if (!poll->waiter.every
        || (poll->known && poll->state == read->state
            && poll->stopping == read->stopping))
    {
        return 0;
    }

    ngx_http_trifecta_result_body(read, &j);

    etag = ngx_http_trifecta_etag(r, &j);

    return !ngx_http_trifecta_result_known(r, &etag);
}


/* NGX_DONE when the answer comes later. */

static ngx_int_t
ngx_http_trifecta_result_start(ngx_http_request_t *r, ngx_uint_t cancelled)
{
    ngx_http_trifecta_poll_t  *poll;

    poll = ngx_http_trifecta_poll_create(r);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    poll->enough = ngx_http_trifecta_result_enough;
    poll->answer = ngx_http_trifecta_result_reply;

    if (cancelled) {
        poll->read.cancelled = 1;
        poll->wait = -1;

    } else {
        poll->waiter.every = (ngx_http_trifecta_header_in(r, "if-none-match")
                              != NULL);
    }

    return ngx_http_trifecta_poll_start(poll);
}


ngx_int_t
ngx_http_trifecta_result_cancelled(ngx_http_request_t *r)
{
    return ngx_http_trifecta_result_start(r, 1);
}


ngx_int_t
ngx_http_trifecta_result(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    /* the same answer for what is no id, was never made, or is another's */

    rc = ngx_http_trifecta_own_job(r, id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_trifecta_result_start(r, 0);

    if (rc != NGX_DONE) {
        return rc;
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
