#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "rag/extract.h"


typedef int (*tf_extract_pt)(const char *data, size_t len, tf_text_t *text,
    char *err, size_t errlen);

typedef struct {
    const char     *suffix;
    const char     *format;
    tf_extract_pt   extract;
} tf_format_t;


/* The formats: one more is one row. */

static const tf_format_t  tf_formats[] = {
    { ".md",       "md",  tf_extract_md  },
    { ".markdown", "md",  tf_extract_md  },
    { ".txt",      "txt", tf_extract_txt },
    { ".text",     "txt", tf_extract_txt },
    { ".xml",      "xml", tf_extract_xml },
    { NULL,        NULL,  NULL           }
};


static const tf_format_t *tf_extract_find(const char *name);
static void tf_txt_block(void *ctx, tf_block_kind_t kind, unsigned level,
    size_t start, size_t end);


const char *
tf_extract_format(const char *name)
{
    const tf_format_t  *format;

    format = tf_extract_find(name);

    return format == NULL ? NULL : format->format;
}


static const tf_format_t *
tf_extract_find(const char *name)
{
    size_t              n, len;
    const tf_format_t  *format;

    len = strlen(name);

    for (format = tf_formats; format->suffix != NULL; format++) {
        n = strlen(format->suffix);

        if (len > n && strcasecmp(name + len - n, format->suffix) == 0) {
            return format;
        }
    }

    return NULL;
}


int
tf_extract(const char *name, const char *data, size_t len, tf_text_t *text,
    char *err, size_t errlen)
{
    size_t              bad;
    const char         *base;
    const tf_format_t  *format;

    memset(text, 0, sizeof(tf_text_t));

    format = tf_extract_find(name);

    if (format == NULL) {
        (void) snprintf(err, errlen, "not a known format (.txt, .md, .xml)");
        return -1;
    }

    if (len > TF_EXTRACT_MAX) {
        (void) snprintf(err, errlen, "larger than %d MB",
                        TF_EXTRACT_MAX / 1024 / 1024);
        return -1;
    }

    if (memchr(data, '\0', len) != NULL) {
        (void) snprintf(err, errlen, "has NUL bytes: not a text file");
        return -1;
    }

    if (format->extract != tf_extract_xml) {
        bad = tf_utf8_valid(data, len);

        if (bad != len) {
            (void) snprintf(err, errlen, "not valid UTF-8 at byte %zu", bad);
            return -1;
        }
    }

    if (format->extract(data, len, text, err, errlen) != 0) {
        tf_text_free(text);
        return -1;
    }

    text->format = format->format;

    if (!text->failed && text->nblocks == 0) {
        (void) snprintf(err, errlen, "has no text");
        tf_text_free(text);
        return -1;
    }

    if (text->title == NULL && !text->failed) {
        base = strrchr(name, '/');
        base = (base == NULL) ? name : base + 1;
        text->title = strndup(base, strlen(base) - strlen(format->suffix));
        text->failed = (text->title == NULL);
    }

    if (text->failed) {
        (void) snprintf(err, errlen, "out of memory");
        tf_text_free(text);
        return -1;
    }

    return 0;
}


size_t
tf_extract_keep(const char *data, size_t len, tf_text_t *text)
{
    text->data = malloc(len + 1);

    if (text->data == NULL) {
        text->failed = 1;
        return 0;
    }

    memcpy(text->data, data, len);
    text->data[len] = '\0';
    text->len = len;

    return (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) ? 3 : 0;
}


int
tf_extract_txt(const char *data, size_t len, tf_text_t *text, char *err,
    size_t errlen)
{
    size_t  start;

    (void) err;
    (void) errlen;

    start = tf_extract_keep(data, len, text);

    if (!text->failed) {
        tf_blocks_scan(text->data, start, len, 0, tf_txt_block, text);
    }

    return 0;
}


static void
tf_txt_block(void *ctx, tf_block_kind_t kind, unsigned level, size_t start,
    size_t end)
{
    (void) level;

    tf_text_block(ctx, kind, start, end);
}
