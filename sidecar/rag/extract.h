#ifndef TF_RAG_EXTRACT_H
#define TF_RAG_EXTRACT_H


#include <stddef.h>

#include "rag/text.h"


/*
 * From the bytes of a file to its text, sections and blocks.
 *
 * The name decides the format (.txt .text, .md .markdown, .xml).  A file that
 * is none of these, is too big, is empty, holds NUL bytes or is not UTF-8 is
 * refused, with a reason for people; so is XML that is not well-formed, that
 * declares anything of its own (entities, attributes: the tools of
 * amplification), or that is nested too deeply.  Nothing is fetched.
 */

#define TF_EXTRACT_MAX    (16 * 1024 * 1024)    /* bytes of a file */
#define TF_EXTRACT_DEPTH  100                   /* of XML elements */


/* The format of a file by its name, or NULL. */
const char *tf_extract_format(const char *name);

/*
 * Returns 0, or -1 with the reason in err; text is freed by tf_text_free()
 * after success only.
 */
int tf_extract(const char *name, const char *data, size_t len,
    tf_text_t *text, char *err, size_t errlen);


/*
 * The formats, for tf_extract() and fuzzing: data is valid UTF-8 without NUL
 * (of XML: only without NUL).  They return -1 with a reason; out of memory
 * shows in text->failed.
 */
int tf_extract_txt(const char *data, size_t len, tf_text_t *text, char *err,
    size_t errlen);
int tf_extract_md(const char *data, size_t len, tf_text_t *text, char *err,
    size_t errlen);
int tf_extract_xml(const char *data, size_t len, tf_text_t *text, char *err,
    size_t errlen);

/* Keeps a copy of data as text->data; the offset after a byte order mark. */
size_t tf_extract_keep(const char *data, size_t len, tf_text_t *text);


#endif /* TF_RAG_EXTRACT_H */
