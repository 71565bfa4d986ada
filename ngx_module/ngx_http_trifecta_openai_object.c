#include "ngx_http_trifecta_job.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_openai.h"


/*
 * A job drawn as a response.  What was asked for stands in the job's request;
 * where that is not known, in what OpenAI has as defaults.
 */

static const char *const  ngx_http_trifecta_openai_states[] = {
    "queued", "in_progress", "completed", "failed", "cancelled", "failed"
};


void
ngx_http_trifecta_openai_value(ngx_http_trifecta_json_t *j, json_t *value)
{
    char  *text;

    text = json_dumps(value, JSON_COMPACT|JSON_ENCODE_ANY
                             |JSON_REAL_PRECISION(15));
    if (text == NULL) {
        j->failed = 1;
        return;
    }

    ngx_http_trifecta_json_raw(j, text, ngx_strlen(text));
    free(text);
}


void
ngx_http_trifecta_openai_member(ngx_http_trifecta_json_t *j,
    const char *name, json_t *value, const char *otherwise)
{
    ngx_http_trifecta_json_printf(j, ",\"%s\":", name);

    if (value) {
        ngx_http_trifecta_openai_value(j, value);

    } else {
        ngx_http_trifecta_json_raw(j, otherwise, ngx_strlen(otherwise));
    }
}


/* Runs of a job that were void and had said something. */

static ngx_uint_t
ngx_http_trifecta_openai_voided(ngx_http_trifecta_openai_job_t *job)
{
    size_t       i;
    json_t      *streamed, *run;
    ngx_uint_t   n;

    streamed = ngx_http_trifecta_openai_column(job,
                                             NGX_HTTP_TRIFECTA_ROW_STREAMED);
    n = 0;

    json_array_foreach(json_object_get(streamed, "earlier"), i, run) {
        n += json_array_size(run) > 0;
    }

    json_decref(streamed);

    return n;
}


void
ngx_http_trifecta_openai_job(ngx_http_trifecta_read_t *read,
    ngx_http_trifecta_openai_job_t *job)
{
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(read->op.request,
                                        ngx_http_trifecta_module);

    ngx_http_trifecta_count(mcf, read->row ? NGX_HTTP_TRIFECTA_M_RESULT_STORE
                                           : NGX_HTTP_TRIFECTA_M_RESULT_QUEUE);

    ngx_memzero(job, sizeof(ngx_http_trifecta_openai_job_t));

    job->request = read->op.request;
    job->payload = ngx_http_trifecta_openai_payload_parse(&read->request);
    job->state = read->state;
    job->accepted = read->accepted;
    job->model = read->model;
    job->row = read->row;
    job->voided = ngx_http_trifecta_openai_voided(job);
}


void
ngx_http_trifecta_openai_row(ngx_http_request_t *r, PGresult *row, int at,
    ngx_str_t *request, ngx_http_trifecta_openai_job_t *job)
{
    json_t  *accepted;

    ngx_memzero(job, sizeof(ngx_http_trifecta_openai_job_t));

    job->request = r;
    job->payload = ngx_http_trifecta_openai_payload_parse(request);
    job->state = ngx_http_trifecta_state_of(PQgetvalue(row, at, 0),
                                            (size_t) PQgetlength(row, at, 0));

    if (job->state == TF_JOB_NSTATES) {
        job->state = TF_JOB_FAILED;
    }

    job->row = row;
    job->at = at;
    job->model.data = (u_char *) PQgetvalue(row, at,
                                            NGX_HTTP_TRIFECTA_ROW_MODEL);
    job->model.len = (size_t) PQgetlength(row, at,
                                          NGX_HTTP_TRIFECTA_ROW_MODEL);
    job->voided = ngx_http_trifecta_openai_voided(job);

    accepted = ngx_http_trifecta_openai_column(job,
                                              NGX_HTTP_TRIFECTA_ROW_ACCEPTED);
    job->accepted = (int64_t) json_integer_value(accepted);
    json_decref(accepted);
}


