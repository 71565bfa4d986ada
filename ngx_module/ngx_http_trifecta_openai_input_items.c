#include "ngx_http_trifecta_job.h"
#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_poll.h"
#include "ngx_http_trifecta_reply.h"


/*
 * GET /v1/responses/{id}/input_items: the messages of the request, newest
 * first unless asked otherwise, a page at a time.
 *
 * The job keeps what system and developer said with its place, the turns in
 * their order, and the question.  An item's id is "msg_", the job's hex
 * digits, "_in_" and the item's number.
 */

#define NGX_HTTP_TRIFECTA_OPENAI_LIMIT      20
#define NGX_HTTP_TRIFECTA_OPENAI_LIMIT_MAX  100

typedef struct {
    ngx_int_t   limit;
    ngx_int_t   after;      /* the number of an item; -1: none */
    ngx_uint_t  asc;
} ngx_http_trifecta_openai_page_t;


static ngx_int_t
ngx_http_trifecta_openai_after(ngx_http_request_t *r, ngx_str_t *value,
    ngx_int_t *after)
{
    size_t                    len;
    ngx_http_trifecta_json_t  j;

    ngx_http_trifecta_json_init(&j, r->pool, 64);
    ngx_http_trifecta_openai_id(r, "msg_", &j);
    ngx_http_trifecta_json_lit(&j, "_in_");

    len = j.last - j.start;

    if (value->len <= len || ngx_memcmp(value->data, j.start, len) != 0) {
        return NGX_ERROR;
    }

    *after = ngx_atoi(value->data + len, value->len - len);

    /* no request has so many, and the next number must be one, too */

    return *after < 0 || *after > NGX_HTTP_TRIFECTA_OPENAI_ITEMS_MAX
           ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_trifecta_openai_page(ngx_http_request_t *r,
    ngx_http_trifecta_openai_page_t *page)
{
    ngx_str_t  value;

    page->limit = NGX_HTTP_TRIFECTA_OPENAI_LIMIT;
    page->after = -1;
    page->asc = 0;

    if (ngx_http_arg(r, (u_char *) "limit", 5, &value) == NGX_OK) {
        page->limit = ngx_atoi(value.data, value.len);

        if (page->limit < 1
            || page->limit > NGX_HTTP_TRIFECTA_OPENAI_LIMIT_MAX)
        {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "limit",
                                           "\"limit\" must be a number "
                                           "between 1 and %d",
                                           NGX_HTTP_TRIFECTA_OPENAI_LIMIT_MAX);
        }
    }

    if (ngx_http_arg(r, (u_char *) "order", 5, &value) == NGX_OK) {
        page->asc = value.len == 3 && ngx_strncmp(value.data, "asc", 3) == 0;

        if (!page->asc
            && !(value.len == 4 && ngx_strncmp(value.data, "desc", 4) == 0))
        {
            return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "order",
                                           "\"order\" must be \"asc\" or "
                                           "\"desc\"");
        }
    }

    if (ngx_http_arg(r, (u_char *) "after", 5, &value) == NGX_OK
        && ngx_http_trifecta_openai_after(r, &value, &page->after) != NGX_OK)
    {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "after",
                                       "\"after\" is no id of an item of this "
                                       "response");
    }

    return NGX_DECLINED;
}


/* All messages in their order; to be released. */

static json_t *
ngx_http_trifecta_openai_messages(json_t *payload)
{
    size_t   i;
    json_t  *list, *item, *query, *systems;

    list = json_array();

    json_array_foreach(json_object_get(payload, "turns"), i, item) {
        (void) json_array_append(list, item);
    }

    query = json_object_get(payload, "query");

    if (query) {
        (void) json_array_append_new(list, json_pack("{s:s, s:O}", "role",
                                                     "user", "content",
                                                     query));
    }

    json_array_foreach(json_object_get(payload, "after"), i, item) {
        (void) json_array_append(list, item);
    }

    systems = json_object_get(json_object_get(payload, "openai"), "systems");

    json_array_foreach(systems, i, item) {
        (void) json_array_insert(list,
                          (size_t) json_integer_value(json_object_get(item,
                                                                      "at")),
                          item);
    }

    return list;
}


/* A function that was called, or what it returned. */

static void
ngx_http_trifecta_openai_input_call(ngx_http_request_t *r,
    ngx_http_trifecta_json_t *j, json_t *item, size_t n)
{
    json_t  *output;

    output = json_object_get(item, "content");

    ngx_http_trifecta_json_lit(j, "{\"id\":\"");
    ngx_http_trifecta_openai_id(r, "msg_", j);
    ngx_http_trifecta_json_printf(j, "_in_%uz\",\"type\":\"%s\","
                                  "\"status\":\"completed\"", n,
                                  output ? "function_call_output"
                                         : "function_call");
    ngx_http_trifecta_openai_member(j, "call_id", json_object_get(item, "id"),
                                    "\"\"");
    if (output) {
        ngx_http_trifecta_openai_member(j, "output", output, "\"\"");

    } else {
        ngx_http_trifecta_openai_member(j, "name",
                                        json_object_get(item, "name"),
                                        "\"\"");
        ngx_http_trifecta_openai_member(j, "arguments",
                                        json_object_get(item, "arguments"),
                                        "\"\"");
    }

    ngx_http_trifecta_json_lit(j, "}");
}


