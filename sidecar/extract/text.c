#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/text.h"


void
tf_text_section(tf_text_t *text, const char *path)
{
    char    **list, *copy;
    size_t    room;

    if (text->nsections == text->section_room) {
        room = text->section_room ? text->section_room * 2 : 16;

        list = realloc(text->sections, room * sizeof(char *));
        if (list == NULL) {
            text->failed = 1;
            return;
        }

        text->sections = list;
        text->section_room = room;
    }

    copy = strndup(path,
                   strlen(path) > TF_TEXT_HEADING_MAX
                   ? tf_utf8_floor(path, TF_TEXT_HEADING_MAX)
                   : strlen(path));
    if (copy == NULL) {
        text->failed = 1;
        return;
    }

    text->sections[text->nsections++] = copy;
}


void
tf_text_block(tf_text_t *text, tf_block_kind_t kind, size_t start, size_t end)
{
    size_t       room;
    tf_block_t  *list;

    if (text->nsections == 0) {
        tf_text_section(text, "");
    }

    if (text->failed) {
        return;
    }

    if (text->nblocks == text->block_room) {
        room = text->block_room ? text->block_room * 2 : 64;

        list = realloc(text->blocks, room * sizeof(tf_block_t));
        if (list == NULL) {
            text->failed = 1;
            return;
        }

        text->blocks = list;
        text->block_room = room;
    }

    list = &text->blocks[text->nblocks++];
    list->kind = kind;
    list->section = (unsigned) (text->nsections - 1);
    list->start = start;
    list->end = end;
}


void
tf_text_title(tf_text_t *text, const char *s, size_t len)
{
    char    *title;
    size_t   i, n;

    if (text->title != NULL) {
        return;
    }

    title = malloc(TF_TEXT_HEADING_MAX + 1);
    if (title == NULL) {
        text->failed = 1;
        return;
    }

    for (i = 0, n = 0; i < len && n < TF_TEXT_HEADING_MAX; i++) {
        if ((unsigned char) s[i] > ' ') {
            title[n++] = s[i];

        } else if (n && title[n - 1] != ' ') {
            title[n++] = ' ';
        }
    }

    n -= (n && title[n - 1] == ' ');

    /* no half character at the end */

    n = tf_utf8_valid(title, n);
    title[n] = '\0';

    if (n == 0) {
        free(title);
        return;
    }

    text->title = title;
}


void
tf_text_note(tf_text_t *text, const char *fmt, ...)
{
    char     more[1000], *note;
    size_t   len;
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(more, sizeof(more), fmt, ap);
    va_end(ap);

    len = text->note == NULL ? 0 : strlen(text->note);

    /* the first ones will do */

    if (more[0] == '\0' || len > 2000) {
        return;
    }

    note = realloc(text->note, len + strlen(more) + 3);
    if (note == NULL) {
        text->failed = 1;
        return;
    }

    (void) sprintf(note + len, "%s%s", len ? "; " : "", more);
    text->note = note;
}


void
tf_text_free(tf_text_t *text)
{
    size_t  i;

    for (i = 0; i < text->nsections; i++) {
        free(text->sections[i]);
    }

    free(text->sections);
    free(text->blocks);
    free(text->title);
    free(text->note);
    free(text->data);
    tf_text_meta_free(text);

    memset(text, 0, sizeof(tf_text_t));
}


size_t
tf_utf8_valid(const char *s, size_t len)
{
    size_t                i, n, k;
    uint32_t              code;
    const unsigned char  *p;

    p = (const unsigned char *) s;

    for (i = 0; i < len; i += n) {
        if (p[i] < 0x80) {
            n = 1;
            continue;
        }

        if (p[i] >= 0xc2 && p[i] <= 0xdf) {
            n = 2;
            code = p[i] & 0x1f;

        } else if (p[i] >= 0xe0 && p[i] <= 0xef) {
            n = 3;
            code = p[i] & 0x0f;

        } else if (p[i] >= 0xf0 && p[i] <= 0xf4) {
            n = 4;
            code = p[i] & 0x07;

        } else {
            return i;
        }

        if (n > len - i) {
            return i;
        }

        for (k = 1; k < n; k++) {
            if ((p[i + k] & 0xc0) != 0x80) {
                return i;
            }

            code = (code << 6) | (p[i + k] & 0x3f);
        }

        /* overlong forms, surrogates, beyond Unicode */

        if ((n == 3 && code < 0x800) || (n == 4 && code < 0x10000)
            || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff)
        {
            return i;
        }
    }

    return len;
}


size_t
tf_utf8_chars(const char *s, size_t len)
{
    size_t  i, n;

    for (i = 0, n = 0; i < len; i++) {
        n += (s[i] & 0xc0) != 0x80;
    }

    return n;
}


size_t
tf_utf8_floor(const char *s, size_t pos)
{
    while (pos > 0 && (s[pos] & 0xc0) == 0x80) {
        pos--;
    }

    return pos;
}
