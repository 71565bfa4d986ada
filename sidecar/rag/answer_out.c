#define _GNU_SOURCE     /* memmem() */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "rag/answering.h"


tf_answer_status_t
tf_answer_failed(tf_answer_t *answer, const char *code, const char *message,
    int retryable)
{
    answer->code = code;
    answer->retryable = retryable;
    (void) snprintf(answer->message, sizeof(answer->message), "%s", message);

    return TF_ANSWER_FAILED;
}


int
tf_answer_searched(tf_answering_t *a, int news)
{
    const tf_answer_sink_t  *sink;

    sink = a->asked->sink;

    if (sink == NULL || a->searched) {
        return 0;
    }

    a->searched = 1;

    return sink->searched(sink->arg, news);
}


/* Text as it may be served, on its way to who watches. */

static int
tf_answer_show(void *arg, const char *data, size_t len)
{
    tf_answering_t          *a = arg;
    const tf_answer_sink_t  *sink;

    sink = a->asked->sink;
    a->shown = 1;

    return tf_answer_searched(a, 0) == 0 ? sink->text(sink->arg, data, len)
                                         : -1;
}


/* Text as the model wrote it. */

static int
tf_answer_text(void *arg, const char *data, size_t len)
{
    tf_answering_t  *a = arg;

    return tf_flow_text(&a->flow, data, len);
}


/* The model that wrote it is asked no more, another one begins. */

static int
tf_answer_reset(void *arg)
{
    tf_answering_t          *a = arg;
    const tf_answer_sink_t  *sink;

    tf_flow_reset(&a->flow);

    if (!a->shown) {
        return 0;
    }

    sink = a->asked->sink;
    a->shown = 0;

    return sink->reset(sink->arg);
}


void
tf_answer_flush(tf_answering_t *a)
{
    const tf_answer_sink_t  *sink;

    sink = a->asked->sink;

    if (sink != NULL) {
        sink->flush(sink->arg);
    }
}


static void
tf_answer_waits(void *arg)
{
    tf_answer_flush(arg);
}


void
tf_answer_watch(tf_answering_t *a)
{
    a->sink.text = tf_answer_text;
    a->sink.reset = tf_answer_reset;
    a->sink.flush = tf_answer_waits;
    a->sink.arg = a;
    a->request.sink = &a->sink;

    tf_flow_begin(&a->flow, &a->request,
                  a->asked->sink ? tf_answer_show : NULL, a);
}


/*
 * What a model wrote becomes what may be served: all of it has gone through
 * the sink.
 */

static int
tf_answer_generated(tf_answering_t *a)
{
    tf_flow_t  *flow;

    flow = &a->flow;

    if (tf_flow_end(flow) != 0) {
        return -1;
    }

    tf_buf_free(&a->reply.body);
    a->reply.body = flow->body;
    memset(&flow->body, 0, sizeof(tf_buf_t));

    a->reply.ncitations = flow->cite.ncitations;
    memcpy(a->reply.citations, flow->cite.citations,
           sizeof(flow->cite.citations));

    if (flow->safe.removed || flow->cite.moved || flow->cite.dropped) {
        tf_log(TF_LOG_INFO, "of the answer of model %s %u links or tags were "
               "taken out, %u citations moved and %u dropped",
               a->reply.model->name, flow->safe.removed, flow->cite.moved,
               flow->cite.dropped);
    }

    return 0;
}


/*
 * Who answered (a fallback may have), how many tokens that and what was before
 * it took, and what it cost where the models have a price.
 */

static void
tf_answer_usage(const tf_answering_t *a, tf_buf_t *usage)
{
    double                 cost;
    long long              input, output;
    const tf_llm_model_t  *by, *asked;

    by = a->reply.model;
    asked = a->model;
    input = a->reply.input_tokens + a->talk.input_tokens;
    output = a->reply.output_tokens + a->talk.output_tokens;

    tf_buf_printf(usage, "{\"input_tokens\":%lld,\"output_tokens\":%lld,"
                  "\"total_tokens\":%lld,\"model\":\"%s\"",
                  input, output, input + output, by->name);

    cost = (double) a->reply.input_tokens * by->input_price
           + (double) a->reply.output_tokens * by->output_price
           + (double) a->talk.input_tokens * asked->input_price
           + (double) a->talk.output_tokens * asked->output_price;

    cost = cost / 1e6 + tf_rag_vector_cost(&a->vector);

    if (cost > 0 || by->input_price > 0 || by->output_price > 0) {
        tf_buf_printf(usage, ",\"cost\":%.6f", cost);
    }

    tf_rag_vector_usage(&a->vector, &a->order, usage);

    if (a->reply.incomplete) {
        tf_buf_puts(usage, ",\"incomplete\":\"max_output_tokens\"");
    }

    tf_buf_puts(usage, "}");
}


