#ifndef TF_EXTRACT_PARA_H
#define TF_EXTRACT_PARA_H


#include <stddef.h>

#include "extract/out.h"
#include "extract/sax.h"


/*
 * Paragraphs, as office files have them: what one is (a heading, an item, a
 * line of code) is known when its text starts, from its style.  In a table
 * they are all text of a cell.
 *
 * Begin, set kind and level, text, end.
 */

typedef enum {
    TF_PARA_PROSE,
    TF_PARA_HEADING,        /* level 1 to 9 */
    TF_PARA_TITLE,
    TF_PARA_ITEM,           /* level 0 and on: how deep */
    TF_PARA_CODE
} tf_para_kind_t;

typedef struct {
    tf_out_t         out;
    tf_para_kind_t   kind;
    unsigned         level;
    int              started;
    tf_para_kind_t   last;          /* what the one before was */
    int              code;          /* a fence is open */
    tf_buf_t         words;         /* of a heading */
} tf_para_t;

/* What a style means; one names the other that it is based on. */

typedef struct {
    char             id[64];
    char             base[64];
    tf_para_kind_t   kind;
    unsigned         level;
    int              hidden;
} tf_style_t;

#define TF_STYLES_MAX  1000

typedef struct {
    tf_style_t  *list;
    size_t       n;
    size_t       room;
    int          failed;
} tf_styles_t;


void tf_para_open(tf_para_t *p, tf_extract_t *ex, tf_text_t *text);
void tf_para_begin(tf_para_t *p);
void tf_para_text(tf_para_t *p, const char *s, size_t len);
void tf_para_line(tf_para_t *p);
void tf_para_end(tf_para_t *p);

void tf_para_row(tf_para_t *p);
void tf_para_cell_end(tf_para_t *p);
void tf_para_row_end(tf_para_t *p);

/* Hands the text over: 0, or -1 when it is beyond the limit. */
int tf_para_close(tf_para_t *p, tf_extract_t *ex);

/* Adds a style; NULL: there are enough of them. */
tf_style_t *tf_style_add(tf_styles_t *styles);
const tf_style_t *tf_style_find(const tf_styles_t *styles, const char *id);

/* Gives each style what it has from those it is based on. */
void tf_styles_inherit(tf_styles_t *styles);


#endif /* TF_EXTRACT_PARA_H */
