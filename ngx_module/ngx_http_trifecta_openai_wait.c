#include "ngx_http_trifecta_durable.h"
#include "ngx_http_trifecta_openai_stream.h"
#include "ngx_http_trifecta_poll.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_worker.h"


/*
 * The answer to a body of this shape.
 *
 * With "background" it is there as soon as the job is; without it the request
 * waits for the end.  Nobody but its client knows of such a job: so when the
 * client leaves before the end the job is cancelled, by a command that nobody
 * waits for.  A worker that leaves cancels nothing: its requests wait on
 * without a doorbell, as long as nginx lets them.  But a stream that it
 * refuses has no client who would know of its job.
 *
 * "store": false means that nothing is left when the answer is out: the job
 * is deleted then.
 *
 * With "stream" what is said here holds, too; the answer is a stream then.
 *
 * A repetition with the same Idempotency-Key waits for the job of the first
 * request, and leaves it alone.
 */

struct ngx_http_trifecta_openai_wait_s {
    ngx_http_trifecta_submit_t      *submit;
    ngx_http_trifecta_durable_t     *durable;       /* or NULL */
    ngx_http_trifecta_openai_draw_pt draw;          /* NULL: a response */
    int64_t                          accepted;      /* ms */
    unsigned                         background:1;
    unsigned                         stream:1;
    unsigned                         erase:1;       /* at the end */
    unsigned                         mine:1;        /* this made the job */
    unsigned                         answered:1;
    unsigned                         refused:1;     /* a stream */
};


/*
 * A command without a handler is an orphan, and goes down with the connection
 * it was meant for; this one is to be sent again, although nobody waits for
 * its reply.
 */

static void
ngx_http_trifecta_openai_left(void *data,
    ngx_http_trifecta_redis_answer_t *answer)
{
}


static void
ngx_http_trifecta_openai_wait_cleanup(void *data)
{
    ngx_http_trifecta_openai_wait_t *w = data;

    const char                     *fn;
    ngx_uint_t                      made;
    ngx_http_trifecta_redis_cmd_t  *cmd;

    /* without a reply the job may be there: it comes before this command */

    made = w->mine || w->submit->op.cmd || w->submit->op.confirm;

    if (!made) {
        return;
    }

    if (w->answered) {
        fn = w->erase ? TF_FN_DELETE : NULL;

    } else if (w->background
               || (!w->refused && (ngx_exiting || ngx_terminate || ngx_quit)))
    {
        fn = NULL;

    } else {
        fn = w->erase ? TF_FN_DELETE : TF_FN_CANCEL;
    }

    if (fn == NULL) {
        return;
    }

    cmd = ngx_http_trifecta_job_command(w->submit->op.request, "FCALL", fn,
                                        NGX_HTTP_TRIFECTA_REDIS_RESEND,
                                        ngx_http_trifecta_openai_left, NULL);

    /* the context that the time was charged to is about to go */

    ngx_http_trifecta_redis_charge(cmd, NULL);
}


