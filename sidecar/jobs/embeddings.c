#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/log.h"
#include "jobs/jobs.h"
#include "llm/embed.h"


/*
 * Vectors for somebody who asks for them: {"input": ["...", ...],
 * "dimensions"?}, by the job's model.  The body is a JSON array of strings,
 * each a vector as 32 bit numbers, least byte first, in base64.
 *
 * Nothing is stored but that; texts are those of passages to the model.
 */

#define TF_EMBEDDINGS_BASE64(n)  (((n) + 2) / 3 * 4)


/* What is wrong with the request for this model, or NULL. */

static const char *
tf_embeddings_wrong(const tf_llm_model_t *model, const json_t *payload,
    size_t n, char *text, size_t size)
{
    json_int_t     dims, max;
    const json_t  *asked;

    dims = (json_int_t) model->dimensions;
    asked = json_object_get(payload, "dimensions");

    if (asked != NULL && json_integer_value(asked) != dims) {
        (void) snprintf(text, size, "The model \"%s\" makes vectors of %lld "
                        "dimensions only.", model->name, (long long) dims);
        return text;
    }

    max = TF_VECTORS_NUMBERS / dims;

    if ((json_int_t) n > max) {
        (void) snprintf(text, size, "The model \"%s\" takes at most %lld texts "
                        "in one request: send fewer.", model->name,
                        (long long) max);
        return text;
    }

    asked = json_object_get(json_object_get(payload, "openai"), "base64");
    max = TF_VECTORS_FLOATS / dims;

    if (json_is_false(asked) && (json_int_t) n > max) {
        (void) snprintf(text, size, "As numbers at most %d are answered at "
                        "once: ask for \"encoding_format\": \"base64\", or "
                        "send at most %lld texts to the model \"%s\".",
                        TF_VECTORS_FLOATS, (long long) max, model->name);
        return text;
    }

    return NULL;
}


/* The strings of the input; NULL: it is none, or no memory. */

static const char **
tf_embeddings_texts(const json_t *input)
{
    size_t        i, n;
    const char  **texts;

    n = json_array_size(input);

    if (n == 0 || n > TF_VECTORS_TEXTS) {
        return NULL;
    }

    texts = calloc(n, sizeof(*texts));

    for (i = 0; i < n && texts != NULL; i++) {
        texts[i] = json_string_value(json_array_get(input, i));

        if (texts[i] == NULL) {
            free(texts);
            return NULL;
        }
    }

    return texts;
}


static int
tf_embeddings_body(tf_job_t *job, const tf_llm_vectors_t *vectors)
{
    size_t          i, k, coded;
    uint32_t        bits;
    tf_buf_t        out = TF_BUF_INIT;
    const float    *row;
    unsigned char  *raw, *text;

    coded = TF_EMBEDDINGS_BASE64(4 * vectors->dims);
    raw = malloc(4 * vectors->dims);
    text = malloc(coded + 1);

    if (raw == NULL || text == NULL) {
        free(raw);
        free(text);
        return -1;
    }

    tf_buf_puts(&out, "[");

    for (i = 0; i < vectors->n; i++) {
        row = vectors->of + i * vectors->dims;

        for (k = 0; k < vectors->dims; k++) {
            memcpy(&bits, &row[k], sizeof(bits));
            raw[4 * k] = (unsigned char) bits;
            raw[4 * k + 1] = (unsigned char) (bits >> 8);
            raw[4 * k + 2] = (unsigned char) (bits >> 16);
            raw[4 * k + 3] = (unsigned char) (bits >> 24);
        }

        (void) EVP_EncodeBlock(text, raw, (int) (4 * vectors->dims));

        tf_buf_puts(&out, i > 0 ? ",\"" : "\"");
        tf_buf_append(&out, (char *) text, coded);
        tf_buf_puts(&out, "\"");
    }

    tf_buf_puts(&out, "]");

    free(raw);
    free(text);

    if (out.failed) {
        tf_buf_free(&out);
        return -1;
    }

    job->body = out.data;

    return 0;
}


