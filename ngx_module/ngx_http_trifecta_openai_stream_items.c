#include "ngx_http_trifecta_openai_stream.h"


/* The events of a response's items: the search, the message, the calls. */


/* The buffer, with the head of an event of this type in it. */

ngx_http_trifecta_json_t *
ngx_http_trifecta_openai_event(ngx_http_trifecta_openai_stream_t *st,
    const char *type)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_stream_json(st->stream);

    ngx_http_trifecta_json_printf(j, "event: %s\ndata: {\"type\":\"%s\","
                                  "\"sequence_number\":%L", type, type,
                                  st->number);
    return j;
}


/* It is sent, unless the client has it. */

ngx_int_t
ngx_http_trifecta_openai_tail(ngx_http_trifecta_openai_stream_t *st,
    ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_json_lit(j, "}\n\n");

    return st->number++ > st->after
           ? ngx_http_trifecta_stream_put(st->stream, j)
           : NGX_OK;
}


/* The search */

static ngx_int_t
ngx_http_trifecta_openai_search_item(ngx_http_trifecta_openai_stream_t *st,
    const char *type, const char *status)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_openai_event(st, type);

    ngx_http_trifecta_json_lit(j, ",\"output_index\":0,\"item\":");
    ngx_http_trifecta_openai_search(&st->job, status, NULL, j);

    return ngx_http_trifecta_openai_tail(st, j);
}


static ngx_int_t
ngx_http_trifecta_openai_search_step(ngx_http_trifecta_openai_stream_t *st,
    const char *type)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_openai_event(st, type);

    ngx_http_trifecta_json_lit(j, ",\"output_index\":0,\"item_id\":\"");
    ngx_http_trifecta_openai_id(st->job.request, "fs_", j);
    ngx_http_trifecta_json_lit(j, "\"");

    return ngx_http_trifecta_openai_tail(st, j);
}


ngx_int_t
ngx_http_trifecta_openai_searched(ngx_http_trifecta_openai_stream_t *st)
{
    if (st->searched) {
        return NGX_OK;
    }

    st->searched = 1;
    st->index = 1;

    if (ngx_http_trifecta_openai_running(st) != NGX_OK
        || ngx_http_trifecta_openai_search_item(st,
                                                "response.output_item.added",
                                                "in_progress")
           != NGX_OK
        || ngx_http_trifecta_openai_search_step(st,
                                    "response.file_search_call.in_progress")
           != NGX_OK
        || ngx_http_trifecta_openai_search_step(st,
                                    "response.file_search_call.searching")
           != NGX_OK
        || ngx_http_trifecta_openai_search_step(st,
                                    "response.file_search_call.completed")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_trifecta_openai_search_item(st,
                                                "response.output_item.done",
                                                "completed");
}


/* The message */

ngx_http_trifecta_json_t *
ngx_http_trifecta_openai_part_event(ngx_http_trifecta_openai_stream_t *st,
    const char *type)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_openai_event(st, type);

    ngx_http_trifecta_json_lit(j, ",\"item_id\":\"");
    ngx_http_trifecta_openai_message_id(st->job.request, st->job.voided, j);
    ngx_http_trifecta_json_printf(j, "\",\"output_index\":%ui,"
                                  "\"content_index\":0", st->index);
    return j;
}


static ngx_int_t
ngx_http_trifecta_openai_message_item(ngx_http_trifecta_openai_stream_t *st,
    const char *type, const char *status, ngx_str_t *text, json_t *citations)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_openai_event(st, type);

    ngx_http_trifecta_json_printf(j, ",\"output_index\":%ui,\"item\":",
                                  st->index);
    ngx_http_trifecta_openai_message(&st->job, status, text, citations, j);

    return ngx_http_trifecta_openai_tail(st, j);
}


static ngx_int_t
ngx_http_trifecta_openai_message_part(ngx_http_trifecta_openai_stream_t *st,
    const char *type, ngx_str_t *text, json_t *citations)
{
    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_openai_part_event(st, type);

    ngx_http_trifecta_json_lit(j, ",\"part\":");
    ngx_http_trifecta_openai_text(j, text->data, text->len, citations);

    return ngx_http_trifecta_openai_tail(st, j);
}


