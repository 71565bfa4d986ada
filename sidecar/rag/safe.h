#ifndef TF_RAG_SAFE_H
#define TF_RAG_SAFE_H


#include "base/buf.h"


/*
 * Takes out of a model's answer what could act when somebody looks at it.
 *
 * A document may have told the model to write a link or an image that carries
 * what it knows to somebody else's server.  So in generated text
 *   - images ("![alt](url)" and <img>) become their alternative text: a
 *     viewer loads them without being asked;
 *   - a URL stays only if "known" has it word for word (the question or a
 *     passage); otherwise "[link removed]" stands there;
 *   - the schemes that a viewer may run (javascript:, data:, vbscript:, file:)
 *     never stay;
 *   - tags of HTML that load or run something lose their "<".
 * Beyond TF_SAFE_URLS no URL stays at all.  Everything else is left as it is;
 * in code the same rules hold, since a viewer may see other ends of it.
 */

#define TF_SAFE_URLS  256

typedef int (*tf_safe_known_pt)(void *arg, const char *url, size_t len);


/* 0, or -1 when memory is short; removed counts what was taken out. */
int tf_rag_safe(const tf_buf_t *in, tf_buf_t *out, tf_safe_known_pt known,
    void *arg, unsigned *removed);


#endif /* TF_RAG_SAFE_H */
