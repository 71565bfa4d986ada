#include "ngx_http_trifecta_openai.h"

#include <trifecta/code.h>


/*
 * The output of a response: the search in the documents as a file_search_call,
 * then the message, in which each mark [n] of a citation has an annotation
 * that names the file.
 */


json_t *
ngx_http_trifecta_openai_column(ngx_http_trifecta_openai_job_t *job,
    int column)
{
    if (job->row == NULL || column >= PQnfields(job->row)
        || PQgetisnull(job->row, job->at, column))
    {
        return NULL;
    }

    return ngx_http_trifecta_json_load(PQgetvalue(job->row, job->at, column),
                                (size_t) PQgetlength(job->row, job->at,
                                                     column),
                                JSON_DECODE_ANY);
}


void
ngx_http_trifecta_openai_body(ngx_http_trifecta_openai_job_t *job,
    ngx_str_t *text)
{
    text->data = (u_char *) PQgetvalue(job->row, job->at,
                                       NGX_HTTP_TRIFECTA_ROW_BODY);
    text->len = (size_t) PQgetlength(job->row, job->at, NGX_HTTP_TRIFECTA_ROW_BODY);
}


ngx_uint_t
ngx_http_trifecta_openai_cut(ngx_http_trifecta_openai_job_t *job)
{
    json_t      *usage;
    ngx_uint_t   cut;

    if (job->state != TF_JOB_SUCCEEDED) {
        return 0;
    }

    usage = ngx_http_trifecta_openai_column(job,
                                            NGX_HTTP_TRIFECTA_ROW_USAGE);
    cut = json_is_string(json_object_get(usage, "incomplete"));

    json_decref(usage);

    return cut;
}


static void
ngx_http_trifecta_openai_results(ngx_http_trifecta_openai_job_t *job,
    json_t *citations, ngx_http_trifecta_json_t *j)
{
    size_t   i;
    json_t  *citation, *include;

    include = json_object_get(json_object_get(job->payload, "openai"),
                              "include");

    if (json_array_size(include) == 0) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    ngx_http_trifecta_json_lit(j, "[");

    json_array_foreach(citations, i, citation) {

        ngx_http_trifecta_json_printf(j, "%s{\"attributes\":{}",
                                      i ? "," : "");
        ngx_http_trifecta_openai_member(j, "file_id",
                                        json_object_get(citation,
                                                        "document_id"),
                                        "null");
        ngx_http_trifecta_openai_member(j, "filename",
                                        json_object_get(citation, "source"),
                                        "null");
        ngx_http_trifecta_openai_member(j, "score",
                                        json_object_get(citation, "score"),
                                        "0");
        ngx_http_trifecta_json_lit(j, "}");
    }

    ngx_http_trifecta_json_lit(j, "]");
}


void
ngx_http_trifecta_openai_search(ngx_http_trifecta_openai_job_t *job,
    const char *status, json_t *citations, ngx_http_trifecta_json_t *j)
{
    json_t  *query;

    ngx_http_trifecta_json_lit(j, "{\"id\":\"");
    ngx_http_trifecta_openai_id(job->request, "fs_", j);
    ngx_http_trifecta_json_printf(j, "\",\"type\":\"file_search_call\","
                                  "\"status\":\"%s\",\"queries\":[", status);

    query = json_object_get(job->payload, "query");

    if (query) {
        ngx_http_trifecta_openai_value(j, query);
    }

    ngx_http_trifecta_json_lit(j, "],\"results\":");
    ngx_http_trifecta_openai_results(job, citations, j);
    ngx_http_trifecta_json_lit(j, "}");
}


/* The number of characters between two places of a text. */

static size_t
ngx_http_trifecta_openai_characters(const u_char *p, const u_char *end)
{
    size_t  n;

    for (n = 0; p < end; p++) {
        n += (*p & 0xc0) != 0x80;
    }

    return n;
}


/* The citation of the mark at p, which has so many bytes; or NULL. */

static json_t *
ngx_http_trifecta_openai_mark(json_t *citations, const u_char *p,
    const u_char *end, size_t *len)
{
    size_t         n;
    const u_char  *start;

    start = p++;
    n = 0;

    while (p < end && *p >= '0' && *p <= '9' && n < 100000) {
        n = n * 10 + (*p++ - '0');
    }

    if (p == end || *p != ']' || n == 0) {
        return NULL;
    }

    *len = (size_t) (p + 1 - start);

    return json_array_get(citations, n - 1);
}


