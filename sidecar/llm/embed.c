#include "llm/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "llm/prompt.h"


/* A request and its answer, which is read when it is whole. */

typedef struct {
    const tf_llm_model_t  *model;
    void                 (*read)(tf_llm_numbers_t *numbers,
                             const json_t *root);
    tf_llm_numbers_t       numbers;
    tf_buf_t               whole;
    size_t                 max;     /* bytes that it may have */
    int                    long_one;
} tf_embedding_t;


static void
tf_embed_begin(void *arg, const tf_stream_answer_t *answer)
{
    tf_embedding_t  *e = arg;

    (void) answer;

    tf_buf_reset(&e->whole);
    e->long_one = 0;
}


static int
tf_embed_data(void *arg, const char *data, size_t len)
{
    tf_embedding_t  *e = arg;

    if (e->whole.len + len > e->max) {
        e->long_one = 1;
        return 1;
    }

    tf_buf_append(&e->whole, data, len);

    return e->whole.failed;
}


static tf_llm_call_status_t
tf_embed_end(void *arg, const tf_stream_answer_t *answer,
    tf_llm_failure_t *failure)
{
    size_t             n;
    json_t            *root;
    const json_t      *error;
    tf_embedding_t    *e = arg;
    tf_llm_reading_t   said;

    if (e->whole.failed) {
        return tf_llm_call_failed(failure, "internal_error",
                                  "Out of memory.", 1, 0);
    }

    memset(&said, 0, sizeof(said));
    n = e->read == e->model->by->wire->reranked ? e->numbers.width
                                                : e->numbers.rows;
    memset(e->numbers.seen, 0, n);
    e->numbers.nseen = 0;
    e->numbers.tokens = 0;
    e->numbers.broken = NULL;

    root = e->long_one || e->whole.len == 0
           ? NULL : json_loadb(e->whole.data, e->whole.len, 0, NULL);
    error = json_object_get(root, "error");

    if (e->long_one) {
        e->numbers.broken = "more than it should be";

    } else if (!json_is_object(root)) {
        e->numbers.broken = "no JSON object";

    } else if (error != NULL && !json_is_null(error)) {
        tf_llm_read_error(&said, error);
        e->numbers.broken = "an error in its answer";

    } else {
        e->read(&e->numbers, root);

        if (e->numbers.broken == NULL && e->numbers.nseen < n) {
            e->numbers.broken = "too few";
        }
    }

    json_decref(root);

    if (e->numbers.broken == NULL) {
        return TF_LLM_CALL_OK;
    }

    tf_log(TF_LOG_WARN, "the server of model %s sent %s (%s)%s%s",
           e->model->name, e->numbers.broken,
           answer->type[0] ? answer->type : "no type",
           said.message[0] ? ": " : "", said.message);

    return tf_llm_call_failed(failure, "model_unavailable", "The model's "
                              "server gave no whole answer.", 1, 0);
}


static int64_t
tf_embed_used(void *arg)
{
    const tf_embedding_t  *e = arg;

    return e->numbers.tokens;
}


static tf_llm_status_t
tf_embed_call(tf_embedding_t *e, tf_llm_call_t *call, json_t *body,
    tf_llm_failure_t *failure)
{
    char                  *json;
    tf_llm_call_status_t   rc;

    json = body ? json_dumps(body, JSON_COMPACT) : NULL;

    call->model = e->model;
    call->json = json;
    call->arg = e;
    call->begin = tf_embed_begin;
    call->data = tf_embed_data;
    call->end = tf_embed_end;
    call->used = tf_embed_used;
    call->tokens = json ? strlen(json) / TF_PROMPT_TOKEN_BYTES : 0;

    rc = tf_llm_call(call, failure);

    free(json);
    tf_buf_free(&e->whole);

    return rc == TF_LLM_CALL_OK ? TF_LLM_OK
           : rc == TF_LLM_CALL_CANCELLED ? TF_LLM_CANCELLED : TF_LLM_FAILED;
}


/* The prefix, the text, and no more of it than the model can take. */

static json_t *
tf_embed_text(const tf_llm_model_t *model, const char *prefix,
    const char *text, size_t *bytes)
{
    json_t    *one;
    size_t     max;
    tf_buf_t   b = TF_BUF_INIT;

    if (prefix[0]) {
        tf_buf_printf(&b, "%s ", prefix);
    }

    tf_buf_puts(&b, text);
    max = model->context * TF_PROMPT_TOKEN_BYTES;

    if (b.len > max) {
        while (max > 0 && (b.data[max] & 0xc0) == 0x80) {
            max--;
        }
        b.len = max;
    }

    /* an empty text is refused by some servers */

    one = b.failed ? NULL
          : b.len == 0 ? json_string(" ") : json_stringn(b.data, b.len);
    *bytes = b.len;
    tf_buf_free(&b);

    return one;
}


