/* links: ngx_module/ngx_http_trifecta_fields.c */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_http_trifecta_fields.h"


/*
 * Prefer and If-None-Match.  What must hold: a wait is in its bounds, and
 * comes from nowhere but a preference "wait", as "durable" does from its own.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tf_prefer_t  prefer = TF_PREFER_INIT;

    tf_prefer_parse(&prefer, (const char *) data, size);

    if (prefer.wait < -1 || prefer.wait > TF_PREFER_WAIT_MAX
        || (prefer.wait >= 0 && (!prefer.wait_seen || size < 6))
        || (prefer.durable && (!prefer.durable_seen || size < 7)))
    {
        abort();
    }

    if (tf_etag_match((const char *) data, size, "\"a\"", 3)
        && size < 3 && memchr(data, '*', size) == NULL)
    {
        abort();
    }

    return 0;
}
