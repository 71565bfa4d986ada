#ifndef TF_FUZZ_TEXT_H
#define TF_FUZZ_TEXT_H


#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "extract/extract.h"
#include "rag/chunk.h"


/*
 * What must hold of any text that came out of bytes: UTF-8 without NUL, blocks
 * and chunks in order and inside of it, sections that exist, and no more than
 * the limits allow.  PDF is off: a child for each input is too slow.
 */

static inline void
fuzz_extract(const char *name, const uint8_t *data, size_t size)
{
    char          err[256];
    size_t        i, n, last;
    tf_text_t     text;
    tf_limits_t   limits;
    tf_chunk_t   *chunks;

    tf_limits_default(&limits);
    limits.v[TF_LIMIT_pages] = 0;
    limits.v[TF_LIMIT_text] = TF_MB;
    limits.v[TF_LIMIT_unpacked] = 16 * TF_MB;
    limits.v[TF_LIMIT_seconds] = 5;

    err[0] = '\0';

    if (tf_extract(&limits, name, (const char *) data, size, &text, err,
                   sizeof(err)) != 0)
    {
        if (err[0] == '\0') {
            abort();            /* nothing is refused without a reason */
        }
        return;
    }

    if (tf_utf8_valid(text.data, text.len) != text.len
        || memchr(text.data, '\0', text.len) != NULL
        || (int64_t) text.len > limits.v[TF_LIMIT_text]
        || text.title == NULL
        || tf_utf8_valid(text.title, strlen(text.title))
           != strlen(text.title))
    {
        abort();
    }

    for (i = 0; i < text.nsections; i++) {
        if (tf_utf8_valid(text.sections[i], strlen(text.sections[i]))
            != strlen(text.sections[i]))
        {
            abort();
        }
    }

    for (i = 0, last = 0; i < text.nblocks; i++) {
        if (text.blocks[i].start < last
            || text.blocks[i].start >= text.blocks[i].end
            || text.blocks[i].end > text.len
            || text.blocks[i].section >= text.nsections)
        {
            abort();
        }

        last = text.blocks[i].end;
    }

    chunks = tf_chunks(&text, &n);

    for (i = 0; chunks != NULL && i < n; i++) {
        if (chunks[i].start >= chunks[i].end || chunks[i].end > text.len
            || chunks[i].section >= text.nsections
            || tf_utf8_valid(text.data + chunks[i].start,
                             chunks[i].end - chunks[i].start)
               != chunks[i].end - chunks[i].start)
        {
            abort();
        }
    }

    free(chunks);
    tf_text_free(&text);
}


#endif /* TF_FUZZ_TEXT_H */
