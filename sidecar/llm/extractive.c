#include <string.h>

#include "llm/provider.h"


/*
 * The answer without a model: the best sentences as they stand, each with its
 * citation.  What is quoted after the best one must be nearly as good and say
 * something else.  When it is not sure that the passages
 * answer, the answer says so and names the nearest documents: a guess would
 * look exactly like an answer.
 */

#define TF_EXTRACTIVE_QUOTES  3
#define TF_EXTRACTIVE_NEAR    0.5       /* of the best quote's score */
#define TF_EXTRACTIVE_TITLES  3

#define TF_EXTRACTIVE_HEAD                                                    \
    "Quoted from your documents (no language model configured)"


static int tf_extractive_is_new(const tf_llm_request_t *request,
    const tf_llm_reply_t *reply, const tf_llm_quote_t *quote);


tf_llm_status_t
tf_llm_extractive(const tf_llm_model_t *model, const tf_llm_request_t *request,
    tf_llm_reply_t *reply)
{
    size_t                  i;
    const char             *body;
    const tf_llm_quote_t   *quote;

    (void) model;

    if (request->nquotes == 0 || request->unknown != NULL
        || request->sure < request->threshold)
    {
        tf_llm_abstain(request, reply);
        return TF_LLM_OK;
    }

    tf_buf_puts(&reply->body, TF_EXTRACTIVE_HEAD "\n");

    for (i = 0; i < request->nquotes
         && reply->ncitations < TF_EXTRACTIVE_QUOTES; i++)
    {
        quote = &request->quotes[i];

        if (quote->score < TF_EXTRACTIVE_NEAR * request->quotes[0].score) {
            break;
        }

        if (!tf_extractive_is_new(request, reply, quote)) {
            continue;
        }

        body = request->passages[quote->passage].body;

        reply->citations[reply->ncitations++] = *quote;

        tf_buf_puts(&reply->body, "\n");
        tf_buf_append(&reply->body, body + quote->start,
                      quote->end - quote->start);

        /* a closing fence stands alone on its line */
        tf_buf_printf(&reply->body, "%s[%zu]\n",
                      quote->end >= 3
                      && memcmp(body + quote->end - 3, "```", 3) == 0
                      ? "\n" : " ", reply->ncitations);
    }

    return TF_LLM_OK;
}


static int
tf_extractive_is_new(const tf_llm_request_t *request,
    const tf_llm_reply_t *reply, const tf_llm_quote_t *quote)
{
    size_t                   i, len;
    const char              *text, *other;
    const tf_llm_quote_t    *before;
    const tf_llm_passage_t  *a, *b;

    a = &request->passages[quote->passage];
    text = a->body + quote->start;
    len = quote->end - quote->start;

    for (i = 0; i < reply->ncitations; i++) {
        before = &reply->citations[i];
        b = &request->passages[before->passage];
        other = b->body + before->start;

        if (len == before->end - before->start && memcmp(text, other, len) == 0)
        {
            return 0;
        }

        /* neighbouring chunks overlap */

        if (strcmp(a->document, b->document) == 0
            && a->start + quote->start < b->start + before->end
            && b->start + before->start < a->start + quote->end)
        {
            return 0;
        }
    }

    return 1;
}


void
tf_llm_abstain(const tf_llm_request_t *request, tf_llm_reply_t *reply)
{
    size_t       i, k, n;
    const char  *title, *seen[TF_EXTRACTIVE_TITLES];

    tf_buf_puts(&reply->body, "I did not find an answer to this in your "
                "documents");

    if (request->unknown != NULL) {
        tf_buf_printf(&reply->body, ": none of them mentions \"%s\"",
                      request->unknown);
    }

    tf_buf_puts(&reply->body, ".");

    for (i = 0, n = 0; i < request->npassages && n < TF_EXTRACTIVE_TITLES;
         i++)
    {
        title = request->passages[i].title;

        for (k = 0; k < n && strcmp(seen[k], title) != 0; k++) {
            /* void */
        }

        if (k == n) {
            tf_buf_puts(&reply->body, n ? "; " : " The nearest are: ");
            tf_buf_puts(&reply->body, title);
            seen[n++] = title;
        }
    }

    if (n) {
        tf_buf_puts(&reply->body, ".");
    }

    tf_buf_puts(&reply->body, "\n");
}
