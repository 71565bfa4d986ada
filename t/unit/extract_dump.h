#ifndef TF_UNIT_EXTRACT_DUMP_H
#define TF_UNIT_EXTRACT_DUMP_H


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "extract/extract.h"


/*
 * What an extractor made of bytes, as one string: a line "[heading] KIND"
 * before each block, then the block.
 */

static const char *const  kinds[] = { "prose", "fields", "list", "table",
                                      "code" };

static char  err[512];
static char  title[256];


static void
dump(const char *name, const char *data, size_t len, tf_buf_t *out)
{
    size_t      i;
    tf_text_t   text;

    err[0] = '\0';

    if (tf_extract(NULL, name, data, len, &text, err, sizeof(err)) != 0) {
        fail_msg("%s: %s", name, err);
    }

    assert_int_equal(tf_utf8_valid(text.data, text.len), text.len);

    for (i = 0; i < text.nblocks; i++) {
        tf_buf_printf(out, "[%s] %s\n", text.sections[text.blocks[i].section],
                      kinds[text.blocks[i].kind]);
        tf_buf_append(out, text.data + text.blocks[i].start,
                      text.blocks[i].end - text.blocks[i].start);
        tf_buf_puts(out, "\n");
    }

    (void) snprintf(title, sizeof(title), "%s", text.title);
    tf_text_free(&text);
}


static void
becomes_bytes(const char *name, const char *data, size_t len,
    const char *want)
{
    tf_buf_t  out = TF_BUF_INIT;

    dump(name, data, len, &out);

    if (out.data == NULL || strcmp(out.data, want) != 0) {
        fail_msg("%s became\n%s\nnot\n%s", name, out.data, want);
    }

    tf_buf_free(&out);
}


static inline void
becomes(const char *name, const char *data, const char *want)
{
    becomes_bytes(name, data, strlen(data), want);
}


/* Refused with this in the reason; limits may be NULL. */

static void
refused(const char *set, const char *name, const char *data, size_t len,
    const char *why)
{
    tf_text_t    text;
    tf_limits_t  limits;

    err[0] = '\0';
    tf_limits_default(&limits);
    assert_int_equal(tf_limits_parse(&limits, set == NULL ? "" : set, err,
                                     sizeof(err)), 0);

    if (tf_extract(&limits, name, data, len, &text, err, sizeof(err)) == 0) {
        tf_text_free(&text);
        fail_msg("%s: is read, not refused with \"%s\"", name, why);
    }

    if (strstr(err, why) == NULL) {
        fail_msg("%s: \"%s\" does not say \"%s\"", name, err, why);
    }
}


#endif /* TF_UNIT_EXTRACT_DUMP_H */
