#include "ngx_http_trifecta_replay.h"


/* Of a run: which attempt it was, and whether it began with an s. */

static ngx_int_t
ngx_http_trifecta_replay_mark(ngx_http_trifecta_replay_t *replay,
    ngx_uint_t *attempt, ngx_uint_t *search)
{
    json_t  *mark;

    if (replay->marks == NULL) {
        *attempt = replay->attempt;
        *search = json_is_true(json_object_get(replay->streamed, "search"));
        return NGX_OK;
    }

    mark = json_array_get(replay->marks, replay->run);

    if (!json_is_integer(json_array_get(mark, 0))
        || !json_is_integer(json_array_get(mark, 1)))
    {
        return NGX_ERROR;
    }

    *attempt = (ngx_uint_t) json_integer_value(json_array_get(mark, 0));
    *search = (json_integer_value(json_array_get(mark, 1)) != 0);

    return NGX_OK;
}


/* A piece of a list; NGX_DONE behind its end. */

static ngx_int_t
ngx_http_trifecta_replay_listed(ngx_http_trifecta_replay_t *replay,
    json_t *pieces, ngx_str_t *data)
{
    json_t  *piece;

    if (replay->piece >= json_array_size(pieces)) {
        return NGX_DONE;
    }

    piece = json_array_get(pieces, replay->piece);

    if (!json_is_string(piece)) {
        return NGX_ERROR;
    }

    replay->piece++;

    data->data = (u_char *) json_string_value(piece);
    data->len = json_string_length(piece);

    return NGX_OK;
}


/* The next piece of the body, which ends at the next delta. */

static ngx_int_t
ngx_http_trifecta_replay_cut(ngx_http_trifecta_replay_t *replay,
    ngx_str_t *data)
{
    u_char     *p;
    ngx_int_t   end;

    if (replay->offset == replay->body.len) {
        return NGX_DONE;
    }

    p = replay->delta;

    while (p < replay->deltas_end && *p >= '0' && *p <= '9') {
        p++;
    }

    if (p == replay->delta) {
        end = (ngx_int_t) replay->body.len;

    } else {
        end = ngx_atoi(replay->delta, p - replay->delta);

        if (end <= (ngx_int_t) replay->offset
            || end > (ngx_int_t) replay->body.len)
        {
            return NGX_ERROR;
        }

        replay->delta = ngx_min(p + 1, replay->deltas_end);
    }

    data->data = replay->body.data + replay->offset;
    data->len = end - replay->offset;

    replay->offset = end;

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_replay_next(ngx_http_trifecta_replay_t *replay,
    ngx_http_trifecta_event_t *event)
{
    ngx_int_t   rc;
    ngx_uint_t  attempt, search, again;

    for ( ;; ) {

        if (replay->run > json_array_size(replay->earlier)) {
            return NGX_DONE;
        }

        if (ngx_http_trifecta_replay_mark(replay, &attempt, &search)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_str_null(&event->data);

        if (!replay->begun) {
            replay->begun = 1;
            replay->searched = 0;
            replay->piece = 0;

            again = (replay->run > 0 && attempt == replay->mark.attempt);

            if (again) {
                event->type = 'r';
                break;
            }

            replay->mark.attempt = attempt;
            replay->mark.n = 0;
        }

        if (search && !replay->searched) {
            replay->searched = 1;
            event->type = 's';
            break;
        }

        if (replay->run < json_array_size(replay->earlier)) {
            rc = ngx_http_trifecta_replay_listed(replay,
                                                 json_array_get(replay->earlier,
                                                                replay->run),
                                                 &event->data);

        } else if (replay->last) {
            rc = ngx_http_trifecta_replay_listed(replay, replay->last,
                                                 &event->data);

        } else {
            rc = ngx_http_trifecta_replay_cut(replay, &event->data);
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK) {
            event->type = 'd';
            break;
        }

        replay->run++;
        replay->begun = 0;
    }

    replay->mark.n++;
    event->mark = replay->mark;

    return NGX_OK;
}


/* A member that is a list, or NULL; NGX_ERROR when it is something else. */

static ngx_int_t
ngx_http_trifecta_replay_list(ngx_http_trifecta_replay_t *replay,
    const char *name, json_t **list)
{
    *list = json_object_get(replay->streamed, name);

    return *list == NULL || json_is_array(*list) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_trifecta_replay_init(ngx_http_trifecta_replay_t *replay,
    PGresult *row)
{
    json_error_t  error;

    ngx_memzero(replay, sizeof(ngx_http_trifecta_replay_t));

    replay->attempt = (ngx_uint_t) ngx_http_trifecta_row_int(row,
                                               NGX_HTTP_TRIFECTA_ROW_ATTEMPT);

    replay->body.data = (u_char *) PQgetvalue(row, 0,
                                              NGX_HTTP_TRIFECTA_ROW_BODY);
    replay->body.len = PQgetlength(row, 0, NGX_HTTP_TRIFECTA_ROW_BODY);

    /* {12,34}, or nothing */

    replay->delta = (u_char *) PQgetvalue(row, 0,
                                          NGX_HTTP_TRIFECTA_ROW_DELTAS);
    replay->deltas_end = replay->delta
                         + PQgetlength(row, 0, NGX_HTTP_TRIFECTA_ROW_DELTAS);

    if (replay->delta < replay->deltas_end) {
        replay->delta++;
    }

    if (PQgetisnull(row, 0, NGX_HTTP_TRIFECTA_ROW_STREAMED)) {
        return NGX_OK;
    }

    replay->streamed = json_loadb(PQgetvalue(row, 0,
                                             NGX_HTTP_TRIFECTA_ROW_STREAMED),
                                  PQgetlength(row, 0,
                                              NGX_HTTP_TRIFECTA_ROW_STREAMED),
                                  JSON_ALLOW_NUL, &error);

    if (!json_is_object(replay->streamed)
        || ngx_http_trifecta_replay_list(replay, "earlier", &replay->earlier)
           != NGX_OK
        || ngx_http_trifecta_replay_list(replay, "marks", &replay->marks)
           != NGX_OK
        || ngx_http_trifecta_replay_list(replay, "last", &replay->last)
           != NGX_OK)
    {
        ngx_http_trifecta_replay_clear(replay);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_trifecta_replay_clear(ngx_http_trifecta_replay_t *replay)
{
    json_decref(replay->streamed);

    replay->streamed = NULL;
    replay->earlier = NULL;
    replay->marks = NULL;
    replay->last = NULL;
}