ngx_uint_t
ngx_http_trifecta_openai_annotations(json_t *citations, const u_char *text,
    size_t len, ngx_http_trifecta_openai_annotation_pt each, void *data)
{
    size_t         n, marked;
    json_t        *citation;
    unsigned       block;
    ngx_uint_t     count;
    const u_char  *p, *end, *seen;

    block = 0;
    count = 0;
    n = 0;
    seen = text;
    end = text + len;

    for (p = text;
         p < end && count < NGX_HTTP_TRIFECTA_OPENAI_ANNOTATIONS_MAX;
         p++)
    {
        if (*p == '`') {
            p += tf_code_at((const char *) p, end - p,
                            p == text || p[-1] == '\n', 1, &block) - 1;
            continue;
        }

        if (*p != '[' || block) {
            continue;
        }

        citation = ngx_http_trifecta_openai_mark(citations, p, end, &marked);

        if (citation == NULL) {
            continue;
        }

        n += ngx_http_trifecta_openai_characters(seen, p);
        seen = p;

        each(data, citation, count++, n);
        p += marked - 1;
    }

    return count;
}


void
ngx_http_trifecta_openai_annotation(ngx_http_trifecta_json_t *j,
    json_t *citation, size_t index)
{
    ngx_http_trifecta_json_printf(j, "{\"type\":\"file_citation\","
                                  "\"index\":%uz", index);
    ngx_http_trifecta_openai_member(j, "file_id",
                                    json_object_get(citation, "document_id"),
                                    "\"\"");
    ngx_http_trifecta_openai_member(j, "filename",
                                    json_object_get(citation, "source"),
                                    "\"\"");
    ngx_http_trifecta_json_lit(j, "}");
}


static void
ngx_http_trifecta_openai_annotate(void *data, json_t *citation,
    ngx_uint_t n, size_t index)
{
    ngx_http_trifecta_json_t *j = data;

    if (n) {
        ngx_http_trifecta_json_lit(j, ",");
    }

    ngx_http_trifecta_openai_annotation(j, citation, index);
}


void
ngx_http_trifecta_openai_text(ngx_http_trifecta_json_t *j, const u_char *text,
    size_t len, json_t *citations)
{
    ngx_http_trifecta_json_lit(j, "{\"type\":\"output_text\",\"text\":");
    ngx_http_trifecta_json_string(j, text, len);
    ngx_http_trifecta_json_lit(j, ",\"annotations\":[");

    (void) ngx_http_trifecta_openai_annotations(citations, text, len,
                                          ngx_http_trifecta_openai_annotate,
                                          j);

    ngx_http_trifecta_json_lit(j, "],\"logprobs\":[]}");
}


void
ngx_http_trifecta_openai_message_id(ngx_http_request_t *r, ngx_uint_t n,
    ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_openai_id(r, "msg_", j);

    if (n) {
        ngx_http_trifecta_json_printf(j, "_%ui", n);
    }
}


void
ngx_http_trifecta_openai_message(ngx_http_trifecta_openai_job_t *job,
    const char *status, ngx_str_t *text, json_t *citations,
    ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_json_lit(j, "{\"id\":\"");
    ngx_http_trifecta_openai_message_id(job->request, job->voided, j);
    ngx_http_trifecta_json_printf(j, "\",\"type\":\"message\","
                                  "\"status\":\"%s\",\"role\":\"assistant\","
                                  "\"content\":[", status);
    if (text) {
        ngx_http_trifecta_openai_text(j, text->data, text->len, citations);
    }

    ngx_http_trifecta_json_lit(j, "]}");
}


