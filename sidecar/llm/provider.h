#ifndef TF_LLM_PROVIDER_H
#define TF_LLM_PROVIDER_H


#include <stdatomic.h>
#include <stddef.h>

#include <jansson.h>

#include "base/buf.h"
#include "llm/models.h"
#include "llm/wire.h"


/*
 * Who answers: one table of providers, each a name and a function.  A model
 * (models.h) says which provider answers for it, and with which settings.
 *
 * A provider gets the question and the passages that retrieval found, best
 * first, and returns a text in which [n] refers to its n-th citation.  It
 * never sees more than what the asker may see, and what passages say is data
 * to it.  Each citation is a stretch of a passage; whoever called checks it.
 *
 * Retrieval has also marked what could be quoted, best first over all
 * passages, and said how much of the question's weight the best passages
 * cover (0..1).  A model need not care for either; `extractive` lives on
 * them.
 *
 * A call may take long; it returns soon after *cancel is set.
 */

typedef struct {
    long long              chunk;
    const char            *document;    /* its UUID */
    const char            *source;
    const char            *title;
    const char            *heading;
    const char            *body;        /* verbatim, NUL-terminated */
    size_t                 start;       /* byte of the text where body is */
    double                 score;
} tf_llm_passage_t;

typedef struct {
    size_t                 passage;     /* which one */
    size_t                 start;       /* in its body */
    size_t                 end;
    double                 score;       /* comparable among quotes only */
} tf_llm_quote_t;

/* What was said before in a conversation; its passages are not here. */

typedef struct {
    char                    *question;
    char                    *answer;
} tf_llm_turn_t;

/*
 * Where a model's text goes while it comes.  The sink is given all of the
 * text of a generated reply, in order, in pieces of whole bytes; so the body
 * may be taken from either.  When another model, or another try, begins anew,
 * reset says that what was given is void.  Each returns 0, or -1 when the
 * answer is to be given up.
 *
 * A model calls flush before it waits for more: what was given so far is shown
 * then.  What is followed by the end without a wait need not be.
 */

typedef struct {
    int                    (*text)(void *arg, const char *data, size_t len);
    int                    (*reset)(void *arg);
    void                   (*flush)(void *arg);
    void                    *arg;
} tf_llm_sink_t;

typedef struct {
    const char              *question;  /* as it was asked */
    const char              *restated;  /* the same, to be understood without
                                         * the conversation; or NULL */
    const char              *summary;   /* of what was before the turns */
    const tf_llm_turn_t     *turns;     /* oldest first */
    size_t                   nturns;
    const json_t            *after;     /* said behind it (after.h); or NULL */
    const char              *instructions;  /* of the asker, to the model; or
                                             * NULL */
    const tf_llm_options_t  *options;   /* or NULL: nothing special */
    json_t                  *messages;  /* instead of all that: a prompt as it
                                         * goes out; or NULL */
    const tf_llm_passage_t  *passages;
    size_t                   npassages;
    const tf_llm_quote_t    *quotes;
    size_t                   nquotes;

    double                   sure;      /* that the passages answer, 0 to 1 */
    double                   threshold; /* below: it is not in there */
    const char              *unknown;   /* a name in the question that no
                                         * passage has, or NULL */
    unsigned                 attempt;   /* 1 for the job's first */
    const atomic_int        *cancel;
    const tf_llm_sink_t     *sink;      /* or NULL */
} tf_llm_request_t;

#define TF_LLM_CITATIONS_MAX  32

typedef struct {
    tf_buf_t                 body;
    tf_llm_quote_t           citations[TF_LLM_CITATIONS_MAX];
    size_t                   ncitations;
    int                      generated; /* by a model: its marks [n] mean the
                                         * n-th passage and are not checked */
    tf_buf_t                 tool_calls;    /* JSON array of {id, name,
                                             * arguments}, or empty */
    int                      incomplete;    /* it stopped at max_output */
    const tf_llm_model_t    *model;     /* who answered in the end */
    long long                input_tokens;
    long long                output_tokens;

    const char              *code;      /* of a failure (error.h), static */
    char                     message[256];
    int                      retryable;
    long                     retry_after;   /* ms, at least; 0: any time */
    int                      waits;     /* for a limit of our own: no failure */
} tf_llm_reply_t;

typedef enum {
    TF_LLM_OK,
    TF_LLM_FAILED,          /* code, message and retryable say what */
    TF_LLM_CANCELLED
} tf_llm_status_t;

typedef tf_llm_status_t (*tf_llm_answer_pt)(const tf_llm_model_t *model,
    const tf_llm_request_t *request, tf_llm_reply_t *reply);

struct tf_llm_provider_s {
    const char              *name;
    const char              *what;
    tf_llm_answer_pt         answer;
    const tf_llm_wire_t     *wire;      /* what it speaks; NULL: nothing */
    unsigned                 has;       /* of options (TF_LLM_HAS_...) */
    unsigned                 own;       /* also a model of the same name, that
                                         * no section is needed for */
};


/* The table; a NULL name ends it. */
extern const tf_llm_provider_t  tf_llm_providers[];

/* NULL: there is no such provider. */
const tf_llm_provider_t *tf_llm_provider(const char *name);

/*
 * The model answers, or the next of its chain that can.  When it has not what
 * the options ask for, it says so; a fallback that has not is passed over.
 * The reply is zeroed before, and its buffers are freed by
 * tf_llm_reply_free() always.
 */
tf_llm_status_t tf_llm_answer(const tf_llm_model_t *model,
    const tf_llm_request_t *request, tf_llm_reply_t *reply);
void tf_llm_reply_free(tf_llm_reply_t *reply);


tf_llm_status_t tf_llm_extractive(const tf_llm_model_t *model,
    const tf_llm_request_t *request, tf_llm_reply_t *reply);
tf_llm_status_t tf_llm_echo(const tf_llm_model_t *model,
    const tf_llm_request_t *request, tf_llm_reply_t *reply);
tf_llm_status_t tf_llm_chat(const tf_llm_model_t *model,
    const tf_llm_request_t *request, tf_llm_reply_t *reply);

/* A piece of text for the sink, if there is one: 0, or -1. */
int tf_llm_give(const tf_llm_request_t *request, const char *data,
    size_t len);

/* The model is about to wait for more of it. */
void tf_llm_flush(const tf_llm_request_t *request);

/* A reply that failed because its sink did. */
tf_llm_status_t tf_llm_not_given(tf_llm_reply_t *reply);

/* Says that it is not in the documents, and names the nearest. */
void tf_llm_abstain(const tf_llm_request_t *request, tf_llm_reply_t *reply);

#ifdef TF_TEST_PROVIDER
tf_llm_status_t tf_llm_test(const tf_llm_model_t *model,
    const tf_llm_request_t *request, tf_llm_reply_t *reply);
#endif


#endif /* TF_LLM_PROVIDER_H */
