#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "extract/charset.h"
#include "extract/child.h"
#include "extract/extract.h"
#include "extract/out.h"


/*
 * PDF: poppler's pdfinfo and pdftotext, each in a child with limits.  A page
 * is a section.  A word that is divided at the end of a line is put together.
 */

#define TF_PDF_INFO  65536      /* bytes of pdfinfo's answer */

static int tf_pdf_run(tf_extract_t *ex, const char *const *argv,
    const char *data, size_t len, int64_t output, tf_buf_t *out);
static int tf_pdf_info(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
static void tf_pdf_page(tf_out_t *out, unsigned number, const char *s,
    size_t len);


int
tf_extract_pdf(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int                       rc;
    size_t                    n, pos;
    unsigned                  page;
    tf_out_t                  out;
    tf_buf_t                  all = TF_BUF_INIT;
    const char               *end;
    static const char *const  argv[] = { "pdftotext", "-q", "-enc", "UTF-8",
                                         "-eol", "unix", "-", "-", NULL };

    if (len < 5 || memcmp(data, "%PDF-", 5) != 0) {
        return tf_extract_refuse(ex, "is no PDF, which its suffix says; give "
                                 "it the suffix of its format");
    }

    if (tf_pdf_info(ex, data, len, text) != 0
        || tf_pdf_run(ex, argv, data, len, ex->limits->v[TF_LIMIT_text], &all)
           != 0)
    {
        tf_buf_free(&all);
        return -1;
    }

    memset(&out, 0, sizeof(tf_out_t));
    out.text = text;
    out.limit = ex->limits->v[TF_LIMIT_text];

    rc = 0;

    for (pos = 0, page = 1; pos < all.len && rc == 0; pos += n + 1, page++) {
        end = memchr(all.data + pos, '\f', all.len - pos);
        n = end == NULL ? all.len - pos : (size_t) (end - all.data) - pos;

        if (page > ex->limits->v[TF_LIMIT_pages]) {
            rc = tf_extract_limit(ex, TF_LIMIT_pages, "has more pages than it "
                                  "says");
            break;
        }

        tf_charset_clean(all.data + pos, n);
        tf_pdf_page(&out, page, all.data + pos, n);
        rc = tf_extract_late(ex);
    }

    text->failed |= all.failed;
    tf_buf_free(&all);

    if (tf_out_finish(&out) != 0) {
        rc = tf_extract_limit(ex, TF_LIMIT_text, "its text is too large");
    }

    if (rc == 0 && text->nblocks == 0 && !text->failed) {
        rc = tf_extract_refuse(ex, "has no text: its pages may be pictures; "
                               "run it through text recognition (OCR)");
    }

    return rc;
}


/* How many pages, before one is made into text; title, author and date. */

static int
tf_pdf_info(tf_extract_t *ex, const char *data, size_t len, tf_text_t *text)
{
    long                      pages;
    tf_buf_t                  info = TF_BUF_INIT;
    const char               *s, *next;
    static const char *const  argv[] = { "pdfinfo", "-enc", "UTF-8",
                                         "-isodates", "-", NULL };

    if (ex->limits->v[TF_LIMIT_pages] == 0) {
        return tf_extract_limit(ex, TF_LIMIT_pages, "is a PDF");
    }

    if (tf_pdf_run(ex, argv, data, len, TF_PDF_INFO, &info) != 0) {
        tf_buf_free(&info);
        return -1;
    }

    tf_buf_append(&info, "\n", 1);
    tf_charset_clean(info.data, info.failed ? 0 : info.len);

    pages = 0;

    for (s = info.data; !info.failed && *s; s = next + 1) {
        next = s + strcspn(s, "\n");

        if (strncmp(s, "Title:", 6) == 0) {
            tf_text_title(text, s + 6, (size_t) (next - s) - 6);

        } else if (strncmp(s, "Author:", 7) == 0) {
            tf_text_meta(text, "author", 6, s + 7, (size_t) (next - s) - 7);

        } else if (strncmp(s, "CreationDate:", 13) == 0) {
            tf_text_meta(text, "date", 4, s + 13, (size_t) (next - s) - 13);

        } else if (strncmp(s, "Pages:", 6) == 0) {
            pages = strtol(s + 6, NULL, 10);
        }
    }

    tf_buf_free(&info);

    if (pages > ex->limits->v[TF_LIMIT_pages]) {
        return tf_extract_limit(ex, TF_LIMIT_pages, "has %ld pages", pages);
    }

    return 0;
}


static int
tf_pdf_run(tf_extract_t *ex, const char *const *argv, const char *data,
    size_t len, int64_t output, tf_buf_t *out)
{
    tf_child_t  child;

    memset(&child, 0, sizeof(tf_child_t));
    child.argv = argv;
    child.data = data;
    child.len = len;
    child.memory = ex->limits->v[TF_LIMIT_memory];
    child.output = output;
    child.deadline = ex->deadline;

    switch (tf_child_run(&child, out)) {

    case TF_CHILD_OK:
        return 0;

    case TF_CHILD_MISSING:
        return tf_extract_refuse(ex, "needs %s, which cannot be run: install "
                                 "the package poppler-utils", argv[0]);

    case TF_CHILD_LATE:
        return tf_extract_limit(ex, TF_LIMIT_seconds, "%s took too long",
                                argv[0]);

    case TF_CHILD_LONG:
        return tf_extract_limit(ex, TF_LIMIT_text, "its text is larger than "
                                "%lld MB", (long long) (output / TF_MB));

    case TF_CHILD_EXIT:
        tf_extract_printable(child.said);

        if (strstr(child.said, "assword") != NULL) {
            return tf_extract_refuse(ex, "is encrypted; save it without a "
                                     "password");
        }

        return tf_extract_refuse(ex, "is damaged, or needs more than limit "
                                 "memory allows: %s ended with %d%s%s",
                                 argv[0], child.status,
                                 child.said[0] ? ": " : "", child.said);

    default:
        return tf_extract_refuse(ex, "cannot be read: no process for %s could "
                                 "be made", argv[0]);
    }
}


static void
tf_pdf_page(tf_out_t *out, unsigned number, const char *s, size_t len)
{
    int     n;
    char    heading[32];
    size_t  i, start;

    for (i = 0; i < len && strchr(" \t\r\n", s[i]) != NULL; i++) {
        /* void */
    }

    if (i == len || out->over) {
        return;
    }

    n = snprintf(heading, sizeof(heading), "Page %u", number);
    tf_out_heading(out, 1, heading, (size_t) n);
    tf_buf_puts(&out->out, "\n\n");

    for (start = i; i + 2 < len; i++) {
        if (s[i] == '-' && s[i + 1] == '\n' && i > start
            && s[i - 1] >= 'a' && s[i - 1] <= 'z'
            && s[i + 2] >= 'a' && s[i + 2] <= 'z')
        {
            tf_buf_append(&out->out, s + start, i - start);
            start = i + 2;
        }
    }

    tf_buf_append(&out->out, s + start, len - start);

    if (out->limit && (int64_t) out->out.len > out->limit) {
        out->over = 1;
    }
}