ngx_http_trifecta_openai_wait_t *
ngx_http_trifecta_openai_wait_create(ngx_http_trifecta_submit_t *submit,
    ngx_http_trifecta_openai_t *o, ngx_http_trifecta_openai_draw_pt draw)
{
    ngx_http_request_t               *r;
    ngx_http_cleanup_t               *cln;
    ngx_http_trifecta_openai_wait_t  *w;

    r = submit->op.request;

    w = ngx_pcalloc(r->pool, sizeof(ngx_http_trifecta_openai_wait_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (w == NULL || cln == NULL) {
        return NULL;
    }

    w->submit = submit;
    w->draw = draw;
    w->background = json_is_true(o->background);
    w->stream = json_is_true(o->stream);
    w->erase = json_is_false(o->store);

    if (ngx_http_trifecta_durable_preferred(r)) {
        w->durable = ngx_http_trifecta_durable_create(r);

        if (w->durable == NULL) {
            return NULL;
        }
    }

    submit->data = w;

    /* it runs before that of the operation, which forgets what is owed */

    cln->handler = ngx_http_trifecta_openai_wait_cleanup;
    cln->data = w;

    return w;
}


/* The job is there, and this is not its answer. */

static ngx_int_t
ngx_http_trifecta_openai_elsewhere(ngx_http_request_t *r,
    ngx_http_trifecta_openai_wait_t *w)
{
    return ngx_http_trifecta_header_lit(r, "X-Should-Retry", "false")
           == NGX_OK
           ? ngx_http_trifecta_header(r, "Location", w->submit->path.data,
                                      w->submit->path.len)
           : NGX_ERROR;
}


void
ngx_http_trifecta_openai_answered(ngx_http_trifecta_openai_wait_t *w)
{
    w->answered = 1;
}


ngx_int_t
ngx_http_trifecta_openai_no_stream(ngx_http_request_t *r,
    ngx_http_trifecta_openai_wait_t *w)
{
    if (!w->background) {
        w->refused = 1;     /* the job goes with its request */

        return NGX_OK;
    }

    w->answered = 1;

    return ngx_http_trifecta_openai_elsewhere(r, w);
}


/* The object as it stands; the job's request is known. */

static ngx_int_t
ngx_http_trifecta_openai_draw(ngx_http_request_t *r,
    ngx_http_trifecta_openai_wait_t *w, ngx_http_trifecta_openai_job_t *job)
{
    ngx_int_t                  rc;
    ngx_http_trifecta_json_t   j;

    w->answered = 1;

    ngx_http_trifecta_json_init(&j, r->pool, 2048);

    if (w->draw) {
        rc = w->draw(job, &j);

        return rc == NGX_DECLINED
               ? ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json",
                                         &j)
               : rc;
    }

    ngx_http_trifecta_openai_response(job, &j);

    if (ngx_http_trifecta_header(r, "Location", w->submit->path.data,
                                 w->submit->path.len)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


static ngx_int_t
ngx_http_trifecta_openai_late(ngx_http_request_t *r,
    ngx_http_trifecta_openai_wait_t *w)
{
    if (ngx_http_trifecta_openai_elsewhere(r, w) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_error(r, TF_E_RESPONSE_TIMEOUT, NULL,
                                   "the job has not ended in time: look at "
                                   "the Location, or ask with \"background\": "
                                   "true");
}


static ngx_int_t
ngx_http_trifecta_openai_answer(ngx_http_trifecta_poll_t *poll)
{
    ngx_int_t                         rc;
    ngx_http_request_t               *r;
    ngx_http_trifecta_read_t         *read;
    ngx_http_trifecta_openai_job_t    job;
    ngx_http_trifecta_openai_wait_t  *w;

    w = poll->data;
    read = &poll->read;
    r = read->op.request;

    if (read->seen != ngx_http_trifecta_seen_ended
        && read->seen != ngx_http_trifecta_seen_open)
    {
        w->mine = 0;
        return ngx_http_trifecta_openai_unknown(read);
    }

    if (read->seen == ngx_http_trifecta_seen_open && !w->background) {
        w->answered = 1;
        return ngx_http_trifecta_openai_late(r, w);
    }

    ngx_http_trifecta_openai_job(read, &job);

    rc = ngx_http_trifecta_openai_draw(r, w, &job);

    json_decref(job.payload);

    return rc;
}


static ngx_uint_t
ngx_http_trifecta_openai_enough(ngx_http_trifecta_poll_t *poll)
{
    return poll->read.seen == ngx_http_trifecta_seen_ended
           || poll->read.seen == ngx_http_trifecta_seen_gone
           || poll->read.seen == ngx_http_trifecta_seen_deleted;
}


static ngx_int_t
ngx_http_trifecta_openai_start(ngx_http_trifecta_openai_wait_t *w)
{
    ngx_http_trifecta_poll_t    *poll;
    ngx_http_trifecta_submit_t  *submit;

    submit = w->submit;

    poll = ngx_http_trifecta_poll_create(submit->op.request);
    if (poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    poll->enough = ngx_http_trifecta_openai_enough;
    poll->answer = ngx_http_trifecta_openai_answer;
    poll->data = w;
    poll->read.payload = 1;
    poll->wait = -1;

    if (w->mine) {
        poll->read.request.data = submit->payload.start;
        poll->read.request.len = submit->payload.last
                                 - submit->payload.start;
    }

    if (!w->background) {
        poll->stay = 1;
        poll->wait = NGX_HTTP_TRIFECTA_OPENAI_WAIT / 1000;
        poll->until = ngx_current_msec + NGX_HTTP_TRIFECTA_OPENAI_WAIT;
    }

    return ngx_http_trifecta_poll_start(poll);
}


/* PostgreSQL has it, or need not, or there was no time. */

static ngx_int_t
ngx_http_trifecta_openai_go(ngx_http_trifecta_openai_wait_t *w)
{
    ngx_int_t                        rc;
    ngx_str_t                        text;
    ngx_http_request_t              *r;
    ngx_http_trifecta_submit_t      *submit;
    ngx_http_trifecta_openai_job_t   job;

    submit = w->submit;
    r = submit->op.request;

    if (w->durable && w->durable->committed
        && ngx_http_trifecta_header_lit(r, "Preference-Applied", "durable")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.data = submit->payload.start;
    text.len = submit->payload.last - submit->payload.start;

    if (w->stream) {
        return ngx_http_trifecta_openai_stream(r, w->draw
                                   ? &ngx_http_trifecta_openai_chat_encoder
                                   : &ngx_http_trifecta_openai_response_encoder,
                                   w, -1, w->mine ? &text : NULL);
    }

    if (!w->background || !w->mine) {
        return ngx_http_trifecta_openai_start(w);
    }

    ngx_memzero(&job, sizeof(ngx_http_trifecta_openai_job_t));

    job.request = r;
    job.payload = ngx_http_trifecta_openai_payload_parse(&text);
    job.state = TF_JOB_QUEUED;
    job.accepted = w->accepted;
    job.model = submit->model;

    rc = ngx_http_trifecta_openai_draw(r, w, &job);

    json_decref(job.payload);

    return rc;
}


static void
ngx_http_trifecta_openai_durable(void *data)
{
    ngx_http_trifecta_openai_wait_t *w = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = w->submit->op.request;

    rc = ngx_http_trifecta_openai_go(w);

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(r, rc);
    }
}


static ngx_int_t
ngx_http_trifecta_openai_begin(ngx_http_trifecta_openai_wait_t *w)
{
    if (w->durable) {
        w->durable->done = ngx_http_trifecta_openai_durable;
        w->durable->data = w;

        if (ngx_http_trifecta_durable_start(w->durable) == NGX_AGAIN) {
            return NGX_DONE;
        }
    }

    return ngx_http_trifecta_openai_go(w);
}


ngx_int_t
ngx_http_trifecta_openai_accepted(ngx_http_trifecta_submit_t *submit,
    int64_t ms, int64_t position)
{
    ngx_http_trifecta_openai_wait_t  *w;

    w = submit->data;
    w->mine = 1;
    w->accepted = ms;

    return ngx_http_trifecta_openai_begin(w);
}


ngx_int_t
ngx_http_trifecta_openai_before(ngx_http_trifecta_submit_t *submit)
{
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(submit->op.request);

    if (submit->face->path(submit->op.request, &ctx->job_id,
                           &submit->path)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_trifecta_openai_begin(submit->data);
}
