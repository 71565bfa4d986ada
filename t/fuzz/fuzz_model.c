/* links: sidecar/net/sse.c sidecar/llm/wire.c sidecar/llm/numbers.c
   sidecar/llm/openai.c sidecar/llm/ollama.c sidecar/rag/cite.c sidecar/rag/safe.c
   sidecar/rag/units.c sidecar/extract/blocks.c sidecar/extract/text.c
   sidecar/extract/meta.c sidecar/base/buf.c */

/*
 * What a model server may send: a stream of either kind, cut anywhere, and
 * what a model may have written.
 */

#include <stdint.h>
#include <string.h>

#include "llm/wire.h"
#include "rag/cite.h"
#include "rag/safe.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef struct {
    const tf_llm_wire_t  *wire;
    tf_llm_reading_t      reading;
} fuzz_t;


static int
on_event(void *arg, const char *event, const char *data, size_t len)
{
    fuzz_t  *f = arg;

    (void) event;

    return f->wire->read(&f->reading, data, len);
}


static int
unknown(void *arg, const char *url, size_t len)
{
    (void) arg;

    return len > 0 && url[len - 1] == 'k';
}


static void
written(const char *text, size_t len)
{
    size_t             i;
    unsigned           removed, moved, dropped;
    tf_buf_t           in = TF_BUF_INIT, safe = TF_BUF_INIT;
    tf_llm_reply_t     reply;
    tf_llm_request_t   request;
    tf_llm_passage_t   passage;

    memset(&passage, 0, sizeof(passage));
    passage.heading = "Timeouts";
    passage.body = "The default is 60s. It is set between two reads.";

    memset(&request, 0, sizeof(request));
    request.passages = &passage;
    request.npassages = 1;

    memset(&reply, 0, sizeof(reply));
    tf_buf_append(&in, text, len);
    removed = moved = dropped = 0;

    if (tf_rag_safe(&in, &safe, unknown, NULL, &removed) == 0) {
        reply.body = safe;

        if (tf_rag_cite(&request, &reply, &moved, &dropped) != 0) {
            __builtin_trap();
        }

        for (i = 0; i < reply.ncitations; i++) {
            if (reply.citations[i].passage != 0
                || reply.citations[i].start >= reply.citations[i].end
                || reply.citations[i].end > strlen(passage.body))
            {
                __builtin_trap();
            }
        }
    }

    tf_buf_free(&reply.body);
    tf_buf_free(&in);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int        rc;
    size_t     step, i, n;
    fuzz_t     f;
    tf_sse_t   sse;

    if (size < 2) {
        return 0;
    }

    memset(&f, 0, sizeof(f));
    f.wire = data[0] & 1 ? &tf_llm_wire_openai : &tf_llm_wire_ollama;
    step = 1 + data[1];
    tf_sse_init(&sse, f.wire->kind, on_event, &f);
    rc = 0;

    for (i = 2; rc == 0 && i < size; i += n) {
        n = size - i < step ? size - i : step;
        rc = tf_sse_feed(&sse, (const char *) data + i, n);
    }

    (void) tf_sse_end(&sse);

    if (f.reading.text.data != NULL) {
        written(f.reading.text.data, f.reading.text.len);
    }

    tf_sse_free(&sse);
    tf_llm_reading_free(&f.reading);

    /* the answer itself */

    written((const char *) data, size);

    return 0;
}
