#ifndef TF_RAG_SAFE_H
#define TF_RAG_SAFE_H


#include "base/buf.h"


/*
 * Takes out of a model's answer what could act when somebody looks at it.
 *
 * A document may have told the model to write a link or an image that carries
 * what it knows to somebody else's server.  So in generated text
 *   - images ("![alt](url)" and <img>) become their alternative text: a
 *     viewer loads them without being asked; what only may be seen as one
 *     loses its "!";
 *   - a URL stays only if "known" has it word for word (the question or a
 *     passage) and nothing behind it makes another one of it ("|@host");
 *     otherwise "[link removed]" stands there;
 *   - what begins the address of a link in Markdown, "](", "]:" or "<", is
 *     such a URL with any scheme ("smb:", "mailto:"); in prose only those that
 *     a viewer makes a link of by itself are;
 *   - the address of a link with a backslash or an entity in it never stays;
 *   - the schemes that a viewer may run (javascript:, data:, vbscript:, file:)
 *     never stay;
 *   - a tag of HTML stays only if nothing in it has a value, so it names no
 *     handler, style or address, and its element is none that loads, runs or
 *     swallows something by itself; all others lose their "<".
 * Beyond TF_SAFE_URLS no URL stays at all.  Everything else is left as it is.
 * In code the same rules hold, since a viewer may see other ends of it; only
 * "vec![x]", "<!--" and "<?" stay there, which show no more than a document
 * did.
 *
 * The text comes in pieces, cut anywhere, and what is decided is written at
 * once: held back is only the end of what came, as long as it may still be
 * the beginning of one of these.  A URL of more than TF_SAFE_URL bytes is
 * known to nobody, and an image of more than TF_SAFE_IMAGE loses its "!", so
 * what is held is bounded.  What was written is decided by the text alone,
 * never by how it was cut.
 *
 * What is taken out leaves a blank where its two neighbours would make
 * something new of themselves ("ht" and "tps://", "<" and "script").
 */

#define TF_SAFE_URLS   256
#define TF_SAFE_URL    2048     /* bytes of one */
#define TF_SAFE_SCHEME 32       /* ... without its colon */
#define TF_SAFE_IMAGE  1024
#define TF_SAFE_TAG    256
#define TF_SAFE_SPAN   256      /* of code in a line */
#define TF_SAFE_TAIL   8        /* of "\n" and such behind a known URL */

typedef int (*tf_safe_known_pt)(void *arg, const char *url, size_t len);

typedef struct {
    tf_buf_t           in;      /* what came and is not decided */
    tf_buf_t          *out;
    tf_safe_known_pt   known;
    void              *arg;
    unsigned           removed; /* how often something was taken out */
    unsigned           urls;
    int                depth;   /* of brackets in the URL that is skipped */
    unsigned           fence;   /* ticks of the block of code here, or 0 */
    unsigned           span;    /* and of the code in this line */
    unsigned           skips:1; /* the rest of a URL that is too long */
    unsigned           cut:1;   /* something was taken out just here */
    unsigned           ends:1;  /* no more will come */
    unsigned           inside:1;    /* the text of an image */
    unsigned char      last;    /* byte that was written; 0: none yet */
    unsigned char      solid[2];    /* the last two that are no blanks */
} tf_safe_t;


/* Text is appended to out. */
void tf_safe_begin(tf_safe_t *t, tf_buf_t *out, tf_safe_known_pt known,
    void *arg);

/* 0, or -1 when memory is short. */
int tf_safe_text(tf_safe_t *t, const char *text, size_t len);
int tf_safe_end(tf_safe_t *t);

/* What comes now is another text: it has nothing to do with what came. */
int tf_safe_next(tf_safe_t *t);

void tf_safe_free(tf_safe_t *t);

/* All at once; removed counts what was taken out. */
int tf_rag_safe(const tf_buf_t *in, tf_buf_t *out, tf_safe_known_pt known,
    void *arg, unsigned *removed);


#endif /* TF_RAG_SAFE_H */
