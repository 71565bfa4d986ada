#ifndef TF_EXTRACT_OUT_H
#define TF_EXTRACT_OUT_H


#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "extract/text.h"


/*
 * The text that extractors write: laid out like Markdown, so that one
 * scanner finds the blocks of every format.  White space is owed, not
 * written: a break or a space appears when something follows it, so no line
 * ends with a space and nothing is empty.
 *
 * A directive's fields are gathered until its text starts:
 *
 *     Syntax: proxy_read_timeout time;
 *     Default: proxy_read_timeout 60s;
 *     Context: http, server, location
 */

typedef struct {
    tf_text_t  *text;
    tf_buf_t    out;
    tf_buf_t    path;           /* of headings */
    size_t      segment;        /* where the section's text starts */

    unsigned    lines;          /* newlines that are owed */
    int         space;          /* a space is owed */
    int         bullet;         /* "- " is owed */
    unsigned    lists;          /* how deep in lists */
    unsigned    rows;           /* in a row of a table: breaks are spaces */
    unsigned    verbatim;       /* in an example: white space counts */
    int         fresh;          /* nothing of it yet: newlines are dropped */
    unsigned    skip;           /* in something that is no text */
    size_t      marks[10];      /* the path above a heading of each level */
    int64_t     limit;          /* bytes of out; 0: none */
    int         over;           /* it was reached: the rest is dropped */

    int         field;          /* text goes to value */
    tf_buf_t    value;
    tf_buf_t    fields;
    tf_buf_t    contexts;
    char        directive[256];
} tf_out_t;


void tf_out_text(tf_out_t *x, const char *s, size_t len);
void tf_out_break(tf_out_t *x, unsigned lines);

/* A fence: opens or closes an example. */
void tf_out_fence(tf_out_t *x, int open);

/* What is owed before something else is appended to out. */
void tf_out_pay(tf_out_t *x);

/* Ends the section's text: finds its blocks. */
void tf_out_flush(tf_out_t *x);

/* A section under one heading more; path.len before is what to go back to. */
void tf_out_section(tf_out_t *x, const char *name, size_t len);
void tf_out_section_end(tf_out_t *x, size_t path);

/*
 * A heading of level 1 to 9: ends what is open, is a line of the text ("## ")
 * and the last part of the path of what follows.
 */
void tf_out_heading(tf_out_t *x, unsigned level, const char *s, size_t len);

/* A section with this path of its own; NULL: none. */
void tf_out_path(tf_out_t *x, const char *path);

/* Takes in another text, with its sections below this heading, or "". */
void tf_out_adopt(tf_out_t *x, const char *heading, const tf_text_t *text);

/* Hands the text over; 0, or -1 when it is beyond the limit. */
int tf_out_finish(tf_out_t *x);

/* The fields: start one, and end it as what it is. */
void tf_out_field(tf_out_t *x);
void tf_out_syntax(tf_out_t *x, int block);
void tf_out_default(tf_out_t *x);
void tf_out_context(tf_out_t *x);
void tf_out_appeared(tf_out_t *x);

void tf_out_free(tf_out_t *x);


#endif /* TF_EXTRACT_OUT_H */
