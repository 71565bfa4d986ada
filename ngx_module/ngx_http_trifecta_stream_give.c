#include "ngx_http_trifecta_stream.h"
#include "ngx_http_trifecta_metrics.h"


/*
 * The events of a job, one after the other: from Redis, then from its row,
 * and never one twice.
 */

/* bytes of a reading beyond which there may be more than it has brought */
#define NGX_HTTP_TRIFECTA_STREAM_FULL  32768


/* "<attempt>-<n>" */

static ngx_int_t
ngx_http_trifecta_stream_mark(u_char *p, size_t len,
    ngx_http_trifecta_mark_t *mark)
{
    u_char     *dash, *end;
    ngx_int_t   attempt, n;

    end = p + len;
    dash = ngx_strlchr(p, end, '-');

    if (dash == NULL) {
        return NGX_ERROR;
    }

    attempt = ngx_atoi(p, dash - p);
    n = ngx_atoi(dash + 1, end - dash - 1);

    if (attempt < 1 || n < 1) {
        return NGX_ERROR;
    }

    mark->attempt = attempt;
    mark->n = n;

    return NGX_OK;
}


/* An event of Redis: {id, type, data}; NGX_ERROR: it is none. */

static ngx_int_t
ngx_http_trifecta_stream_parse(redisReply *reply,
    ngx_http_trifecta_event_t *event)
{
    redisReply  **e;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3) {
        return NGX_ERROR;
    }

    e = reply->element;

    if (e[0]->type != REDIS_REPLY_STRING || e[1]->type != REDIS_REPLY_STRING
        || e[2]->type != REDIS_REPLY_STRING || e[1]->len != 1)
    {
        return NGX_ERROR;
    }

    if (ngx_http_trifecta_stream_mark((u_char *) e[0]->str, e[0]->len,
                                      &event->mark)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    event->type = (u_char) e[1]->str[0];
    event->data.data = (u_char *) e[2]->str;
    event->data.len = e[2]->len;

    return NGX_OK;
}


/*
 * The first event of a later attempt is read, never taken as it is said: what
 * the attempt before it has said last may be there, too.
 */