void
ngx_http_trifecta_openai_call(ngx_http_trifecta_openai_job_t *job,
    json_t *call, ngx_uint_t n, ngx_uint_t done, ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_json_lit(j, "{\"id\":\"");
    ngx_http_trifecta_openai_id(job->request, "fc_", j);
    ngx_http_trifecta_json_printf(j, "_%ui\",\"type\":\"function_call\","
                                  "\"status\":\"%s\"", n,
                                  done ? "completed" : "in_progress");
    ngx_http_trifecta_openai_member(j, "call_id",
                                    json_object_get(call, "id"), "\"\"");
    ngx_http_trifecta_openai_member(j, "name",
                                    json_object_get(call, "name"), "\"\"");
    ngx_http_trifecta_openai_member(j, "arguments",
                                    done ? json_object_get(call, "arguments")
                                         : NULL, "\"\"");
    ngx_http_trifecta_json_lit(j, "}");
}


/* What a job without an answer had said when it ended. */

static void
ngx_http_trifecta_openai_unfinished(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    size_t                     i;
    json_t                    *streamed, *piece;
    ngx_str_t                  text;
    ngx_uint_t                 searched;
    ngx_http_trifecta_json_t   said;

    streamed = ngx_http_trifecta_openai_column(job,
                                             NGX_HTTP_TRIFECTA_ROW_STREAMED);
    searched = json_is_true(json_object_get(streamed, "search"))
               || json_array_size(json_object_get(streamed, "last"));

    if (searched) {
        ngx_http_trifecta_openai_search(job, "completed", NULL, j);
    }

    ngx_http_trifecta_json_init(&said, job->request->pool, 256);

    json_array_foreach(json_object_get(streamed, "last"), i, piece) {
        ngx_http_trifecta_json_raw(&said, json_string_value(piece),
                                   json_string_length(piece));
    }

    if (said.last != said.start) {
        text.data = said.start;
        text.len = said.last - said.start;

        ngx_http_trifecta_json_lit(j, ",");
        ngx_http_trifecta_openai_message(job, "incomplete", &text, NULL, j);
    }

    json_decref(streamed);
}


void
ngx_http_trifecta_openai_output(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    size_t      i;
    json_t     *citations, *calls, *call;
    ngx_str_t   text;

    ngx_http_trifecta_json_lit(j, "[");

    if (job->row == NULL || job->state != TF_JOB_SUCCEEDED) {
        ngx_http_trifecta_openai_unfinished(job, j);
        ngx_http_trifecta_json_lit(j, "]");
        return;
    }

    citations = ngx_http_trifecta_openai_column(job,
                                            NGX_HTTP_TRIFECTA_ROW_CITATIONS);
    calls = ngx_http_trifecta_openai_column(job,
                                           NGX_HTTP_TRIFECTA_ROW_TOOL_CALLS);

    ngx_http_trifecta_openai_search(job, "completed", citations, j);

    ngx_http_trifecta_openai_body(job, &text);

    if (text.len || json_array_size(calls) == 0) {
        ngx_http_trifecta_json_lit(j, ",");
        ngx_http_trifecta_openai_message(job,
                                         ngx_http_trifecta_openai_cut(job)
                                         ? "incomplete" : "completed",
                                         &text, citations, j);
    }

    json_array_foreach(calls, i, call) {
        ngx_http_trifecta_json_lit(j, ",");
        ngx_http_trifecta_openai_call(job, call, i, 1, j);
    }

    ngx_http_trifecta_json_lit(j, "]");

    json_decref(citations);
    json_decref(calls);
}


void
ngx_http_trifecta_openai_usage(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    json_t        *usage, *cost;
    json_int_t     in, out;

    usage = ngx_http_trifecta_openai_column(job,
                                            NGX_HTTP_TRIFECTA_ROW_USAGE);

    if (usage == NULL) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    in = json_integer_value(json_object_get(usage, "input_tokens"));
    out = json_integer_value(json_object_get(usage, "output_tokens"));
    cost = json_object_get(usage, "cost");

    ngx_http_trifecta_json_printf(j, "{\"input_tokens\":%L,"
                                  "\"input_tokens_details\":"
                                  "{\"cached_tokens\":0},"
                                  "\"output_tokens\":%L,"
                                  "\"output_tokens_details\":"
                                  "{\"reasoning_tokens\":0},"
                                  "\"total_tokens\":%L",
                                  (int64_t) in, (int64_t) out,
                                  (int64_t) (in + out));

    if (cost) {
        ngx_http_trifecta_openai_member(j, "cost", cost, "0");
    }

    ngx_http_trifecta_json_lit(j, "}");

    json_decref(usage);
}
