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
 * Appends to ids each identifier followed by a space, and to rest the text
 * for to_tsvector(), with the identifiers taken apart.  Either may be NULL.
 */
void tf_terms_split(const char *text, size_t len, tf_buf_t *ids,
    tf_buf_t *rest);

/*
 * Whether an identifier can only be a name of something (it has "_"): a
 * question that holds one which no document knows cannot be answered.
 */
int tf_terms_is_name(const char *id, size_t len);


#endif /* TF_RAG_TERMS_H */
