#ifndef TF_RAG_TEXT_H
#define TF_RAG_TEXT_H


#include <stddef.h>

#include <trifecta/meta.h>


/*
 * What the inside of a document looks like to everything that follows.
 *
 * data is the document's text: the original bytes of .txt and .md, the
 * extracted UTF-8 text of other formats.  Nothing ever changes it, and every
 * position in the rag layer is a byte in it, end exclusive; so a quotation
 * can always be checked against it.
 *
 * A section is a stretch under one path of headings ("Directives >
 * proxy_read_timeout").  Blocks are what stands in it, in order, without
 * overlap; the bytes between them (blank lines, the headings themselves,
 * comments) belong to no chunk.  A block is trimmed of white space, but for
 * the indentation of code.
 */

typedef enum {
    TF_BLOCK_PROSE,     /* a paragraph: may be cut between sentences */
    TF_BLOCK_FIELDS,    /* each line "Name: value" */
    TF_BLOCK_LIST,      /* items with what hangs below them */
    TF_BLOCK_TABLE,     /* lines that start with "|" */
    TF_BLOCK_CODE,      /* fenced or indented */
    TF_BLOCK_HEADING    /* only between a scan and its handler */
} tf_block_kind_t;

typedef struct {
    tf_block_kind_t   kind;
    unsigned          section;
    size_t            start;
    size_t            end;
} tf_block_t;

/* What a document says about itself (trifecta/meta.h): author, date. */

typedef struct {
    char             *name;         /* in small letters */
    char             *value;
} tf_text_meta_t;

typedef struct {
    const char       *format;       /* "txt", "docx" */
    char             *data;
    size_t            len;
    char             *title;
    char             *note;         /* for people: what was left out */

    tf_text_meta_t   *meta;
    size_t            nmeta;

    char            **sections;     /* their paths of headings, "" at first */
    size_t            nsections;
    tf_block_t       *blocks;
    size_t            nblocks;

    size_t            section_room;
    size_t            block_room;
    int               failed;       /* memory was short */
} tf_text_t;


#define TF_TEXT_HEADING_MAX  512    /* bytes of a path of headings */


/* Both set failed when memory is short.  A section with an empty path is
 * there from the start: number 0. */
void tf_text_section(tf_text_t *text, const char *path);
void tf_text_block(tf_text_t *text, tf_block_kind_t kind, size_t start,
    size_t end);

/* The title, with single spaces and cut; the first one that is not empty. */
void tf_text_title(tf_text_t *text, const char *s, size_t len);

/*
 * One more value of a name, with single spaces and cut.  What is no name or
 * empty is left out, and so is what is there already or one too many.
 */
void tf_text_meta(tf_text_t *text, const char *name, size_t nlen,
    const char *value, size_t len);

/* The same for a date as mails write it: "Tue, 1 Jul 2003 10:52:37 +0200". */
void tf_text_meta_mail_date(tf_text_t *text, const char *name, const char *s,
    size_t len);

/* Front matter: a line "key: value" or "key = value", "- item" of a list. */
void tf_text_meta_line(tf_text_t *text, char mark, const char *line,
    size_t len, char name[TF_META_NAME_MAX + 1]);

void tf_text_meta_free(tf_text_t *text);

/* Adds to the note, which is a sentence or more; "" changes nothing. */
void tf_text_note(tf_text_t *text, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void tf_text_free(tf_text_t *text);


/*
 * Finds the blocks of [start, end) of a text in Markdown's manner, which
 * fits plain text and what the XML extractor writes as well.  One pass, no
 * recursion.  Headings and comments are looked for with TF_BLOCKS_HEADINGS
 * only; level is 0 for other blocks.
 */

#define TF_BLOCKS_HEADINGS  1

typedef void (*tf_block_pt)(void *ctx, tf_block_kind_t kind, unsigned level,
    size_t start, size_t end);

void tf_blocks_scan(const char *data, size_t start, size_t end,
    unsigned flags, tf_block_pt handler, void *ctx);


/* Bytes until the first that is no valid UTF-8, or len. */
size_t tf_utf8_valid(const char *s, size_t len);

/* The number of characters of valid UTF-8. */
size_t tf_utf8_chars(const char *s, size_t len);

/* The largest position <= pos that does not cut a character. */
size_t tf_utf8_floor(const char *s, size_t pos);


#endif /* TF_RAG_TEXT_H */
