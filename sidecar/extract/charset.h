#ifndef TF_EXTRACT_CHARSET_H
#define TF_EXTRACT_CHARSET_H


#include <stddef.h>

#include "base/buf.h"


/*
 * Text in other encodings, to UTF-8.
 *
 * Names of character sets come from files, so only those of a list are ever
 * handed to iconv.  A byte that means nothing there becomes U+FFFD.
 */

/* Appends data as UTF-8; 0, or -1 when the name is not in the list. */
int tf_charset_decode(const char *charset, size_t namelen, const char *data,
    size_t len, tf_buf_t *out);

/*
 * The encoding of a text file that says so in its first bytes, or by every
 * second byte of ASCII being NUL: "UTF-16LE", "UTF-16BE", "UTF-32LE",
 * "UTF-32BE"; NULL: none of these.  *skip is the length of its mark.
 */
const char *tf_charset_wide(const char *data, size_t len, size_t *skip);

/*
 * Makes bytes text that can be stored: NUL and control characters become
 * spaces, what is no UTF-8 becomes "?".  The length stays.
 */
void tf_charset_clean(char *s, size_t len);


#endif /* TF_EXTRACT_CHARSET_H */