ngx_int_t
ngx_http_trifecta_stream_next(ngx_http_trifecta_stream_t *s, ngx_str_t *text,
    ngx_http_trifecta_event_t *event)
{
    u_char                    *p, *last;
    ngx_http_trifecta_mark_t  *mark;

    mark = &event->mark;
    last = text->data + text->len;
    p = ngx_strlchr(text->data, last, ' ');

    if (p == NULL || last - p < 3 || p[2] != ' '
        || ngx_http_trifecta_stream_mark(text->data, p - text->data, mark)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (mark->attempt < s->given.attempt
        || (mark->attempt == s->given.attempt && mark->n <= s->given.n))
    {
        return NGX_DONE;
    }

    event->type = p[1];
    event->data.data = p + 3;
    event->data.len = last - event->data.data;

    return s->read.state == TF_JOB_RUNNING
           && mark->n == s->given.n + 1
           && (mark->attempt == s->given.attempt
               || (s->given.attempt == 0 && mark->attempt == 1))
           ? NGX_OK : NGX_DECLINED;
}


/*
 * The next event that Redis had, or has just said: there is room for that one,
 * or the stream would be blocked.  What does not follow is left out: the row
 * has it, once there is one.
 */

static ngx_int_t
ngx_http_trifecta_stream_live(ngx_http_trifecta_stream_t *s,
    ngx_http_trifecta_event_t *event)
{
    redisReply  *events;

    if (s->said) {
        *event = *s->said;
        s->said = NULL;
        s->read.after = event->mark;

        return NGX_OK;
    }

    events = s->read.events;

    while (events && s->next < events->elements) {

        if (ngx_http_trifecta_stream_parse(events->element[s->next++], event)
            != NGX_OK)
        {
            continue;
        }

        s->read.after = event->mark;

        if ((event->mark.attempt == s->given.attempt
             && event->mark.n == s->given.n + 1)
            || (event->mark.attempt > s->given.attempt && event->mark.n == 1))
        {
            return NGX_OK;
        }
    }

    return NGX_DONE;
}


/* What was said in this attempt, and not voided: its length and checksum. */

static void
ngx_http_trifecta_stream_account(ngx_http_trifecta_mark_t *mark,
    uint32_t *crc, size_t *text, ngx_http_trifecta_event_t *event)
{
    if (event->mark.attempt != mark->attempt || event->type == 'r') {
        ngx_crc32_init(*crc);
        *text = 0;
    }

    if (event->type == 'd') {
        ngx_crc32_update(crc, event->data.data, event->data.len);
        *text += event->data.len;
    }

    *mark = event->mark;
}


/* Whether an answer that was stored begins with what was given of it. */

static ngx_uint_t
ngx_http_trifecta_stream_true(ngx_http_trifecta_stream_t *s)
{
    if (s->compared || s->read.state != TF_JOB_SUCCEEDED
        || s->given.attempt < s->replay.attempt)
    {
        return 1;
    }

    return s->given.attempt == s->replayed.attempt
           && s->given.n == s->replayed.n
           && s->text == s->replayed_text && s->crc == s->replayed_crc;
}


/* The next event that the row has behind those that were given. */

static ngx_int_t
ngx_http_trifecta_stream_stored(ngx_http_trifecta_stream_t *s,
    ngx_http_trifecta_event_t *event)
{
    ngx_int_t  rc;

    for ( ;; ) {
        rc = ngx_http_trifecta_replay_next(&s->replay, event);

        if (rc == NGX_OK
            && (event->mark.attempt < s->given.attempt
                || (event->mark.attempt == s->given.attempt
                    && event->mark.n <= s->given.n)))
        {
            ngx_http_trifecta_stream_account(&s->replayed, &s->replayed_crc,
                                             &s->replayed_text, event);
            continue;
        }

        if (rc == NGX_ERROR || !ngx_http_trifecta_stream_true(s)) {
            return NGX_ERROR;
        }

        s->compared = 1;

        return rc;
    }
}


ngx_int_t
ngx_http_trifecta_stream_give(ngx_http_trifecta_stream_t *s)
{
    ngx_int_t                       rc;
    ngx_uint_t                      n;
    ngx_http_trifecta_event_t       event;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(s->read.op.request,
                                        ngx_http_trifecta_module);

    for (n = 0; s->unsent < NGX_HTTP_TRIFECTA_STREAM_UNSENT; n++) {

        rc = s->replays ? ngx_http_trifecta_stream_stored(s, &event)
                        : ngx_http_trifecta_stream_live(s, &event);

        if (rc == NGX_OK) {
            ngx_http_trifecta_stream_account(&s->given, &s->crc, &s->text,
                                             &event);

            rc = s->encoder->event(s, &event);

            if (rc == NGX_OK) {
                continue;
            }
        }

        ngx_http_trifecta_count_some(mcf, NGX_HTTP_TRIFECTA_M_STREAM_EVENTS,
                                     n);

        return rc == NGX_DONE ? NGX_OK : rc;
    }

    ngx_http_trifecta_count_some(mcf, NGX_HTTP_TRIFECTA_M_STREAM_EVENTS, n);

    return NGX_AGAIN;
}


ngx_uint_t
ngx_http_trifecta_stream_more(ngx_http_trifecta_stream_t *s)
{
    size_t       i, size;
    redisReply  *e, *events;

    events = s->read.events;

    if (events == NULL) {
        return 0;
    }

    size = 0;

    for (i = 0; i < events->elements; i++) {
        e = events->element[i];

        if (e->type == REDIS_REPLY_ARRAY && e->elements > 2) {
            size += e->element[2]->len;
        }
    }

    return events->elements >= NGX_HTTP_TRIFECTA_STREAM_EVENTS
           || size >= NGX_HTTP_TRIFECTA_STREAM_FULL;
}
