#ifndef TF_RAG_ANSWER_H
#define TF_RAG_ANSWER_H


#include <stdatomic.h>

#include <jansson.h>

#include "base/buf.h"
#include "db/pg.h"
#include "llm/models.h"
#include "llm/options.h"


/*
 * From a question to an answer with citations: search, quote, let the model
 * answer, check.
 *
 * A connection to the database is held while something is read or written, and
 * not while a model is waited for: so there may be many more answers under way
 * than connections, and an answer that needs nothing of it takes none.
 *
 * Every citation is checked by rule before it goes out.  Of a quotation the
 * bytes that it points at must be whole characters of the passage and stand in
 * the answer in front of its mark; an answer with one that fails is not
 * served, for it would put words into a document.  What a language model wrote
 * goes through flow.h: no mark stays that its passage does not support, and
 * nothing in it acts by being looked at.
 */

#define TF_ANSWER_PASSAGES  24
#define TF_ANSWER_WAIT_MS   2000    /* for a connection to keep something */

typedef enum {
    TF_ANSWER_OK,
    TF_ANSWER_STORE,        /* the database is away: message; release the
                             * job */
    TF_ANSWER_FAILED,       /* code, message; retryable or not */
    TF_ANSWER_LATE,         /* no connection was free: message; the same */
    TF_ANSWER_CANCELLED
} tf_answer_status_t;

/*
 * Where an answer goes while it is made: that the search is over (at most
 * once, before any text; news if there was one and the model is asked now), the
 * text in whole characters, as it will be served,
 * and that all text so far is void.  Only what a model writes piece by piece
 * goes there; whatever is there at once is in the answer only.  Each returns
 * 0, or -1 when the answer is to be given up.  Before something is waited for,
 * flush says that what was told so far is to be seen now.
 */

typedef struct {
    int              (*searched)(void *arg, int news);
    int              (*text)(void *arg, const char *data, size_t len);
    int              (*reset)(void *arg);
    void             (*flush)(void *arg);
    void              *arg;
} tf_answer_sink_t;

typedef struct {
    const tf_conf_t   *conf;
    tf_pg_pool_t      *pool;        /* connections of the role trifecta_rag */
    const char        *tenant;
    const char        *owner;
    const char        *groups;      /* JSON array */
    const char        *job;         /* its id */
    const char        *conversation;    /* or NULL */
    const char        *question;
    const char        *instructions;    /* to the model; or NULL */
    const json_t      *turns;       /* said before (talk.h); or NULL */
    const json_t      *after;       /* said behind it (llm/after.h); or NULL */
    const char        *previous;    /* job that it goes on with; or NULL */
    const tf_llm_options_t *options;    /* or NULL */
    const json_t      *collections; /* what it may look at (scope.h); NULL: */
    const json_t      *filters;     /* all that the asker may see */
    const json_t      *payload;     /* all that was asked for */
    const char        *model;
    const tf_llm_models_t  *models;
    struct tf_rag_mem_s    *mem;    /* indexes in memory, or NULL */
    unsigned           attempt;
    const atomic_int  *cancel;
    const tf_answer_sink_t *sink;       /* or NULL */
} tf_answer_request_t;

typedef struct {
    tf_buf_t           body;        /* UTF-8 */
    tf_buf_t           citations;   /* JSON array */
    tf_buf_t           usage;       /* JSON object */
    tf_buf_t           tool_calls;  /* JSON array, or empty */
    const char        *code;        /* of a failure, static */
    char               message[256];
    int                retryable;
    long               retry_after; /* ms, at least; 0: any time */
    int                waits;       /* for a limit of our own: no failure */
} tf_answer_t;


/* Fills answer, which the caller frees by tf_rag_answer_free() always. */
tf_answer_status_t tf_rag_answer(const tf_answer_request_t *request,
    tf_answer_t *answer);

void tf_rag_answer_free(tf_answer_t *answer);


#endif /* TF_RAG_ANSWER_H */
