#include <stdlib.h>
#include <string.h>

#include "extract/out.h"


static void tf_out_words(tf_buf_t *b, int *space, const char *s,
    size_t len);
static void tf_out_fields(tf_out_t *x);
static void tf_out_indent(tf_out_t *x, unsigned n);
static void tf_out_block(void *ctx, tf_block_kind_t kind, unsigned level,
    size_t start, size_t end);


#define tf_is_space(c)                                                        \
    ((c) == ' ' || (c) == '\n' || (c) == '\t' || (c) == '\r')


void
tf_out_text(tf_out_t *x, const char *s, size_t len)
{
    size_t  i;

    if (x->skip || x->over) {
        return;
    }

    if (x->limit && (int64_t) x->out.len > x->limit) {
        x->over = 1;
        return;
    }

    if (x->field) {
        tf_out_words(&x->value, &x->space, s, len);
        return;
    }

    if (x->verbatim) {
        i = 0;

        if (x->fresh) {
            while (i < len && (s[i] == '\n' || s[i] == '\r')) {
                i++;
            }

            x->fresh = (i == len);
        }

        tf_buf_append(&x->out, s + i, len - i);
        return;
    }

    for (i = 0; i < len && tf_is_space(s[i]); i++) {
        x->space = 1;
    }

    if (i < len) {
        tf_out_pay(x);
        tf_out_words(&x->out, &x->space, s + i, len - i);
    }
}


/* Appends words with single spaces; white space at the end is owed. */

static void
tf_out_words(tf_buf_t *b, int *space, const char *s, size_t len)
{
    size_t  i, start;

    for (i = 0; i < len; /* void */) {
        if (tf_is_space(s[i])) {
            *space = 1;
            i++;
            continue;
        }

        start = i;
        while (i < len && !tf_is_space(s[i])) {
            i++;
        }

        if (*space && b->len) {
            tf_buf_append(b, " ", 1);
        }

        *space = 0;
        tf_buf_append(b, s + start, i - start);
    }
}


void
tf_out_break(tf_out_t *x, unsigned lines)
{
    if (x->field || x->rows) {
        x->space = 1;
        return;
    }

    if (x->lines < lines) {
        x->lines = lines;
    }
}


void
tf_out_pay(tf_out_t *x)
{
    unsigned  n;

    if (x->fields.len || x->contexts.len) {
        tf_out_fields(x);
    }

    if (x->lines || x->bullet) {
        n = x->out.len ? x->lines : 0;

        for (/* void */; n; n--) {
            tf_buf_append(&x->out, "\n", 1);
        }

        if (x->bullet) {
            tf_out_indent(x, x->lists ? x->lists - 1 : 0);
            tf_buf_puts(&x->out, "- ");

        } else {
            tf_out_indent(x, x->lists);
        }

        x->lines = 0;
        x->bullet = 0;
        x->space = 0;
    }
}


static void
tf_out_indent(tf_out_t *x, unsigned n)
{
    for (/* void */; n; n--) {
        tf_buf_append(&x->out, "  ", 2);
    }
}


void
tf_out_fence(tf_out_t *x, int open)
{
    size_t  n;

    if (x->field || x->rows || x->skip) {
        return;
    }

    if (open) {
        tf_out_break(x, x->lists ? 1 : 2);
        tf_out_pay(x);
        tf_buf_puts(&x->out, "```\n");
        x->verbatim++;
        x->fresh = 1;
        return;
    }

    if (x->verbatim == 0) {
        return;
    }

    x->verbatim--;

    n = x->out.len;
    while (n > x->segment && tf_is_space(x->out.data[n - 1])) {
        n--;
    }

    x->out.len = n;
    tf_buf_append(&x->out, "\n", 1);
    tf_out_indent(x, x->lists);
    tf_buf_puts(&x->out, "```");
    tf_out_break(x, x->lists ? 1 : 2);
}


void
tf_out_flush(tf_out_t *x)
{
    if (x->fields.len || x->contexts.len) {
        tf_out_fields(x);
    }

    if (x->out.len > x->segment && !x->out.failed) {
        tf_blocks_scan(x->out.data, x->segment, x->out.len, 0,
                       tf_out_block, x->text);
    }

    x->segment = x->out.len;
    x->lines = 2;
    x->bullet = 0;
    x->space = 0;
}


static void
tf_out_block(void *ctx, tf_block_kind_t kind, unsigned level,
    size_t start, size_t end)
{
    (void) level;

    tf_text_block(ctx, kind, start, end);
}


void
tf_out_section(tf_out_t *x, const char *name, size_t len)
{
    tf_out_flush(x);

    if (len > TF_TEXT_HEADING_MAX) {
        len = tf_utf8_floor(name, TF_TEXT_HEADING_MAX);
    }

    if (len) {
        if (x->path.len) {
            tf_buf_puts(&x->path, " > ");
        }

        tf_buf_append(&x->path, name, len);
    }

    tf_text_section(x->text, x->path.len ? x->path.data : "");
}


void
tf_out_section_end(tf_out_t *x, size_t path)
{
    tf_out_flush(x);

    if (x->path.data != NULL) {
        x->path.len = path;
        x->path.data[path] = '\0';
    }

    tf_text_section(x->text, x->path.len ? x->path.data : "");
}


