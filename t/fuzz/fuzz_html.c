/* links: sidecar/extract/ sidecar/rag/chunk.c sidecar/rag/units.c
 *        sidecar/base/buf.c */

#include "fuzz_text.h"


/* HTML, whatever its encoding. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_extract("a.html", data, size);

    return 0;
}
