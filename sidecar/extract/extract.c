#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "extract/charset.h"
#include "extract/extract.h"


typedef struct {
    const char     *suffix;
    const char     *format;
    tf_extract_pt   extract;
    unsigned        kind;
    const char     *magic;      /* its first bytes; NULL: nothing special */
} tf_format_t;

/* What the bytes must be before the extractor sees them. */

#define TF_FORMAT_TEXT   1      /* text; UTF-16 is decoded; no NUL */
#define TF_FORMAT_PAGE   2      /* the same, and may name its encoding */
#define TF_FORMAT_BYTES  0


/* The formats: one more is one row. */

static const tf_format_t  tf_formats[] = {
    { ".txt",      "txt",   tf_extract_txt,  TF_FORMAT_TEXT,  NULL },
    { ".text",     "txt",   tf_extract_txt,  TF_FORMAT_TEXT,  NULL },
    { ".md",       "md",    tf_extract_md,   TF_FORMAT_TEXT,  NULL },
    { ".markdown", "md",    tf_extract_md,   TF_FORMAT_TEXT,  NULL },
    { ".html",     "html",  tf_extract_html, TF_FORMAT_PAGE,
      "<!doctype html" },
    { ".htm",      "html",  tf_extract_html, TF_FORMAT_PAGE,  "<html" },
    { ".xhtml",    "html",  tf_extract_html, TF_FORMAT_PAGE,  NULL },
    { ".xml",      "xml",   tf_extract_xml,  TF_FORMAT_BYTES, NULL },
    { ".csv",      "csv",   tf_extract_csv,  TF_FORMAT_TEXT,  NULL },
    { ".tsv",      "tsv",   tf_extract_csv,  TF_FORMAT_TEXT,  NULL },
    { ".json",     "json",  tf_extract_json, TF_FORMAT_TEXT,  NULL },
    { ".jsonl",    "jsonl", tf_extract_json, TF_FORMAT_TEXT,  NULL },
    { ".ndjson",   "jsonl", tf_extract_json, TF_FORMAT_TEXT,  NULL },
    { ".docx",     "docx",  tf_extract_docx, TF_FORMAT_BYTES, NULL },
    { ".odt",      "odt",   tf_extract_odt,  TF_FORMAT_BYTES, NULL },
    { ".pptx",     "pptx",  tf_extract_pptx, TF_FORMAT_BYTES, NULL },
    { ".xlsx",     "xlsx",  tf_extract_xlsx, TF_FORMAT_BYTES, NULL },
    { ".pdf",      "pdf",   tf_extract_pdf,  TF_FORMAT_BYTES, "%PDF-" },
    { ".eml",      "eml",   tf_extract_eml,  TF_FORMAT_BYTES, NULL },
    { NULL,        NULL,    NULL,            0,               NULL }
};


/* What a file may be that says to be something else. */

typedef struct {
    const char  *bytes;
    size_t       len;
    const char  *what;
} tf_magic_t;

static const tf_magic_t  tf_magics[] = {
    { "%PDF-",             5, "a PDF"                                      },
    { "PK\3\4",            4, "a ZIP archive or an office file"            },
    { "\xd0\xcf\x11\xe0",  4, "an old office file; save it as .docx, .xlsx "
                              "or .pptx"                                   },
    { "{\\rtf",            5, "RTF; save it as .docx or .odt"              },
    { "\x7f" "ELF",        4, "a program"                                  },
    { "MZ",                2, "a program"                                  },
    { "\x89PNG",           4, "a picture"                                  },
    { "\xff\xd8\xff",      3, "a picture"                                  },
    { "GIF8",              4, "a picture"                                  },
    { "\x1f\x8b",          2, "packed with gzip"                           },
    { "BZh",               3, "packed with bzip2"                          },
    { "\xfd" "7zXZ",       5, "packed with xz"                             },
    { "7z\xbc\xaf",        4, "a 7-Zip archive"                            },
    { "Rar!",              4, "a RAR archive"                              },
    { "\x28\xb5\x2f\xfd",  4, "packed with zstd"                           },
    { NULL,                0, NULL                                         }
};