ngx_int_t
ngx_http_trifecta_openai_unknown(ngx_http_trifecta_read_t *read)
{
    ngx_http_request_t  *r;

    r = read->op.request;

    switch (read->seen) {

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


/* The codes of OpenAI are few; the job's own is the type. */

static void
ngx_http_trifecta_openai_error(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    json_t      *error;
    const char  *code;

    ngx_http_trifecta_json_lit(j, ",\"error\":");

    if (job->state != TF_JOB_FAILED && job->state != TF_JOB_DEAD) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    error = ngx_http_trifecta_openai_column(job,
                                            NGX_HTTP_TRIFECTA_ROW_ERROR);
    code = json_string_value(json_object_get(error, "code"));

    if (code == NULL) {
        code = "internal_error";
    }

    ngx_http_trifecta_json_printf(j, "{\"code\":\"%s\"",
                                  ngx_strcmp(code, "model_rejected") == 0
                                  ? "invalid_prompt" : "server_error");
    ngx_http_trifecta_openai_member(j, "message",
                                    json_object_get(error, "message"),
                                    "\"The job failed.\"");
    ngx_http_trifecta_json_lit(j, ",\"type\":");
    ngx_http_trifecta_json_string(j, code, ngx_strlen(code));
    ngx_http_trifecta_json_lit(j, ",\"param\":null}");

    json_decref(error);
}


static void
ngx_http_trifecta_openai_times(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    json_t  *ms;

    ngx_http_trifecta_json_printf(j, ",\"created_at\":%L,\"completed_at\":",
                                  job->accepted / 1000);

    ms = job->state == TF_JOB_SUCCEEDED
         ? ngx_http_trifecta_openai_column(job, NGX_HTTP_TRIFECTA_ROW_FINISHED)
         : NULL;

    if (ms == NULL) {
        ngx_http_trifecta_json_lit(j, "null");
        return;
    }

    ngx_http_trifecta_json_printf(j, "%L",
                                  (int64_t) json_integer_value(ms) / 1000);
    json_decref(ms);
}


static void
ngx_http_trifecta_openai_where(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    u_char       c;
    json_t      *conversation;
    const char  *p;

    p = json_string_value(json_object_get(job->payload, "previous"));

    ngx_http_trifecta_json_lit(j, ",\"previous_response_id\":");

    if (p == NULL) {
        ngx_http_trifecta_json_lit(j, "null");

    } else {
        ngx_http_trifecta_json_lit(j, "\"resp_");

        for ( /* void */ ; *p; p++) {
            c = (u_char) *p;

            if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
                ngx_http_trifecta_json_raw(j, &c, 1);
            }
        }

        ngx_http_trifecta_json_lit(j, "\"");
    }

    conversation = json_object_get(job->payload, "conversation_id");

    if (conversation) {
        ngx_http_trifecta_json_lit(j, ",\"conversation\":{\"id\":");
        ngx_http_trifecta_openai_value(j, conversation);
        ngx_http_trifecta_json_lit(j, "}");
    }
}


/* What was asked for. */

static void
ngx_http_trifecta_openai_asked(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    json_t  *face, *options, *text, *verbosity;

    face = json_object_get(job->payload, "openai");
    options = json_object_get(job->payload, "options");

    ngx_http_trifecta_openai_member(j, "background",
                                    json_object_get(face, "background"),
                                    "false");
    ngx_http_trifecta_openai_member(j, "instructions",
                                    json_object_get(face, "instructions"),
                                    "null");
    ngx_http_trifecta_openai_member(j, "max_output_tokens",
                                    json_object_get(options,
                                                    "max_output_tokens"),
                                    "null");
    ngx_http_trifecta_openai_member(j, "metadata",
                                    json_object_get(job->payload, "metadata"),
                                    "{}");
    ngx_http_trifecta_openai_member(j, "parallel_tool_calls",
                                    json_object_get(face,
                                                    "parallel_tool_calls"),
                                    "true");
    ngx_http_trifecta_openai_where(job, j);
    ngx_http_trifecta_json_lit(j, ",\"reasoning\":{\"summary\":null");
    ngx_http_trifecta_openai_member(j, "effort",
                                    json_object_get(options,
                                                    "reasoning_effort"),
                                    "null");
    ngx_http_trifecta_json_lit(j, "}");
    ngx_http_trifecta_openai_member(j, "store",
                                    json_object_get(face, "store"), "true");
    ngx_http_trifecta_openai_member(j, "temperature",
                                    json_object_get(options, "temperature"),
                                    "null");

    text = json_object_get(options, "format");

    ngx_http_trifecta_json_lit(j, ",\"text\":{\"format\":");

    if (text) {
        ngx_http_trifecta_openai_value(j, text);

    } else {
        ngx_http_trifecta_json_lit(j, "{\"type\":\"text\"}");
    }

    verbosity = json_object_get(options, "verbosity");

    if (verbosity) {
        ngx_http_trifecta_openai_member(j, "verbosity", verbosity, "null");
    }

    ngx_http_trifecta_json_lit(j, "}");

    ngx_http_trifecta_openai_member(j, "tool_choice",
                                    json_object_get(face, "tool_choice"),
                                    "\"auto\"");
    ngx_http_trifecta_openai_member(j, "tools",
                                    json_object_get(face, "tools"), "[]");
    ngx_http_trifecta_openai_member(j, "top_p",
                                    json_object_get(options, "top_p"),
                                    "null");
    ngx_http_trifecta_openai_member(j, "truncation",
                                    json_object_get(options, "truncation"),
                                    "\"auto\"");
    ngx_http_trifecta_openai_member(j, "user", json_object_get(face, "user"),
                                    "null");
    ngx_http_trifecta_openai_member(j, "safety_identifier",
                                    json_object_get(face,
                                                    "safety_identifier"),
                                    "null");
    ngx_http_trifecta_openai_member(j, "prompt_cache_key",
                                    json_object_get(face,
                                                    "prompt_cache_key"),
                                    "null");
}


void
ngx_http_trifecta_openai_response(ngx_http_trifecta_openai_job_t *job,
    ngx_http_trifecta_json_t *j)
{
    ngx_uint_t  cut;

    cut = ngx_http_trifecta_openai_cut(job);

    ngx_http_trifecta_json_lit(j, "{\"id\":\"");
    ngx_http_trifecta_openai_id(job->request, "resp_", j);
    ngx_http_trifecta_json_printf(j, "\",\"object\":\"response\","
                                  "\"status\":\"%s\"",
                                  cut ? "incomplete"
                                  : ngx_http_trifecta_openai_states
                                                               [job->state]);
    ngx_http_trifecta_openai_times(job, j);
    ngx_http_trifecta_openai_error(job, j);
    ngx_http_trifecta_json_printf(j, ",\"incomplete_details\":%s",
                                  cut ? "{\"reason\":\"max_output_tokens\"}"
                                      : "null");
    ngx_http_trifecta_json_lit(j, ",\"model\":");
    ngx_http_trifecta_json_str(j, &job->model);
    ngx_http_trifecta_json_lit(j, ",\"output\":");
    ngx_http_trifecta_openai_output(job, j);
    ngx_http_trifecta_json_lit(j, ",\"usage\":");
    ngx_http_trifecta_openai_usage(job, j);
    ngx_http_trifecta_openai_asked(job, j);
    ngx_http_trifecta_json_lit(j, "}");
}