static int
tf_embeddings_usage(tf_job_t *job, const tf_llm_model_t *model,
    long long tokens)
{
    double    cost;
    tf_buf_t  out = TF_BUF_INIT;

    cost = (double) tokens * model->input_price / 1e6;

    tf_buf_printf(&out, "{\"input_tokens\":%lld,\"output_tokens\":0,"
                  "\"total_tokens\":%lld,\"model\":\"%s\"", tokens, tokens,
                  model->name);

    if (cost > 0) {
        tf_buf_printf(&out, ",\"cost\":%.6f", cost);
    }

    tf_buf_puts(&out, "}");

    if (out.failed) {
        tf_buf_free(&out);
        return -1;
    }

    job->usage = out.data;

    return 0;
}


static tf_run_t
tf_embeddings_make(tf_job_t *job, const tf_llm_model_t *model,
    const char **texts, size_t n)
{
    tf_run_t           rc;
    tf_llm_embed_t     request;
    tf_llm_status_t    status;
    tf_llm_failure_t   failure;
    tf_llm_vectors_t   vectors;

    memset(&request, 0, sizeof(request));
    memset(&vectors, 0, sizeof(vectors));
    memset(&failure, 0, sizeof(failure));

    request.texts = texts;
    request.n = n;
    request.attempt = (unsigned) job->attempt;
    request.cancel = &job->stop;

    status = tf_llm_embed(model, &request, &vectors, &failure);

    if (status == TF_LLM_OK) {

        if (tf_embeddings_body(job, &vectors) == 0
            && tf_embeddings_usage(job, model, vectors.tokens) == 0)
        {
            job->state = TF_JOB_SUCCEEDED;
            rc = TF_RUN_ENDED;

        } else {
            tf_job_fail(job, TF_JOB_FAILED, "internal_error",
                        "Out of memory.");
            rc = TF_RUN_RETRY;
        }

    } else if (status == TF_LLM_FAILED) {
        tf_log(TF_LOG_WARN, "no vectors: %s: %s", failure.code,
               failure.message);
        tf_job_fail(job, TF_JOB_FAILED, failure.code, failure.message);
        job->retry_after = failure.retry_after;
        job->waits = failure.waits;
        rc = failure.retryable ? TF_RUN_RETRY : TF_RUN_ENDED;

    } else {
        rc = TF_RUN_RELEASE;
    }

    free(vectors.of);

    return rc;
}


tf_run_t
tf_jobs_embeddings(tf_jobs_t *jobs, tf_job_t *job)
{
    char                   message[256];
    size_t                 n;
    json_t                *payload, *input;
    tf_run_t               rc;
    const char            *wrong, **texts;
    const tf_llm_model_t  *model;

    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES, NULL);
    input = json_object_get(payload, "input");
    n = json_array_size(input);
    texts = tf_embeddings_texts(input);
    model = tf_llm_models_of(jobs->models, TF_LLM_EMBEDDING, job->model);
    rc = TF_RUN_ENDED;

    if (texts == NULL) {
        tf_log(TF_LOG_ERROR, "the payload has no texts: it was not written by "
               "the nginx module, or was damaged");
        tf_job_fail(job, TF_JOB_FAILED, "invalid_payload",
                    "The job's request could not be read.");

    } else if (model == NULL) {
        (void) snprintf(message, sizeof(message),
                        "There is no model \"%.128s\" that makes vectors.",
                        job->model);
        tf_job_fail(job, TF_JOB_FAILED, "model_not_found", message);

    } else if (!tf_llm_models_allowed(model, job->groups)) {
        tf_job_fail(job, TF_JOB_FAILED, "model_not_allowed", "The model is "
                    "for groups that the asker does not have.");

    } else if ((wrong = tf_embeddings_wrong(model, payload, n, message,
                                            sizeof(message)))
               != NULL)
    {
        tf_job_fail(job, TF_JOB_FAILED, "model_rejected", wrong);

    } else {
        rc = tf_embeddings_make(job, model, texts, n);
    }

    free(texts);
    json_decref(payload);

    return rc;
}
