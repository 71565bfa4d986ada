/* links: sidecar/extract/ sidecar/rag/chunk.c sidecar/rag/units.c
 *        sidecar/base/buf.c */

#include "fuzz_text.h"


/* Mails, with attachments of the other formats. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_extract("a.eml", data, size);

    return 0;
}
