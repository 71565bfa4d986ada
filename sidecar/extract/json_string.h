#ifndef TF_EXTRACT_JSON_STRING_H
#define TF_EXTRACT_JSON_STRING_H


#include <stddef.h>

#include "base/buf.h"


/*
 * Appends the string of JSON that starts with the quote at *pos, and leaves
 * *pos behind its last quote.  What cannot be stored (NUL, half a pair of
 * surrogates) becomes U+FFFD, control characters become spaces.  Returns
 * NULL, or what is wrong, with *pos where it is.
 */
const char *tf_json_string(const char *data, size_t len, size_t *pos,
    tf_buf_t *out);


#endif /* TF_EXTRACT_JSON_STRING_H */
