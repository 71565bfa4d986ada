#include "ngx_http_trifecta_events.h"
#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_result.h"


/* GET /api/v1/query/{id}/events: see the header. */

#define NGX_HTTP_TRIFECTA_EVENTS_DONE   "done"
#define NGX_HTTP_TRIFECTA_EVENTS_RETRY  1000    /* ms, before it comes again */


typedef struct {
    ngx_http_trifecta_mark_t   has;         /* the client */
    ngx_uint_t                 attempt;     /* of the last event; or 0 */
    ngx_str_t                  path;        /* of a job made just now */
} ngx_http_trifecta_events_t;


static ngx_int_t ngx_http_trifecta_events_begin(
    ngx_http_trifecta_stream_t *s);
static ngx_int_t ngx_http_trifecta_events_state(
    ngx_http_trifecta_stream_t *s);
static ngx_int_t ngx_http_trifecta_events_event(
    ngx_http_trifecta_stream_t *s, ngx_http_trifecta_event_t *event);
static ngx_int_t ngx_http_trifecta_events_end(ngx_http_trifecta_stream_t *s);


static const ngx_http_trifecta_encoder_t  ngx_http_trifecta_events_encoder = {
    NGX_HTTP_TRIFECTA_M_STREAM_PLAIN,
    ngx_http_trifecta_events_begin,
    ngx_http_trifecta_events_state,
    ngx_http_trifecta_events_event,
    ngx_http_trifecta_events_end,
    0
};


static ngx_int_t
ngx_http_trifecta_events_begin(ngx_http_trifecta_stream_t *s)
{
    u_char                      *p;
    ngx_str_t                   *path;
    ngx_http_request_t          *r;
    ngx_http_trifecta_json_t    *j;
    ngx_http_trifecta_events_t  *events;

    r = s->read.op.request;
    events = s->data;
    path = &events->path;

    /* the body is that of another path than the one that was posted to */

    if (path->len) {
        p = ngx_pnalloc(r->pool, path->len + sizeof("/events") - 1);

        if (p == NULL
            || ngx_http_trifecta_header(r, "Content-Location", p,
                                        ngx_sprintf(p, "%V/events", path) - p)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    j = ngx_http_trifecta_stream_json(s);

    ngx_http_trifecta_json_printf(j, "retry: %d\n\n",
                                  NGX_HTTP_TRIFECTA_EVENTS_RETRY);

    return ngx_http_trifecta_stream_put(s, j);
}


static ngx_int_t
ngx_http_trifecta_events_state(ngx_http_trifecta_stream_t *s)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_stream_json(s);

    ngx_http_trifecta_json_lit(j, "event: status\ndata: ");
    ngx_http_trifecta_result_write(&s->read, j);
    ngx_http_trifecta_json_lit(j, "\n\n");

    return ngx_http_trifecta_stream_put(s, j);
}


/* Whether the client has what is at this place. */

static ngx_uint_t
ngx_http_trifecta_events_has(ngx_http_trifecta_events_t *events,
    ngx_uint_t attempt, ngx_uint_t n)
{
    return attempt < events->has.attempt
           || (attempt == events->has.attempt && n <= events->has.n);
}


static void
ngx_http_trifecta_events_write(ngx_http_trifecta_json_t *j, const char *name,
    ngx_uint_t attempt, ngx_uint_t n)
{
    ngx_http_trifecta_json_printf(j, "event: %s\nid: %ui-%ui\n"
                                  "data: {\"attempt\":%ui}\n\n",
                                  name, attempt, n, attempt);
}


static ngx_int_t
ngx_http_trifecta_events_event(ngx_http_trifecta_stream_t *s,
    ngx_http_trifecta_event_t *event)
{
    ngx_uint_t                   attempt, n, another;
    ngx_http_trifecta_json_t    *j;
    ngx_http_trifecta_events_t  *events;

    events = s->data;
    attempt = event->mark.attempt;
    n = event->mark.n;

    j = ngx_http_trifecta_stream_json(s);

    /* there was one before it, here or in an earlier stream of this client */

    another = (events->attempt ? attempt != events->attempt
                               : events->has.attempt
                                 && attempt > events->has.attempt);

    events->attempt = attempt;

    if (another && !ngx_http_trifecta_events_has(events, attempt, 0)) {
        ngx_http_trifecta_events_write(j, "restart", attempt, 0);
    }

    if (!ngx_http_trifecta_events_has(events, attempt, n)) {

        switch (event->type) {

        case 's':
            ngx_http_trifecta_events_write(j, "search", attempt, n);
            break;

        case 'r':
            ngx_http_trifecta_events_write(j, "restart", attempt, n);
            break;

        case 'd':
            ngx_http_trifecta_json_printf(j, "event: delta\nid: %ui-%ui\n"
                                          "data: {\"text\":", attempt, n);
            ngx_http_trifecta_json_str(j, &event->data);
            ngx_http_trifecta_json_lit(j, "}\n\n");
            break;
        }
    }

    return ngx_http_trifecta_stream_put(s, j);
}


static ngx_int_t
ngx_http_trifecta_events_end(ngx_http_trifecta_stream_t *s)
{
    ngx_http_trifecta_ctx_t   *ctx;
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_stream_json(s);

    if (s->read.seen == ngx_http_trifecta_seen_ended) {
        ngx_http_trifecta_json_lit(j, "event: done\nid: "
                                   NGX_HTTP_TRIFECTA_EVENTS_DONE "\ndata: ");
        ngx_http_trifecta_result_write(&s->read, j);

    } else {
        ctx = ngx_http_trifecta_get_ctx(s->read.op.request);

        ngx_http_trifecta_json_lit(j, "event: gone\nid: "
                                   NGX_HTTP_TRIFECTA_EVENTS_DONE "\ndata: "
                                   "{\"query_id\":");
        ngx_http_trifecta_json_str(j, &ctx->job_id);
        ngx_http_trifecta_json_printf(j, ",\"deleted\":%s}",
                                      s->read.seen
                                      == ngx_http_trifecta_seen_deleted
                                      ? "true" : "false");
    }

    ngx_http_trifecta_json_lit(j, "\n\n");

    return ngx_http_trifecta_stream_put(s, j);
}


/* NGX_DECLINED, or the value of an answer. */

static ngx_int_t
ngx_http_trifecta_events_last(ngx_http_request_t *r,
    ngx_http_trifecta_mark_t *has)
{
    u_char     *dash, *end;
    ngx_int_t   attempt, n;
    ngx_str_t  *last;

    last = ngx_http_trifecta_header_in(r, "last-event-id");

    if (last == NULL || last->len == 0) {
        return NGX_DECLINED;
    }

    if (last->len == sizeof(NGX_HTTP_TRIFECTA_EVENTS_DONE) - 1
        && ngx_strncmp(last->data, NGX_HTTP_TRIFECTA_EVENTS_DONE, last->len)
           == 0)
    {
        return ngx_http_trifecta_no_content(r);
    }

    end = last->data + last->len;
    dash = ngx_strlchr(last->data, end, '-');

    attempt = dash ? ngx_atoi(last->data, dash - last->data) : NGX_ERROR;
    n = dash ? ngx_atoi(dash + 1, end - dash - 1) : NGX_ERROR;

    if (attempt < 0 || n < 0) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "Last-Event-ID",
                                       "Last-Event-ID must be the id of an "
                                       "event of this job, such as 1-7: leave "
                                       "it out to get all of them");
    }

    has->attempt = attempt;
    has->n = n;

    return NGX_DECLINED;
}


