#ifndef TF_RAG_FLOW_H
#define TF_RAG_FLOW_H


#include "rag/cite.h"
#include "rag/safe.h"
#include "rag/safe_json.h"


/*
 * A model's text on its way to whoever asked.
 *
 *   what the model writes -> cite.h (its marks) -> safe.h (its links) -> body
 *
 * There is this one way for every generated text, whether anybody watches it
 * come or not.  What can be decided is written to the body at once and handed
 * on in whole characters of UTF-8; it is never taken back, so all that was
 * handed on, in order, is the body in the end.  What may still become a mark,
 * a link, an image, a tag or a character waits, but never more of it than the
 * bounds of cite.h and safe.h say.
 *
 * Links are looked at last: a mark that goes can make one of its neighbours.
 * A link is known if the question, what came with it or a passage has it.
 * Marks are left alone in an answer in JSON: there "[1]" is a list.  Its
 * strings are looked at as what they mean (safe_json.h).
 */

typedef int (*tf_flow_pt)(void *arg, const char *data, size_t len);

typedef struct {
    const tf_llm_request_t  *request;
    tf_cite_t                cite;
    tf_safe_t                safe;
    tf_safe_json_t           json;
    tf_buf_t                 cited;     /* between the two */
    tf_buf_t                 body;
    size_t                   given;     /* bytes of it that were handed on */
    tf_flow_pt               out;       /* or NULL */
    void                    *arg;
} tf_flow_t;


/*
 * request has the passages by the time that text comes.  out is called with
 * each piece; when it does not return 0, nothing more is handed on and the
 * function that called it returns -1.
 */
void tf_flow_begin(tf_flow_t *f, const tf_llm_request_t *request,
    tf_flow_pt out, void *arg);

/* Each returns 0, or -1: no memory, or out did not return 0. */
int tf_flow_text(tf_flow_t *f, const char *text, size_t len);
int tf_flow_end(tf_flow_t *f);

/* As if nothing had come. */
void tf_flow_reset(tf_flow_t *f);

void tf_flow_free(tf_flow_t *f);


#endif /* TF_RAG_FLOW_H */
