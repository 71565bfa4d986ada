#include <stdlib.h>
#include <string.h>

#include "extract/charset.h"
#include "extract/para.h"


static void tf_para_start(tf_para_t *p);


void
tf_para_open(tf_para_t *p, tf_extract_t *ex, tf_text_t *text)
{
    memset(p, 0, sizeof(tf_para_t));
    p->out.text = text;
    p->out.limit = ex->limits->v[TF_LIMIT_text];
}


void
tf_para_begin(tf_para_t *p)
{
    p->kind = TF_PARA_PROSE;
    p->level = 0;
    p->started = 0;

    if (p->out.rows) {
        p->out.space = 1;
    }
}


void
tf_para_text(tf_para_t *p, const char *s, size_t len)
{
    size_t  i;

    /* blanks alone start nothing */

    for (i = 0; i < len && strchr(" \t\r\n", s[i]) != NULL && s[i]; i++) {
        /* void */
    }

    if (!p->started) {
        if (i == len && !(p->code && p->kind == TF_PARA_CODE)) {
            return;
        }

        tf_para_start(p);
    }

    if (p->out.rows == 0
        && (p->kind == TF_PARA_HEADING || p->kind == TF_PARA_TITLE))
    {
        if (p->words.len < 4 * TF_TEXT_HEADING_MAX) {
            tf_buf_append(&p->words, s, len);
        }

        return;
    }

    tf_out_text(&p->out, s, len);
}


static void
tf_para_start(tf_para_t *p)
{
    p->started = 1;

    if (p->out.rows) {
        return;
    }

    if (p->code && p->kind != TF_PARA_CODE) {
        p->code = 0;
        tf_out_fence(&p->out, 0);
    }

    switch (p->kind) {

    case TF_PARA_HEADING:
    case TF_PARA_TITLE:
        tf_buf_reset(&p->words);
        break;

    case TF_PARA_CODE:
        p->out.lists = 0;

        if (!p->code) {
            p->code = 1;
            tf_out_fence(&p->out, 1);

        } else {
            tf_out_text(&p->out, "\n", 1);
        }
        break;

    case TF_PARA_ITEM:
        tf_out_break(&p->out, p->last == TF_PARA_ITEM ? 1 : 2);
        p->out.lists = (p->level < 8 ? p->level : 8) + 1;
        p->out.bullet = 1;
        break;

    default:
        p->out.lists = 0;
        p->out.bullet = 0;
        tf_out_break(&p->out, 2);
    }

    p->last = p->kind;
}


void
tf_para_line(tf_para_t *p)
{
    if (p->started && p->out.verbatim) {
        tf_out_text(&p->out, "\n", 1);

    } else if (p->started && p->out.rows == 0
               && (p->kind == TF_PARA_HEADING || p->kind == TF_PARA_TITLE))
    {
        tf_buf_puts(&p->words, " ");

    } else if (p->started) {
        tf_out_break(&p->out, 1);
    }
}


void
tf_para_end(tf_para_t *p)
{
    if (p->started && p->out.rows == 0) {

        if (p->words.len) {
            tf_charset_clean(p->words.data, p->words.len);
        }

        if (p->kind == TF_PARA_HEADING) {
            tf_out_heading(&p->out, p->level < 1 ? 1
                                    : p->level > 9 ? 9 : p->level,
                           p->words.data == NULL ? "" : p->words.data,
                           p->words.len);

        } else if (p->kind == TF_PARA_TITLE && p->words.len) {
            tf_text_title(p->out.text, p->words.data, p->words.len);
        }
    }

    p->started = 0;
    p->kind = TF_PARA_PROSE;
}


void
tf_para_row(tf_para_t *p)
{
    if (p->code) {
        p->code = 0;
        tf_out_fence(&p->out, 0);
    }

    if (p->out.rows == 0) {
        tf_out_break(&p->out, p->last == TF_PARA_PROSE || p->out.lists ? 2
                                                                       : 1);
        p->out.lists = 0;
        p->out.bullet = 0;
        p->last = TF_PARA_HEADING;      /* anything but prose */
        tf_out_pay(&p->out);
        tf_buf_puts(&p->out.out, "|");
    }

    p->out.rows++;
    p->out.space = 1;
}


void
tf_para_cell_end(tf_para_t *p)
{
    if (p->out.rows && !p->out.skip && !p->out.over) {
        tf_buf_puts(&p->out.out, " |");
        p->out.space = 1;

        if (p->out.limit && (int64_t) p->out.out.len > p->out.limit) {
            p->out.over = 1;
        }
    }
}


void
tf_para_row_end(tf_para_t *p)
{
    p->out.rows -= (p->out.rows > 0);
    tf_out_break(&p->out, 1);
}


int
tf_para_close(tf_para_t *p, tf_extract_t *ex)
{
    int         rc;
    tf_text_t  *text;

    text = p->out.text;

    if (p->code) {
        tf_out_fence(&p->out, 0);
    }

    text->failed |= p->words.failed;
    tf_buf_free(&p->words);

    rc = tf_out_finish(&p->out);

    if (text->data != NULL) {
        tf_charset_clean(text->data, text->len);
    }

    return rc == 0 ? 0 : tf_extract_limit(ex, TF_LIMIT_text,
                                          "its text is too large");
}


tf_style_t *
tf_style_add(tf_styles_t *styles)
{
    size_t       room;
    tf_style_t  *list;

    if (styles->n == TF_STYLES_MAX) {
        return NULL;
    }

    if (styles->n == styles->room) {
        room = styles->room ? styles->room * 2 : 64;

        list = realloc(styles->list, room * sizeof(tf_style_t));
        if (list == NULL) {
            styles->failed = 1;
            return NULL;
        }

        styles->list = list;
        styles->room = room;
    }

    list = &styles->list[styles->n++];
    memset(list, 0, sizeof(tf_style_t));

    return list;
}


const tf_style_t *
tf_style_find(const tf_styles_t *styles, const char *id)
{
    size_t  i;

    for (i = 0; i < styles->n; i++) {
        if (strcmp(styles->list[i].id, id) == 0) {
            return &styles->list[i];
        }
    }

    return NULL;
}


void
tf_styles_inherit(tf_styles_t *styles)
{
    size_t             i, round;
    tf_style_t        *style;
    const tf_style_t  *base;

    for (round = 0; round < 8; round++) {
        for (i = 0; i < styles->n; i++) {
            style = &styles->list[i];

            base = style->base[0] ? tf_style_find(styles, style->base) : NULL;
            if (base == NULL) {
                continue;
            }

            if (style->kind == TF_PARA_PROSE) {
                style->kind = base->kind;
                style->level = base->level;
            }

            style->hidden |= base->hidden;
        }
    }
}
