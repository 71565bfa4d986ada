/* links: sidecar/extract/ sidecar/rag/chunk.c sidecar/rag/units.c
 *        sidecar/base/buf.c */

#include "fuzz_text.h"


/* JSON and JSON lines; the first byte chooses. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size) {
        fuzz_extract(data[0] & 1 ? "a.json" : "a.jsonl", data + 1, size - 1);
    }

    return 0;
}