static void
ngx_http_trifecta_openai_input_item(ngx_http_request_t *r,
    ngx_http_trifecta_json_t *j, json_t *item, size_t n)
{
    const char  *role;

    role = json_string_value(json_object_get(item, "role"));

    if (json_object_get(item, "id")) {
        ngx_http_trifecta_openai_input_call(r, j, item, n);
        return;
    }

    ngx_http_trifecta_json_lit(j, "{\"id\":\"");
    ngx_http_trifecta_openai_id(r, "msg_", j);
    ngx_http_trifecta_json_printf(j, "_in_%uz\",\"type\":\"message\","
                                  "\"status\":\"completed\",\"role\":\"%s\","
                                  "\"content\":[{\"type\":\"%s\"", n,
                                  role ? role : "user",
                                  role && *role == 'a' ? "output_text"
                                                       : "input_text");
    ngx_http_trifecta_openai_member(j, "text",
                                    json_object_get(item, "content"), "\"\"");

    if (role && *role == 'a') {
        ngx_http_trifecta_json_lit(j, ",\"annotations\":[]");
    }

    ngx_http_trifecta_json_lit(j, "}]}");
}


static void
ngx_http_trifecta_openai_ends(ngx_http_request_t *r,
    ngx_http_trifecta_json_t *j, const char *name, ngx_int_t n)
{
    ngx_http_trifecta_json_printf(j, ",\"%s\":", name);

    if (n < 0) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    ngx_http_trifecta_json_lit(j, "\"");
    ngx_http_trifecta_openai_id(r, "msg_", j);
    ngx_http_trifecta_json_printf(j, "_in_%i\"", n);
}


static ngx_int_t
ngx_http_trifecta_openai_input_list(ngx_http_trifecta_poll_t *poll)
{
    json_t                           *payload, *list;
    ngx_int_t                         n, i, step, first, last, left;
    ngx_http_request_t               *r;
    ngx_http_trifecta_json_t          j;
    ngx_http_trifecta_read_t         *read;
    ngx_http_trifecta_openai_page_t  *page;

    page = poll->data;
    read = &poll->read;
    r = read->op.request;

    if (read->seen != ngx_http_trifecta_seen_open
        && read->seen != ngx_http_trifecta_seen_ended)
    {
        return ngx_http_trifecta_openai_unknown(read);
    }

    payload = ngx_http_trifecta_openai_payload_parse(&read->request);

    if (!ngx_http_trifecta_openai_is_question(payload)) {
        json_decref(payload);

        return ngx_http_trifecta_openai_no_response(r);
    }

    list = ngx_http_trifecta_openai_messages(payload);
    n = (ngx_int_t) json_array_size(list);

    step = page->asc ? 1 : -1;
    i = page->after >= 0 ? page->after + step : page->asc ? 0 : n - 1;
    left = page->limit;
    first = -1;
    last = -1;

    ngx_http_trifecta_json_init(&j, r->pool, 1024);
    ngx_http_trifecta_json_lit(&j, "{\"object\":\"list\",\"data\":[");

    for ( /* void */ ; i >= 0 && i < n && left > 0; i += step, left--) {

        if (first == -1) {
            first = i;

        } else {
            ngx_http_trifecta_json_lit(&j, ",");
        }

        last = i;
        ngx_http_trifecta_openai_input_item(r, &j,
                                            json_array_get(list, (size_t) i),
                                            (size_t) i);
    }

    ngx_http_trifecta_json_lit(&j, "]");
    ngx_http_trifecta_openai_ends(r, &j, "first_id", first);
    ngx_http_trifecta_openai_ends(r, &j, "last_id", last);
    ngx_http_trifecta_json_printf(&j, ",\"has_more\":%s}",
                                  i >= 0 && i < n ? "true" : "false");

    json_decref(list);
    json_decref(payload);

    return ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
}


/* One reading will do. */

static ngx_uint_t
ngx_http_trifecta_openai_input_enough(ngx_http_trifecta_poll_t *poll)
{
    return 1;
}


ngx_int_t
ngx_http_trifecta_openai_input_items(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                         rc;
    ngx_str_t                         job;
    ngx_http_trifecta_poll_t         *poll;
    ngx_http_trifecta_openai_page_t  *page;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_trifecta_openai_own_job(r, id, &job);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_trifecta_own_job(r, &job);
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    page = ngx_palloc(r->pool, sizeof(ngx_http_trifecta_openai_page_t));
    poll = ngx_http_trifecta_poll_create(r);

    if (page == NULL || poll == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_trifecta_openai_page(r, page);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    poll->enough = ngx_http_trifecta_openai_input_enough;
    poll->answer = ngx_http_trifecta_openai_input_list;
    poll->data = page;
    poll->read.payload = 1;
    poll->wait = -1;

    rc = ngx_http_trifecta_poll_start(poll);

    if (rc != NGX_DONE) {
        return rc;
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}