/* As many texts as one request may have; NULL: no memory. */

static json_t *
tf_embed_texts(const tf_llm_model_t *model, const tf_llm_embed_t *request,
    size_t first)
{
    size_t       i, bytes, sum, most;
    json_t      *texts, *one;
    const char  *prefix;

    most = TF_LLM_EMBED_TOKENS;

    if (model->tokens_per_minute && model->tokens_per_minute < most) {
        most = model->tokens_per_minute;
    }

    texts = json_array();
    prefix = request->question ? model->query_prefix : model->document_prefix;
    sum = 0;

    for (i = first; i < request->n && i - first < model->batch; i++) {
        one = tf_embed_text(model, prefix, request->texts[i], &bytes);
        sum += bytes;

        if (one != NULL && i > first
            && sum / TF_PROMPT_TOKEN_BYTES > most)
        {
            json_decref(one);
            break;
        }

        if (one == NULL || json_array_append_new(texts, one) != 0) {
            json_decref(texts);
            return NULL;
        }
    }

    return texts;
}


tf_llm_status_t
tf_llm_embed(const tf_llm_model_t *model, const tf_llm_embed_t *request,
    tf_llm_vectors_t *vectors, tf_llm_failure_t *failure)
{
    json_t               *texts, *body;
    size_t                done;
    tf_llm_call_t         call;
    tf_embedding_t        e;
    tf_llm_status_t       rc;
    const tf_llm_wire_t  *wire;

    wire = model->by->wire;

    memset(failure, 0, sizeof(tf_llm_failure_t));
    memset(vectors, 0, sizeof(tf_llm_vectors_t));
    vectors->dims = model->dimensions;
    vectors->of = calloc(request->n + 1, vectors->dims * sizeof(float));

    memset(&e, 0, sizeof(e));
    e.model = model;
    e.read = wire->embedded;
    e.numbers.width = vectors->dims;
    e.numbers.seen = calloc(request->n + 1, 1);

    rc = TF_LLM_OK;

    for (done = 0; done < request->n && rc == TF_LLM_OK;
         done += e.numbers.rows)
    {
        texts = vectors->of && e.numbers.seen
                ? tf_embed_texts(model, request, done) : NULL;
        body = texts ? wire->embed(model, texts) : NULL;

        e.numbers.rows = json_array_size(texts);
        e.numbers.of = vectors->of + done * vectors->dims;

        /* digits of a number that is written in full, with blanks */
        e.max = 65536 + e.numbers.rows * (vectors->dims * 32 + 256);

        memset(&call, 0, sizeof(call));
        call.path = wire->embed_path;
        call.attempt = request->attempt;
        call.cancel = request->cancel;
        call.total_ms = request->question ? model->query_timeout : 0;

        rc = tf_embed_call(&e, &call, body, failure);

        if (rc == TF_LLM_OK) {
            vectors->tokens += e.numbers.tokens;
            vectors->n += e.numbers.rows;
        }

        json_decref(texts);
        json_decref(body);
    }

    free(e.numbers.seen);

    return rc;
}


tf_llm_status_t
tf_llm_rerank(const tf_llm_model_t *model, const tf_llm_rerank_t *request,
    float *scores, tf_llm_failure_t *failure)
{
    json_t               *documents, *body, *one;
    size_t                i, bytes;
    tf_llm_call_t         call;
    tf_embedding_t        e;
    tf_llm_status_t       rc;
    const tf_llm_wire_t  *wire;

    wire = model->by->wire;
    documents = json_array();

    for (i = 0; i < request->n; i++) {
        one = tf_embed_text(model, "", request->documents[i], &bytes);

        if (one == NULL || json_array_append_new(documents, one) != 0) {
            json_decref(documents);
            documents = NULL;
            break;
        }
    }

    memset(failure, 0, sizeof(tf_llm_failure_t));

    memset(&e, 0, sizeof(e));
    e.model = model;
    e.read = wire->reranked;
    e.numbers.rows = 1;
    e.numbers.width = request->n;
    e.numbers.of = scores;
    e.numbers.seen = calloc(request->n + 1, 1);

    /* servers send the documents back when they like */
    e.max = 1048576 + request->n * (model->context * 8 + 1024);

    body = documents && e.numbers.seen
           ? wire->rerank(model, request->question, documents) : NULL;

    memset(&call, 0, sizeof(call));
    call.path = wire->rerank_path;
    call.attempt = 1;
    call.cancel = request->cancel;
    call.total_ms = model->query_timeout;

    rc = tf_embed_call(&e, &call, body, failure);

    json_decref(documents);
    json_decref(body);
    free(e.numbers.seen);

    return rc;
}
