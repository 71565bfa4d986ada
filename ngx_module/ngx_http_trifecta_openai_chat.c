#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_reply.h"


/*
 * A job that has ended drawn as a chat completion.
 *
 * There is no place in it for a job that failed or was cancelled, so those
 * are errors, and say that it is of no use to send the same again: the job
 * has been tried as often as that made sense.
 */

ngx_int_t
ngx_http_trifecta_openai_failed(ngx_http_trifecta_openai_job_t *job)
{
    json_t              *error;
    ngx_int_t            rc;
    const char          *code, *message;
    ngx_http_request_t  *r;

    r = job->request;

    if (ngx_http_trifecta_header_lit(r, "X-Should-Retry", "false") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (job->state == TF_JOB_CANCELLED) {
        return ngx_http_trifecta_error(r, TF_E_JOB_CANCELLED, NULL,
                                       "the job was cancelled before it had "
                                       "an answer");
    }

    error = ngx_http_trifecta_openai_column(job,
                                            NGX_HTTP_TRIFECTA_ROW_ERROR);
    code = json_string_value(json_object_get(error, "code"));
    message = json_string_value(json_object_get(error, "message"));

    if (code && ngx_strcmp(code, "model_rejected") == 0) {
        rc = ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, NULL, "%s",
                                     message ? message : code);

    } else if (code && ngx_strcmp(code, "model_not_found") == 0) {
        rc = ngx_http_trifecta_error(r, TF_E_MODEL_NOT_FOUND, "model", "%s",
                                     message ? message : code);

    } else if (code && ngx_strcmp(code, "model_not_allowed") == 0) {
        rc = ngx_http_trifecta_error(r, TF_E_MODEL_NOT_ALLOWED, "model", "%s",
                                     message ? message : code);

    } else {
        rc = ngx_http_trifecta_error(r, TF_E_JOB_FAILED, NULL, "%s: %s",
                                     code ? code : "internal_error",
                                     message ? message : "the job failed");
    }

    json_decref(error);

    return rc;
}


void
ngx_http_trifecta_openai_chat_usage(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    json_t      *usage, *cost;
    json_int_t   in, out;

    usage = ngx_http_trifecta_openai_column(job,
                                            NGX_HTTP_TRIFECTA_ROW_USAGE);

    in = json_integer_value(json_object_get(usage, "input_tokens"));
    out = json_integer_value(json_object_get(usage, "output_tokens"));
    cost = json_object_get(usage, "cost");

    ngx_http_trifecta_json_printf(j, "{\"prompt_tokens\":%L,"
                                  "\"completion_tokens\":%L,"
                                  "\"total_tokens\":%L",
                                  (int64_t) in, (int64_t) out,
                                  (int64_t) (in + out));
    if (cost) {
        ngx_http_trifecta_openai_member(j, "cost", cost, "0");
    }

    ngx_http_trifecta_json_lit(j, "}");

    json_decref(usage);
}


void
ngx_http_trifecta_openai_chat_start(ngx_http_trifecta_openai_job_t *job,
    const char *object, ngx_http_trifecta_json_t *j)
{
    ngx_http_trifecta_json_lit(j, "{\"id\":\"");
    ngx_http_trifecta_openai_id(job->request, "chatcmpl-", j);
    ngx_http_trifecta_json_printf(j, "\",\"object\":\"%s\",\"created\":%L,"
                                  "\"model\":", object, job->accepted / 1000);
    ngx_http_trifecta_json_str(j, &job->model);
}


void
ngx_http_trifecta_openai_chat_calls(json_t *calls,
    ngx_http_trifecta_json_t *j)
{
    size_t   i;
    json_t  *call;

    ngx_http_trifecta_json_lit(j, "[");

    json_array_foreach(calls, i, call) {
        ngx_http_trifecta_json_printf(j, "%s{\"index\":%uz,"
                                      "\"type\":\"function\"",
                                      i ? "," : "", i);
        ngx_http_trifecta_openai_member(j, "id", json_object_get(call, "id"),
                                        "\"\"");
        ngx_http_trifecta_json_lit(j, ",\"function\":{\"name\":");
        ngx_http_trifecta_openai_value(j, json_object_get(call, "name"));
        ngx_http_trifecta_openai_member(j, "arguments",
                                        json_object_get(call, "arguments"),
                                        "\"{}\"");
        ngx_http_trifecta_json_lit(j, "}}");
    }

    ngx_http_trifecta_json_lit(j, "]");
}


const char *
ngx_http_trifecta_openai_chat_why(ngx_http_trifecta_openai_job_t *job,
    json_t *calls)
{
    return ngx_http_trifecta_openai_cut(job) ? "length"
           : json_array_size(calls) ? "tool_calls" : "stop";
}


ngx_int_t
ngx_http_trifecta_openai_chat(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    json_t     *citations, *metadata, *calls;
    ngx_str_t   text;

    if (job->state != TF_JOB_SUCCEEDED || job->row == NULL) {
        return ngx_http_trifecta_openai_failed(job);
    }

    ngx_http_trifecta_openai_chat_start(job, "chat.completion", j);

    ngx_http_trifecta_json_lit(j, ",\"choices\":[{\"index\":0,"
                                  "\"message\":{\"role\":\"assistant\","
                                  "\"content\":");
    calls = ngx_http_trifecta_openai_column(job,
                                           NGX_HTTP_TRIFECTA_ROW_TOOL_CALLS);

    ngx_http_trifecta_openai_body(job, &text);

    if (text.len || json_array_size(calls) == 0) {
        ngx_http_trifecta_json_str(j, &text);

    } else {
        ngx_http_trifecta_json_lit(j, "null");
    }

    if (json_array_size(calls)) {
        ngx_http_trifecta_json_lit(j, ",\"tool_calls\":");
        ngx_http_trifecta_openai_chat_calls(calls, j);
    }

    ngx_http_trifecta_json_printf(j, ",\"refusal\":null},\"logprobs\":null,"
                                  "\"finish_reason\":\"%s\"}],\"usage\":",
                                  ngx_http_trifecta_openai_chat_why(job,
                                                                    calls));
    json_decref(calls);
    ngx_http_trifecta_openai_chat_usage(job, j);

    metadata = json_object_get(job->payload, "metadata");

    if (metadata) {
        ngx_http_trifecta_openai_member(j, "metadata", metadata, "{}");
    }

    /* the shape has no place for files: they are told as the plain one does */

    citations = ngx_http_trifecta_openai_column(job,
                                            NGX_HTTP_TRIFECTA_ROW_CITATIONS);
    ngx_http_trifecta_openai_member(j, "citations", citations, "[]");
    ngx_http_trifecta_json_lit(j, "}");

    json_decref(citations);

    return NGX_DECLINED;
}
