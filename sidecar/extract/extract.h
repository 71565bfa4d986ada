#ifndef TF_EXTRACT_EXTRACT_H
#define TF_EXTRACT_EXTRACT_H


#include <stddef.h>
#include <stdint.h>

#include "extract/limits.h"
#include "extract/text.h"


/*
 * From the bytes of a file to its text, sections and blocks.
 *
 * One table (extract.c) says which suffix is which format and which function
 * reads it.  A name without any suffix is looked at: a PDF or HTML shows in
 * its first bytes.
 *
 * An extractor sees bytes from anybody.  It keeps to the limits of limits.h,
 * asks tf_extract_late() in loops, loads nothing, opens nothing, and returns
 * -1 after tf_extract_refuse() or tf_extract_limit() said for people what is
 * wrong and what to do.  Out of memory shows in text->failed.
 */

typedef struct {
    const tf_limits_t  *limits;
    int64_t             deadline;   /* of tf_clock_ms() */
    unsigned            nesting;    /* how many files it is inside of */
    int64_t             unpacked;   /* bytes so far */
    int64_t             members;    /* parts so far */
    const char         *suffix;     /* as in the table, such as ".tsv" */
    int                 said;       /* err has the reason */
    char               *err;
    size_t              errlen;
} tf_extract_t;


/* The format of a file by its suffix, or NULL. */
const char *tf_extract_format(const char *name);

/* Of a name without a suffix by its first bytes (512 will do), or NULL. */
const char *tf_extract_sniff(const char *name, const char *data, size_t len);

/* "txt, md, ..." for messages. */
const char *tf_extract_formats(void);

/*
 * Returns 0, or -1 with the reason in err; text is freed by tf_text_free()
 * after success only.  limits NULL: the defaults.
 */
int tf_extract(const tf_limits_t *limits, const char *name, const char *data,
    size_t len, tf_text_t *text, char *err, size_t errlen);

/* A file in a file: an attachment.  The reason goes to a buffer of its own. */
int tf_extract_inner(tf_extract_t *outer, const char *name,
    const char *data, size_t len, tf_text_t *text, char *err, size_t errlen);


/* For extractors: all return -1. */
int tf_extract_refuse(tf_extract_t *ex, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int tf_extract_limit(tf_extract_t *ex, tf_limit_t limit, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* 0, or -1 when the file has had its time. */
int tf_extract_late(tf_extract_t *ex);

/* A name out of a file, for a message: control characters become "?". */
void tf_extract_printable(char *s);

/* 0, or -1 when a line is beyond the limit, or all of it. */
int tf_extract_lines(tf_extract_t *ex, const char *data, size_t len);

/* Keeps a copy of data as text->data; the offset after a byte order mark. */
size_t tf_extract_keep(const char *data, size_t len, tf_text_t *text);


/*
 * The formats.  Those of text get UTF-8 without NUL (XML and mail: as they
 * are), the others anything.
 */
typedef int (*tf_extract_pt)(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);

int tf_extract_txt(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_md(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_xml(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_html(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_csv(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_json(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_docx(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_odt(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_pptx(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_xlsx(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_pdf(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);
int tf_extract_eml(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text);


#endif /* TF_EXTRACT_EXTRACT_H */