/* A stream of the job of the context, to be started.  NULL: no memory. */

static ngx_http_trifecta_stream_t *
ngx_http_trifecta_events_create(ngx_http_request_t *r)
{
    ngx_http_trifecta_events_t  *events;

    events = ngx_pcalloc(r->pool, sizeof(ngx_http_trifecta_events_t));
    if (events == NULL) {
        return NULL;
    }

    return ngx_http_trifecta_stream_create(r,
                                           &ngx_http_trifecta_events_encoder,
                                           events);
}


ngx_int_t
ngx_http_trifecta_events_start(ngx_http_request_t *r, ngx_str_t *path,
    ngx_int_t (*refuse)(ngx_http_trifecta_stream_t *s), void *refused)
{
    ngx_http_trifecta_events_t  *events;
    ngx_http_trifecta_stream_t  *s;

    s = ngx_http_trifecta_events_create(r);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    events = s->data;
    events->path = *path;

    s->refuse = refuse;
    s->refused = refused;

    return ngx_http_trifecta_stream_start(s);
}


ngx_int_t
ngx_http_trifecta_events(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_mark_t     has;
    ngx_http_trifecta_events_t  *events;
    ngx_http_trifecta_stream_t  *s;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_trifecta_own_job(r, id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ngx_memzero(&has, sizeof(ngx_http_trifecta_mark_t));

    rc = ngx_http_trifecta_events_last(r, &has);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    s = ngx_http_trifecta_events_create(r);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    events = s->data;
    events->has = has;

    rc = ngx_http_trifecta_stream_start(s);

    if (rc != NGX_DONE) {
        return rc;
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
