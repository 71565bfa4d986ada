/* links: sidecar/extract/ sidecar/rag/chunk.c sidecar/rag/units.c
 *        sidecar/rag/terms.c sidecar/base/buf.c */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "rag/chunk.h"
#include "extract/extract.h"
#include "rag/terms.h"
#include "rag/units.h"


/*
 * Markdown and plain text, from bytes to terms.  The first byte chooses the
 * format.  What must hold: blocks and chunks are in order and inside of the
 * text, and cut no character.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef struct {
    size_t  last;
    size_t  len;
} order_t;


static void
unit(void *ctx, size_t start, size_t end)
{
    order_t  *order = ctx;

    if (start < order->last || start >= end || end > order->len) {
        abort();
    }

    order->last = end;
}


static void
chunk(const tf_text_t *text, const tf_chunk_t *c)
{
    char      *body;
    order_t    order;
    tf_buf_t   ids = TF_BUF_INIT, rest = TF_BUF_INIT, parts = TF_BUF_INIT;

    if (c->start >= c->end || c->end > text->len
        || c->section >= text->nsections
        || tf_utf8_valid(text->data + c->start, c->end - c->start)
           != c->end - c->start)
    {
        abort();
    }

    order.last = 0;
    order.len = c->end - c->start;
    body = strndup(text->data + c->start, order.len);

    if (body != NULL) {
        tf_units(body, order.len, unit, &order);
        tf_terms_split(body, order.len, &ids, &rest, &parts);

        if (tf_utf8_valid(rest.data ? rest.data : "", rest.len) != rest.len) {
            abort();
        }
    }

    free(body);
    tf_buf_free(&ids);
    tf_buf_free(&rest);
    tf_buf_free(&parts);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char         err[256];
    size_t       i, n, last;
    tf_text_t    text;
    tf_chunk_t  *chunks;

    if (size == 0
        || tf_extract(NULL, data[0] & 1 ? "a.md" : "a.txt", (const char *) data + 1,
                      size - 1, &text, err, sizeof(err)) != 0)
    {
        return 0;
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
        chunk(&text, &chunks[i]);
    }

    free(chunks);
    tf_text_free(&text);

    return 0;
}
