/* links: ngx_module/ngx_http_trifecta_multipart.c */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_http_trifecta_multipart.h"


/*
 * The first line is the type, the rest is the form.  What must hold: bytes
 * that come as content are those that stand where "start" and "length" say,
 * and pieces of another size give the same.
 */

#define FUZZ_TYPE  "multipart/form-data; boundary=b"

typedef struct {
    tf_multipart_t        form;
    const unsigned char  *body;
    uint64_t              taken;        /* of this part */
    unsigned              parts;
    uint64_t              sum;          /* of all that came */
} fuzz_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_add(fuzz_t *f, const void *data, size_t len)
{
    size_t                i;
    const unsigned char  *p = data;

    for (i = 0; i < len; i++) {
        f->sum = f->sum * 31 + p[i] + 1;
    }
}


static const char *
fuzz_part(void *data, const tf_multipart_part_t *part)
{
    fuzz_t *f = data;

    if (part->name_len > TF_MULTIPART_NAME_MAX
        || part->filename_len > TF_MULTIPART_FILENAME_MAX)
    {
        abort();
    }

    f->taken = 0;
    f->parts++;

    fuzz_add(f, part->name, part->name_len);
    fuzz_add(f, part->filename, part->filename_len);

    return NULL;
}


static const char *
fuzz_content(void *data, const unsigned char *p, size_t len)
{
    fuzz_t *f = data;

    if (memcmp(f->body + f->form.start + f->taken, p, len) != 0) {
        abort();
    }

    f->taken += len;

    fuzz_add(f, p, len);

    return NULL;
}


static const char *
fuzz_end(void *data)
{
    fuzz_t *f = data;

    if (f->taken != f->form.length) {
        abort();
    }

    fuzz_add(f, ";", 1);

    return NULL;
}


static const char *
fuzz_parse(fuzz_t *f, const char *type, size_t type_len, const uint8_t *body,
    size_t len, size_t piece)
{
    size_t       n;
    const char  *err;

    static const tf_multipart_sink_t  sink = {
        fuzz_part, fuzz_content, fuzz_end
    };

    memset(f, 0, sizeof(fuzz_t));

    f->body = body;
    err = tf_multipart_init(&f->form, type, type_len, &sink, f);

    while (err == NULL && len) {
        n = len < piece ? len : piece;
        err = tf_multipart_feed(&f->form, body, n);
        body += n;
        len -= n;
    }

    return err ? err : tf_multipart_done(&f->form);
}


static void
fuzz_both(const char *type, size_t type_len, const uint8_t *body, size_t len)
{
    const char     *a, *b;
    static fuzz_t   all, pieces;

    a = fuzz_parse(&all, type, type_len, body, len, len ? len : 1);
    b = fuzz_parse(&pieces, type, type_len, body, len, 1 + len % 7);

    if (a != b || all.parts != pieces.parts || all.sum != pieces.sum) {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t  *lf;

    fuzz_both(FUZZ_TYPE, sizeof(FUZZ_TYPE) - 1, data, size);

    lf = memchr(data, '\n', size);

    if (lf) {
        fuzz_both((const char *) data, lf - data, lf + 1,
                  size - (lf + 1 - data));
    }

    return 0;
}
