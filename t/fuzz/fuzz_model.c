/* links: sidecar/net/sse.c sidecar/llm/wire.c sidecar/llm/numbers.c
   sidecar/llm/options.c sidecar/llm/openai.c sidecar/llm/after.c
   sidecar/llm/ollama.c sidecar/base/buf.c */

/* What a model server may send: a stream of either kind, cut anywhere. */

#include <stdint.h>
#include <string.h>

#include "llm/wire.h"


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

    tf_sse_free(&sse);
    tf_llm_reading_free(&f.reading);

    return 0;
}