static int
tf_answer_check(const tf_answering_t *a)
{
    char                     mark[32];
    size_t                   i, n, len;
    const char              *pos, *end, *quote;
    const tf_llm_quote_t    *citation;
    const tf_llm_passage_t  *passage;

    pos = a->reply.body.data;
    end = pos + a->reply.body.len;

    for (i = 0; i < a->reply.ncitations; i++) {
        citation = &a->reply.citations[i];

        if (citation->passage >= a->request.npassages) {
            return 0;
        }

        passage = &a->passages[citation->passage];
        len = strlen(passage->body);

        if (citation->start >= citation->end || citation->end > len
            || (passage->body[citation->start] & 0xc0) == 0x80
            || (passage->body[citation->end] & 0xc0) == 0x80)
        {
            return 0;
        }

        quote = passage->body + citation->start;
        len = citation->end - citation->start;

        n = (size_t) snprintf(mark, sizeof(mark), "[%zu]", i + 1);

        /* the words may also stand elsewhere, without the mark */

        for ( ;; ) {
            pos = memmem(pos, (size_t) (end - pos), quote, len);

            if (pos == NULL || (size_t) (end - pos) < len + 1 + n) {
                return 0;
            }

            if ((pos[len] == ' ' || pos[len] == '\n')
                && memcmp(pos + len + 1, mark, n) == 0)
            {
                break;
            }

            pos++;
        }

        pos += len;
    }

    return 1;
}


static json_t *
tf_answer_citation(const tf_answering_t *a, size_t i)
{
    const tf_llm_quote_t    *citation;
    const tf_llm_passage_t  *passage;

    citation = &a->reply.citations[i];
    passage = &a->passages[citation->passage];

    return json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:f}",
                     "n", (json_int_t) (i + 1),
                     "document_id", passage->document,
                     "source", passage->source,
                     "title", passage->title,
                     "chunk_id", (json_int_t) passage->chunk,
                     "start", (json_int_t) (passage->start + citation->start),
                     "end", (json_int_t) (passage->start + citation->end),
                     "score", passage->score);
}


static int
tf_answer_citations(const tf_answering_t *a, tf_buf_t *citations)
{
    char    *text;
    size_t   i;
    json_t  *list;

    if (a->reply.ncitations == 0) {
        tf_buf_puts(citations, "[]");
        return 0;
    }

    list = json_array();

    for (i = 0; i < a->reply.ncitations; i++) {
        (void) json_array_append_new(list, tf_answer_citation(a, i));
    }

    text = json_array_size(list) == a->reply.ncitations
           ? json_dumps(list, JSON_COMPACT|JSON_REAL_PRECISION(6)) : NULL;
    json_decref(list);

    if (text == NULL) {
        return -1;
    }

    tf_buf_puts(citations, text);
    free(text);

    return 0;
}


static void
tf_answer_move(tf_buf_t *to, tf_buf_t *from)
{
    tf_buf_free(to);
    *to = *from;
    memset(from, 0, sizeof(tf_buf_t));
}


tf_answer_status_t
tf_answer_finish(tf_answering_t *a, tf_answer_t *answer)
{
    if (a->reply.body.failed || a->reply.tool_calls.failed
        || (a->reply.generated && tf_answer_generated(a) != 0))
    {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    if (!a->reply.generated && !tf_answer_check(a)) {
        tf_log(TF_LOG_ERROR, "the model gave a citation that is not in its "
               "passage; the answer is not served");

        return tf_answer_failed(answer, "internal_error",
                                "A citation did not match its document.", 1);
    }

    if (tf_answer_citations(a, &answer->citations) != 0) {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    tf_answer_move(&answer->body, &a->reply.body);
    tf_answer_move(&answer->tool_calls, &a->reply.tool_calls);
    tf_answer_usage(a, &answer->usage);

    if (answer->citations.failed || answer->body.failed
        || answer->usage.failed || answer->tool_calls.failed)
    {
        return tf_answer_failed(answer, "internal_error", "Out of memory.", 1);
    }

    return TF_ANSWER_OK;
}
