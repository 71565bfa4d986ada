/* links: */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <trifecta/json.h>
#include <trifecta/json_read.h>


/*
 * The quick reader in front of jansson: what it takes, jansson takes, too, and
 * makes the same tree of it, in the same order.  The text is in memory of
 * exactly its size.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char    *copy, *a, *b;
    json_t  *quick, *slow;

    copy = malloc(size ? size : 1);

    if (copy == NULL) {
        return 0;
    }

    if (size) {
        memcpy(copy, data, size);
    }

    quick = tf_json_read(copy, size);

    if (quick != NULL) {
        slow = json_loadb(copy, size, JSON_REJECT_DUPLICATES, NULL);

        if (slow == NULL || tf_json_too_deep(copy, size)) {
            abort();
        }

        a = json_dumps(quick, JSON_COMPACT);
        b = json_dumps(slow, JSON_COMPACT);

        if (a == NULL || b == NULL || strcmp(a, b) != 0) {
            abort();
        }

        free(a);
        free(b);
        json_decref(slow);
        json_decref(quick);
    }

    free(copy);

    return 0;
}