ngx_int_t
ngx_http_trifecta_openai_message_open(ngx_http_trifecta_openai_stream_t *st)
{
    ngx_str_t  none;

    if (st->open) {
        return NGX_OK;
    }

    ngx_str_null(&none);

    st->open = 1;
    st->text.last = st->text.start;

    if (ngx_http_trifecta_openai_searched(st) != NGX_OK
        || ngx_http_trifecta_openai_message_item(st,
                                                "response.output_item.added",
                                                "in_progress", NULL, NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_trifecta_openai_message_part(st,
                                               "response.content_part.added",
                                               &none, NULL);
}


typedef struct {
    ngx_http_trifecta_openai_stream_t  *st;
    ngx_int_t                       rc;
} ngx_http_trifecta_openai_notes_t;


static void
ngx_http_trifecta_openai_note(void *data, json_t *citation, ngx_uint_t n,
    size_t index)
{
    ngx_http_trifecta_openai_notes_t *notes = data;

    ngx_http_trifecta_json_t  *j;

    j = ngx_http_trifecta_openai_part_event(notes->st,
                                     "response.output_text.annotation.added");

    ngx_http_trifecta_json_printf(j, ",\"annotation_index\":%ui,"
                                  "\"annotation\":", n);
    ngx_http_trifecta_openai_annotation(j, citation, index);

    if (ngx_http_trifecta_openai_tail(notes->st, j) != NGX_OK) {
        notes->rc = NGX_ERROR;
    }
}


/* The text is that of the row, or what was said of it. */

ngx_int_t
ngx_http_trifecta_openai_message_close(ngx_http_trifecta_openai_stream_t *st,
    const char *status, ngx_str_t *text, json_t *citations)
{
    ngx_http_trifecta_json_t          *j;
    ngx_http_trifecta_openai_notes_t   notes;

    if (!st->open) {
        return NGX_OK;
    }

    st->open = 0;

    notes.st = st;
    notes.rc = NGX_OK;

    (void) ngx_http_trifecta_openai_annotations(citations, text->data,
                                                text->len,
                                                ngx_http_trifecta_openai_note,
                                                &notes);

    j = ngx_http_trifecta_openai_part_event(st, "response.output_text.done");

    ngx_http_trifecta_json_lit(j, ",\"text\":");
    ngx_http_trifecta_json_str(j, text);
    ngx_http_trifecta_json_lit(j, ",\"logprobs\":[]");

    if (notes.rc != NGX_OK
        || ngx_http_trifecta_openai_tail(st, j) != NGX_OK
        || ngx_http_trifecta_openai_message_part(st,
                                               "response.content_part.done",
                                               text, citations)
           != NGX_OK
        || ngx_http_trifecta_openai_message_item(st,
                                                 "response.output_item.done",
                                                 status, text, citations)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    st->index++;

    return NGX_OK;
}


/* What was said of it is not the answer. */

ngx_int_t
ngx_http_trifecta_openai_message_void(ngx_http_trifecta_openai_stream_t *st)
{
    ngx_str_t  text;

    if (!st->open) {
        return NGX_OK;
    }

    text.data = st->text.start;
    text.len = st->text.last - st->text.start;

    if (ngx_http_trifecta_openai_message_close(st, "incomplete", &text, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    st->job.voided++;

    return NGX_OK;
}


ngx_int_t
ngx_http_trifecta_openai_call_events(ngx_http_trifecta_openai_stream_t *st,
    json_t *call, ngx_uint_t n)
{
    ngx_uint_t                  i;
    ngx_http_trifecta_json_t   *j;

    static const char *const  types[] = {
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done"
    };

    for (i = 0; i < 4; i++) {
        j = ngx_http_trifecta_openai_event(st, types[i]);

        ngx_http_trifecta_json_printf(j, ",\"output_index\":%ui", st->index);

        if (i == 0 || i == 3) {
            ngx_http_trifecta_json_lit(j, ",\"item\":");
            ngx_http_trifecta_openai_call(&st->job, call, n, i == 3, j);

        } else {
            ngx_http_trifecta_json_lit(j, ",\"item_id\":\"");
            ngx_http_trifecta_openai_id(st->job.request, "fc_", j);
            ngx_http_trifecta_json_printf(j, "_%ui\"", n);
            ngx_http_trifecta_openai_member(j, i == 1 ? "delta" : "arguments",
                                            json_object_get(call,
                                                            "arguments"),
                                            "\"\"");
            if (i == 2) {
                ngx_http_trifecta_openai_member(j, "name",
                                                json_object_get(call, "name"),
                                                "\"\"");
            }
        }

        if (ngx_http_trifecta_openai_tail(st, j) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    st->index++;

    return NGX_OK;
}
