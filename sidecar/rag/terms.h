#ifndef TF_RAG_TERMS_H
#define TF_RAG_TERMS_H


#include <stddef.h>

#include "base/buf.h"


/*
 * What a text is indexed under; the same for documents and questions.
 *
 * Identifiers (letters and digits joined by "_", ".", "-" or "/", as in
 * proxy_read_timeout or nginx.conf) are terms as they stand, in lower case,
 * and are taken apart as well; everything else is for the store's text
 * search, which knows stop words and endings of the collection's language.
 * Targets of Markdown's links and template tags are no text.
 */

#define TF_TERM_MAX  64     /* bytes of an identifier that is kept whole */


/*
 * Appends to ids each identifier followed by a space, to rest the text for
 * to_tsvector(), and to parts the identifiers taken apart, each followed by a
 * newline; parts NULL means that they stay where they are, in rest.  An
 * identifier longer than TF_TERM_MAX is in rest only.
 */
void tf_terms_split(const char *text, size_t len, tf_buf_t *ids,
    tf_buf_t *rest, tf_buf_t *parts);

/*
 * Whether an identifier can only be a name of something (it has "_"): a
 * question that holds one which no document knows cannot be answered.
 */
int tf_terms_is_name(const char *id, size_t len);


#endif /* TF_RAG_TERMS_H */