static const tf_format_t *tf_extract_find(const char *name);
static int tf_extract_run(tf_extract_t *ex, const tf_format_t *format,
    const char *name, const char *data, size_t len, tf_text_t *text);
static int tf_extract_decoded(tf_extract_t *ex, const tf_format_t *format,
    const char *data, size_t len, tf_buf_t *wide);
static int tf_extract_charset(const char *data, size_t len, tf_buf_t *wide);
static const char *tf_extract_looks(const char *data, size_t len);
static const char *tf_extract_base(const char *name);
static void tf_txt_block(void *ctx, tf_block_kind_t kind, unsigned level,
    size_t start, size_t end);


const char *
tf_extract_format(const char *name)
{
    const tf_format_t  *format;

    format = tf_extract_find(name);

    return format == NULL ? NULL : format->format;
}


const char *
tf_extract_formats(void)
{
    return "txt, md, html, xml, csv, tsv, json, jsonl, docx, odt, pptx, xlsx, "
           "pdf, eml";
}


static const char *
tf_extract_base(const char *name)
{
    const char  *base;

    base = strrchr(name, '/');

    return base == NULL ? name : base + 1;
}


static const tf_format_t *
tf_extract_find(const char *name)
{
    size_t              n, len;
    const tf_format_t  *format;

    name = tf_extract_base(name);
    len = strlen(name);

    for (format = tf_formats; format->suffix != NULL; format++) {
        n = strlen(format->suffix);

        if (len > n && strcasecmp(name + len - n, format->suffix) == 0) {
            return format;
        }
    }

    return NULL;
}


static const tf_format_t *
tf_extract_sniffed(const char *name, const char *data, size_t len)
{
    size_t              n;
    const tf_format_t  *format;

    if (strchr(tf_extract_base(name), '.') != NULL) {
        return NULL;
    }

    while (len && strchr(" \t\r\n", *data) != NULL) {
        data++;
        len--;
    }

    for (format = tf_formats; format->suffix != NULL; format++) {
        n = format->magic == NULL ? 0 : strlen(format->magic);

        if (n && len > n && strncasecmp(data, format->magic, n) == 0) {
            return format;
        }
    }

    return NULL;
}


const char *
tf_extract_sniff(const char *name, const char *data, size_t len)
{
    const tf_format_t  *format;

    format = tf_extract_sniffed(name, data, len);

    return format == NULL ? NULL : format->format;
}


int
tf_extract(const tf_limits_t *limits, const char *name, const char *data,
    size_t len, tf_text_t *text, char *err, size_t errlen)
{
    tf_limits_t         defaults;
    tf_extract_t        ex;
    const tf_format_t  *format;

    memset(text, 0, sizeof(tf_text_t));
    memset(&ex, 0, sizeof(tf_extract_t));

    if (limits == NULL) {
        tf_limits_default(&defaults);
        limits = &defaults;
    }

    ex.limits = limits;
    ex.deadline = tf_clock_ms() + limits->v[TF_LIMIT_seconds] * 1000;
    ex.err = err;
    ex.errlen = errlen;

    format = tf_extract_find(name);
    if (format == NULL) {
        format = tf_extract_sniffed(name, data, len);
    }

    return tf_extract_run(&ex, format, name, data, len, text);
}


int
tf_extract_inner(tf_extract_t *outer, const char *name,
    const char *data, size_t len, tf_text_t *text, char *err, size_t errlen)
{
    int                 rc;
    tf_extract_t        ex;
    const tf_format_t  *format;

    memset(text, 0, sizeof(tf_text_t));

    ex = *outer;
    ex.said = 0;
    ex.err = err;
    ex.errlen = errlen;
    ex.nesting++;

    if (ex.nesting > ex.limits->v[TF_LIMIT_nesting]) {
        return tf_extract_limit(&ex, TF_LIMIT_nesting,
                                "files are nested more than %u deep",
                                ex.nesting - 1);
    }

    format = tf_extract_find(name);
    if (format == NULL) {
        format = tf_extract_sniffed(name, data, len);
    }

    rc = tf_extract_run(&ex, format, name, data, len, text);

    /* what the inner one has used up is gone for the next one, too */

    outer->unpacked = ex.unpacked;
    outer->members = ex.members;

    return rc;
}


