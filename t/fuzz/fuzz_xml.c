/* links: sidecar/extract/ sidecar/rag/chunk.c sidecar/rag/units.c
 *        sidecar/base/buf.c */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rag/chunk.h"
#include "extract/extract.h"


/*
 * XML: whatever the bytes are, the extracted text is UTF-8, not much longer
 * than they were, and its blocks and chunks are in order and inside of it.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char         err[256];
    size_t       i, n, last;
    tf_text_t    text;
    tf_chunk_t  *chunks;

    if (tf_extract(NULL, "a.xml", (const char *) data, size, &text, err,
                   sizeof(err)) != 0)
    {
        return 0;
    }

    if (tf_utf8_valid(text.data, text.len) != text.len
        || text.len > 300 * size + 1000)
    {
        abort();
    }

    for (i = 0, last = 0; i < text.nblocks; i++) {
        if (text.blocks[i].start < last
            || text.blocks[i].start >= text.blocks[i].end
            || text.blocks[i].end > text.len)
        {
            abort();
        }

        last = text.blocks[i].end;
    }

    chunks = tf_chunks(&text, &n);

    for (i = 0; chunks != NULL && i < n; i++) {
        if (chunks[i].start >= chunks[i].end || chunks[i].end > text.len
            || chunks[i].section >= text.nsections)
        {
            abort();
        }
    }

    free(chunks);
    tf_text_free(&text);

    return 0;
}
