#include <string.h>
#include <strings.h>

#include "extract/record.h"


static void tf_record_close(tf_record_t *r);
static void tf_record_prose(tf_record_t *r, const char *name, size_t namelen,
    const char *value, size_t len);
static void tf_record_words(tf_buf_t *out, const char *s, size_t len);
static int tf_record_is_title(const char *name, size_t len);


#define tf_is_space(c)                                                        \
    ((c) == ' ' || (c) == '\n' || (c) == '\t' || (c) == '\r')


void
tf_record_begin(tf_record_t *r)
{
    tf_record_close(r);
    tf_out_flush(r->out);
    r->title[0] = '\0';
}


void
tf_record_field(tf_record_t *r, const char *name, size_t namelen,
    const char *value, size_t len)
{
    size_t     n;
    tf_buf_t  *out;

    out = &r->out->out;

    while (len && tf_is_space(*value)) {
        value++;
        len--;
    }

    while (len && tf_is_space(value[len - 1])) {
        len--;
    }

    if (len == 0 || r->out->over) {
        return;
    }

    if (r->out->limit && (int64_t) out->len > r->out->limit) {
        r->out->over = 1;
        return;
    }

    if (len > TF_RECORD_LONG) {
        tf_record_prose(r, name, namelen, value, len);
        return;
    }

    if (r->title[0] == '\0' && len < sizeof(r->title)
        && tf_record_is_title(name, namelen))
    {
        memcpy(r->title, value, len);
        r->title[len] = '\0';

        for (n = 0; n < len; n++) {
            if (tf_is_space(r->title[n])) {
                r->title[n] = ' ';
            }
        }
    }

    if (r->open && out->len - r->start > TF_RECORD_ITEM) {
        tf_record_close(r);
    }

    if (!r->open) {
        if (out->len) {
            tf_buf_append(out, "\n", 1);
        }

        r->open = 1;
        r->start = out->len;
        tf_buf_append(out, "- ", 2);

    } else {
        tf_buf_append(out, "\n  ", 3);
    }

    if (namelen) {
        tf_record_words(out, name, namelen);
        tf_buf_append(out, ": ", 2);
    }

    tf_record_words(out, value, len);
}


void
tf_record_end(tf_record_t *r)
{
    tf_record_close(r);
}


static void
tf_record_close(tf_record_t *r)
{
    if (!r->open) {
        return;
    }

    r->open = 0;

    if (!r->out->out.failed) {
        tf_text_block(r->out->text, TF_BLOCK_LIST, r->start,
                      r->out->out.len);
    }

    r->out->segment = r->out->out.len;
}


static void
tf_record_prose(tf_record_t *r, const char *name, size_t namelen,
    const char *value, size_t len)
{
    size_t     i, start, mark;
    tf_buf_t  *out;

    tf_record_close(r);

    out = &r->out->out;
    mark = r->out->path.len;

    if (r->title[0]) {
        tf_out_section(r->out, r->title, strlen(r->title));

    } else {
        tf_out_section(r->out, name, namelen);
    }

    if (out->len) {
        tf_buf_append(out, "\n\n", 2);
    }

    for (i = 0, start = 0; i < len; i++) {
        if (value[i] == '\r') {
            tf_buf_append(out, value + start, i - start);
            start = i + 1;
        }
    }

    tf_buf_append(out, value + start, len - start);
    tf_buf_append(out, "\n", 1);

    tf_out_section_end(r->out, mark);
}


static void
tf_record_words(tf_buf_t *out, const char *s, size_t len)
{
    size_t  i, start;

    for (i = 0; i < len; /* void */) {
        while (i < len && tf_is_space(s[i])) {
            i++;
        }

        start = i;
        while (i < len && !tf_is_space(s[i])) {
            i++;
        }

        if (i > start) {
            if (start) {
                tf_buf_append(out, " ", 1);
            }
            tf_buf_append(out, s + start, i - start);
        }
    }
}


/* What people call the member that names a record. */

static int
tf_record_is_title(const char *name, size_t len)
{
    size_t              i;
    static const char  *names[] = { "title", "name", "subject", "heading",
                                    "headline", "question", "label", NULL };

    for (i = 0; names[i] != NULL; i++) {
        if (strlen(names[i]) == len && strncasecmp(name, names[i], len) == 0) {
            return 1;
        }
    }

    return 0;
}