static int
tf_extract_run(tf_extract_t *ex, const tf_format_t *format, const char *name,
    const char *data, size_t len, tf_text_t *text)
{
    int          rc;
    size_t       n;
    tf_buf_t     wide = TF_BUF_INIT;
    const char  *base, *dot;

    if (format == NULL) {
        return tf_extract_refuse(ex, "not a known format (%s)",
                                 tf_extract_formats());
    }

    if ((int64_t) len > ex->limits->v[TF_LIMIT_file]) {
        return tf_extract_limit(ex, TF_LIMIT_file, "larger than %lld MB",
                                (long long) (ex->limits->v[TF_LIMIT_file]
                                             / TF_MB));
    }

    ex->suffix = format->suffix;
    rc = 0;

    if (format->kind != TF_FORMAT_BYTES) {
        rc = tf_extract_decoded(ex, format, data, len, &wide);

        if (wide.len) {
            data = wide.data;
            len = wide.len;
        }
    }

    if (rc == 0) {
        rc = format->extract(ex, data, len, text);
    }

    text->failed |= wide.failed;
    tf_buf_free(&wide);

    if (rc == 0 && !text->failed) {
        text->format = format->format;

        if ((int64_t) text->len > ex->limits->v[TF_LIMIT_text]) {
            rc = tf_extract_limit(ex, TF_LIMIT_text,
                                  "its text is larger than %lld MB",
                                  (long long) (ex->limits->v[TF_LIMIT_text]
                                               / TF_MB));

        } else if (text->nblocks == 0) {
            rc = tf_extract_refuse(ex, "has no text");
        }
    }

    if (rc == 0 && text->title == NULL && !text->failed) {
        base = tf_extract_base(name);
        dot = strrchr(base, '.');
        n = dot == NULL || dot == base ? strlen(base) : (size_t) (dot - base);
        text->title = strndup(base, n);
        text->failed = (text->title == NULL);
    }

    if (text->failed) {
        rc = tf_extract_refuse(ex, "out of memory");
    }

    if (rc != 0) {
        tf_text_free(text);
    }

    return rc;
}


/* Puts what is not UTF-8 but can be told into wide; -1: it is no text. */

static int
tf_extract_decoded(tf_extract_t *ex, const tf_format_t *format,
    const char *data, size_t len, tf_buf_t *wide)
{
    size_t       skip, bad;
    const char  *charset, *what;

    charset = tf_charset_wide(data, len, &skip);

    if (charset != NULL) {
        (void) tf_charset_decode(charset, strlen(charset), data + skip,
                                 len - skip, wide);

        if (wide->len && memchr(wide->data, '\0', wide->len) == NULL) {
            return 0;
        }

        tf_buf_free(wide);
    }

    if (memchr(data, '\0', len) != NULL) {
        what = tf_extract_looks(data, len);

        return tf_extract_refuse(ex, "has NUL bytes: not a text file%s%s%s",
                                 what == NULL ? "" : " (it looks like ",
                                 what == NULL ? "" : what,
                                 what == NULL ? "; give it its own suffix, or "
                                                "take it away" : ")");
    }

    bad = tf_utf8_valid(data, len);

    if (bad == len) {
        return 0;
    }

    if (format->kind == TF_FORMAT_PAGE
        && tf_extract_charset(data, len, wide) == 0)
    {
        return 0;
    }

    what = tf_extract_looks(data, len);

    return tf_extract_refuse(ex, "not valid UTF-8 at byte %zu%s%s%s", bad,
                             what == NULL ? "" : " (it looks like ",
                             what == NULL ? "; convert it, for example with "
                                            "iconv -f WINDOWS-1252 -t UTF-8"
                                          : what,
                             what == NULL ? "" : ")");
}