void
tf_out_heading(tf_out_t *x, unsigned level, const char *s, size_t len)
{
    unsigned   i;
    tf_buf_t   words = TF_BUF_INIT;
    int        space;

    x->bullet = 0;
    x->lists = 0;
    x->rows = 0;
    space = 0;

    tf_out_flush(x);
    tf_out_words(&words, &space, s, len);

    if (words.len && !x->over) {
        for (i = 0; i < (x->out.len ? 2 : 0); i++) {
            tf_buf_append(&x->out, "\n", 1);
        }

        for (i = 0; i < level && i < 6; i++) {
            tf_buf_append(&x->out, "#", 1);
        }

        tf_buf_append(&x->out, " ", 1);
        tf_buf_append(&x->out, words.data, words.len);
        x->segment = x->out.len;
    }

    if (x->path.data != NULL) {
        x->path.len = x->marks[level - 1];
        x->path.data[x->path.len] = '\0';
    }

    tf_out_section(x, words.len ? words.data : "", words.len);

    for (i = level; i < 10; i++) {
        x->marks[i] = x->path.len;
    }

    x->out.failed |= words.failed;
    tf_buf_free(&words);
}


void
tf_out_path(tf_out_t *x, const char *path)
{
    tf_out_flush(x);
    tf_buf_reset(&x->path);
    tf_out_section(x, path, strlen(path));
}


void
tf_out_adopt(tf_out_t *x, const char *heading, const tf_text_t *text)
{
    size_t             i, base;
    unsigned           section;
    tf_buf_t           path = TF_BUF_INIT;
    const char        *below;
    const tf_block_t  *block;

    tf_out_flush(x);

    if (x->over || x->out.failed) {
        return;
    }

    tf_buf_puts(&x->out, x->out.len ? "\n\n" : "");

    base = x->out.len;
    section = 0;

    tf_buf_append(&x->out, text->data, text->len);
    tf_text_note(x->text, "%s", text->note == NULL ? "" : text->note);

    for (i = 0; i < text->nblocks && !x->out.failed; i++) {
        block = &text->blocks[i];

        if (i == 0 || block->section != section) {
            section = block->section;
            below = text->sections[section];

            tf_buf_reset(&path);
            tf_buf_printf(&path, "%s%s%s", heading,
                          heading[0] && below[0] ? " > " : "", below);
            tf_text_section(x->text, path.failed ? heading : path.data);
        }

        tf_text_block(x->text, block->kind, base + block->start,
                      base + block->end);
    }

    tf_buf_free(&path);
    x->segment = x->out.len;
    x->over |= (x->limit && (int64_t) x->out.len > x->limit);

    tf_text_section(x->text, x->path.len ? x->path.data : "");
}


int
tf_out_finish(tf_out_t *x)
{
    tf_out_flush(x);

    x->text->failed |= x->out.failed | x->path.failed | x->value.failed;
    x->text->data = x->out.data;
    x->text->len = x->out.len;

    tf_out_free(x);

    return x->over ? -1 : 0;
}


void
tf_out_field(tf_out_t *x)
{
    tf_buf_reset(&x->value);
    x->field = 1;
    x->space = 0;
}


void
tf_out_syntax(tf_out_t *x, int block)
{
    tf_buf_printf(&x->fields, "Syntax: %s%s", x->directive,
                  x->value.len ? " " : "");
    tf_buf_append(&x->fields, x->value.data, x->value.len);
    tf_buf_puts(&x->fields, block ? " { ... }\n" : ";\n");
    x->field = 0;
}


void
tf_out_default(tf_out_t *x)
{
    if (x->value.len == 0) {
        tf_buf_printf(&x->fields, "Default: none (%s has no default)\n",
                      x->directive);

    } else {
        tf_buf_printf(&x->fields, "Default: %s ", x->directive);
        tf_buf_append(&x->fields, x->value.data, x->value.len);
        tf_buf_puts(&x->fields, ";\n");
    }

    x->field = 0;
}


void
tf_out_context(tf_out_t *x)
{
    if (x->value.len) {
        tf_buf_puts(&x->contexts, x->contexts.len ? ", " : "Context: ");
        tf_buf_append(&x->contexts, x->value.data, x->value.len);
    }

    x->field = 0;
}


void
tf_out_appeared(tf_out_t *x)
{
    if (x->value.len) {
        if (x->contexts.len) {
            tf_buf_puts(&x->contexts, "\n");
        }

        tf_buf_puts(&x->contexts, "Appeared in: ");
        tf_buf_append(&x->contexts, x->value.data, x->value.len);
    }

    x->field = 0;
}


static void
tf_out_fields(tf_out_t *x)
{
    tf_buf_t  fields, contexts;

    fields = x->fields;
    contexts = x->contexts;
    memset(&x->fields, 0, sizeof(tf_buf_t));
    memset(&x->contexts, 0, sizeof(tf_buf_t));

    if (contexts.len == 0 && fields.len) {
        fields.len--;
    }

    tf_out_break(x, 2);
    tf_out_pay(x);

    tf_buf_append(&x->out, fields.data, fields.len);
    tf_buf_append(&x->out, contexts.data, contexts.len);
    x->out.failed |= fields.failed | contexts.failed;

    tf_buf_free(&fields);
    tf_buf_free(&contexts);

    x->lines = 2;
}


void
tf_out_free(tf_out_t *x)
{
    tf_buf_free(&x->path);
    tf_buf_free(&x->value);
    tf_buf_free(&x->fields);
    tf_buf_free(&x->contexts);
}
