#ifndef TF_EXTRACT_MIME_H
#define TF_EXTRACT_MIME_H


#include <stddef.h>

#include "base/buf.h"


/*
 * The forms of MIME (RFC 2045-2047, 2231): headers, their parameters, encoded
 * words, and the two encodings of a body.  Everything is taken as it comes;
 * nothing here fails but for memory.
 */

/* Where the body starts; headers are [0, that). */
size_t tf_mime_body(const char *data, size_t len);

/*
 * Appends the first header of this name, unfolded and not decoded; 0, or -1
 * when there is none or it is longer than max.
 */
int tf_mime_header(const char *data, size_t len, const char *name,
    size_t max, tf_buf_t *value);

/* Appends a header's text with encoded words decoded, as UTF-8. */
void tf_mime_words(const char *s, size_t len, tf_buf_t *out);

/*
 * A parameter of "text/plain; charset=x" into out, decoded; also in the forms
 * name*=UTF-8''x and name*0=, name*1=.  0, or -1 when there is none.
 */
int tf_mime_param(const char *value, const char *name, tf_buf_t *out);

/* Appends the decoded body; an unknown encoding leaves it as it is. */
void tf_mime_decode(const char *encoding, const char *data, size_t len,
    tf_buf_t *out);


#endif /* TF_EXTRACT_MIME_H */