/* A page names its encoding in its head, or has what browsers assume. */

static int
tf_extract_charset(const char *data, size_t len, tf_buf_t *wide)
{
    size_t       i, n, head;
    const char  *s;

    head = len < 4096 ? len : 4096;

    for (i = 0; i + 8 < head; i++) {
        if (strncasecmp(data + i, "charset=", 8) != 0) {
            continue;
        }

        s = data + i + 8;
        s += (*s == '"' || *s == '\'');

        for (n = 0; s + n < data + head && n < 40
             && strchr("\"' \t\r\n/>;", s[n]) == NULL; n++)
        {
            /* void */
        }

        if ((n < 3 || strncasecmp(s, "utf", 3) != 0)
            && tf_charset_decode(s, n, data, len, wide) == 0)
        {
            return 0;
        }

        break;
    }

    return tf_charset_decode("windows-1252", 12, data, len, wide);
}


static const char *
tf_extract_looks(const char *data, size_t len)
{
    const tf_magic_t  *magic;

    for (magic = tf_magics; magic->bytes != NULL; magic++) {
        if (len >= magic->len && memcmp(data, magic->bytes, magic->len) == 0) {
            return magic->what;
        }
    }

    return NULL;
}


int
tf_extract_refuse(tf_extract_t *ex, const char *fmt, ...)
{
    va_list  ap;

    if (!ex->said) {
        va_start(ap, fmt);
        (void) vsnprintf(ex->err, ex->errlen, fmt, ap);
        va_end(ap);
        ex->said = 1;
    }

    return -1;
}


int
tf_extract_limit(tf_extract_t *ex, tf_limit_t limit, const char *fmt, ...)
{
    int      n;
    char     value[64];
    va_list  ap;

    if (ex->said) {
        return -1;
    }

    va_start(ap, fmt);
    n = vsnprintf(ex->err, ex->errlen, fmt, ap);
    va_end(ap);

    if (n >= 0 && (size_t) n < ex->errlen) {
        (void) snprintf(ex->err + n, ex->errlen - n,
                        " (limit %s); %s, or raise it: --limit %s=...",
                        tf_limit_print(ex->limits, limit, value,
                                       sizeof(value)),
                        tf_limit_help(limit), tf_limit_name(limit));
    }

    ex->said = 1;

    return -1;
}


int
tf_extract_late(tf_extract_t *ex)
{
    if (tf_clock_ms() < ex->deadline) {
        return 0;
    }

    return tf_extract_limit(ex, TF_LIMIT_seconds, "takes too long to read");
}


void
tf_extract_printable(char *s)
{
    tf_charset_clean(s, strlen(s));

    for (/* void */; *s; s++) {
        if ((unsigned char) *s < 0x20) {
            *s = '?';

        } else if (*s == '\xc2' && (unsigned char) s[1] >= 0x80
                   && (unsigned char) s[1] <= 0x9f)
        {
            s[0] = '?';         /* C1 control characters */
            s[1] = '?';
        }
    }
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
tf_extract_lines(tf_extract_t *ex, const char *data, size_t len)
{
    size_t       pos, n, line;
    const char  *nl;

    if ((int64_t) len > ex->limits->v[TF_LIMIT_text]) {
        return tf_extract_limit(ex, TF_LIMIT_text, "larger than %lld MB",
                                (long long) (ex->limits->v[TF_LIMIT_text]
                                             / TF_MB));
    }

    for (pos = 0, line = 1; pos < len; pos += n + 1, line++) {
        nl = memchr(data + pos, '\n', len - pos);
        n = nl == NULL ? len - pos : (size_t) (nl - data) - pos;

        if ((int64_t) n > ex->limits->v[TF_LIMIT_line]) {
            return tf_extract_limit(ex, TF_LIMIT_line, "line %zu has %zu "
                                    "bytes", line, n);
        }
    }

    return 0;
}


int
tf_extract_txt(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    size_t  start;

    if (tf_extract_lines(ex, data, len) != 0) {
        return -1;
    }

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
