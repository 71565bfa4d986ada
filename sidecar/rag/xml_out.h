#ifndef TF_RAG_XML_OUT_H
#define TF_RAG_XML_OUT_H


#include <stddef.h>

#include "base/buf.h"
#include "rag/text.h"


/*
 * The text that the XML extractor writes: laid out like Markdown, so that one
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

    int         field;          /* text goes to value */
    tf_buf_t    value;
    tf_buf_t    fields;
    tf_buf_t    contexts;
    char        directive[256];
} tf_xml_out_t;


void tf_xml_out_text(tf_xml_out_t *x, const char *s, size_t len);
void tf_xml_out_break(tf_xml_out_t *x, unsigned lines);

/* A fence: opens or closes an example. */
void tf_xml_out_fence(tf_xml_out_t *x, int open);

/* What is owed before something else is appended to out. */
void tf_xml_out_pay(tf_xml_out_t *x);

/* Ends the section's text: finds its blocks. */
void tf_xml_out_flush(tf_xml_out_t *x);

/* A section under one heading more; path.len before is what to go back to. */
void tf_xml_out_section(tf_xml_out_t *x, const char *name, size_t len);
void tf_xml_out_section_end(tf_xml_out_t *x, size_t path);

/* The fields: start one, and end it as what it is. */
void tf_xml_out_field(tf_xml_out_t *x);
void tf_xml_out_syntax(tf_xml_out_t *x, int block);
void tf_xml_out_default(tf_xml_out_t *x);
void tf_xml_out_context(tf_xml_out_t *x);
void tf_xml_out_appeared(tf_xml_out_t *x);

void tf_xml_out_free(tf_xml_out_t *x);


#endif /* TF_RAG_XML_OUT_H */
