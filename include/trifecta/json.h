#ifndef TRIFECTA_JSON_H
#define TRIFECTA_JSON_H


#include <stddef.h>

#include <trifecta/job.h>


/*
 * What is asked of JSON text before a parser sees it.
 *
 * jansson recurses for each level and takes 2048 of them; the bound of this
 * project is TF_JSON_DEPTH_MAX.  So the brackets are counted first, without
 * those in strings.  The text need not be JSON: that is the parser's
 * business, and what closes more than it opened it refuses anyway.
 */

static inline int
tf_json_too_deep(const void *data, size_t len)
{
    int                   quoted;
    size_t                i;
    unsigned              depth;
    const unsigned char  *p;

    p = data;
    depth = 0;
    quoted = 0;

    for (i = 0; i < len; i++) {

        if (quoted) {
            if (p[i] == '\\') {
                i++;

            } else if (p[i] == '"') {
                quoted = 0;
            }

            continue;
        }

        switch (p[i]) {

        case '"':
            quoted = 1;
            break;

        case '{':
        case '[':
            if (++depth > TF_JSON_DEPTH_MAX) {
                return 1;
            }
            break;

        case '}':
        case ']':
            if (depth) {
                depth--;
            }
            break;
        }
    }

    return 0;
}


#endif /* TRIFECTA_JSON_H */
