#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "extract/extract.h"


/*
 * Markdown: the text is the file itself.  Front matter ("---" or "+++" in
 * the first line) gives the title and what else is said about the document,
 * and is no part of any section; without a title there the first heading of
 * level 1 is it, and then that heading is left out of the paths.
 */

typedef struct {
    tf_text_t  *text;
    tf_buf_t    path[6];        /* the heading of each level */
} tf_md_t;


static size_t tf_md_front_matter(tf_text_t *text, size_t start);
static void tf_md_block(void *ctx, tf_block_kind_t kind, unsigned level,
    size_t start, size_t end);
static void tf_md_heading(tf_md_t *md, unsigned level, size_t start,
    size_t end);


int
tf_extract_md(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    size_t   start, i;
    tf_md_t  md;

    if (tf_extract_lines(ex, data, len) != 0) {
        return -1;
    }

    memset(&md, 0, sizeof(tf_md_t));
    md.text = text;

    start = tf_extract_keep(data, len, text);
    if (text->failed) {
        return 0;
    }

    start = tf_md_front_matter(text, start);

    tf_blocks_scan(text->data, start, len, TF_BLOCKS_HEADINGS, tf_md_block,
                   &md);

    for (i = 0; i < 6; i++) {
        text->failed |= md.path[i].failed;
        tf_buf_free(&md.path[i]);
    }

    return 0;
}


/* Returns where the document proper starts. */

static size_t
tf_md_front_matter(tf_text_t *text, size_t start)
{
    char         mark, name[TF_META_NAME_MAX + 1];
    size_t       pos, n, len;
    const char  *s, *nl, *value;

    s = text->data + start;
    len = text->len - start;

    if (len < 4 || (memcmp(s, "---", 3) != 0 && memcmp(s, "+++", 3) != 0)
        || (s[3] != '\n' && s[3] != '\r'))
    {
        return start;
    }

    mark = s[0];
    value = NULL;
    n = 0;
    name[0] = '\0';

    for (pos = 0; pos < len; pos = nl - s + 1) {
        nl = memchr(s + pos, '\n', len - pos);

        if (nl == NULL) {
            nl = s + len - 1;
        }

        if (pos > 0 && len - pos >= 3 && s[pos] == mark && s[pos + 1] == mark
            && s[pos + 2] == mark)
        {
            break;
        }

        if (pos > 0) {
            tf_text_meta_line(text, mark, s + pos, (size_t) (nl - s) - pos,
                              name);
        }

        if (value == NULL && len - pos > 6
            && memcmp(s + pos, "title", 5) == 0
            && strchr(mark == '-' ? ": " : "= ", s[pos + 5]) != NULL)
        {
            value = s + pos + 5;
            while (value < nl && strchr(":= \t\"'", *value) != NULL) {
                value++;
            }

            n = nl - value;
            while (n > 0 && strchr(" \t\r\n\"'", value[n - 1]) != NULL) {
                n--;
            }
        }
    }

    if (pos >= len) {
        /* never closed: it was a rule and text */
        tf_text_meta_free(text);
        return start;
    }

    if (n > 0) {
        n = n > TF_TEXT_HEADING_MAX
            ? tf_utf8_floor(value, TF_TEXT_HEADING_MAX) : n;

        text->title = strndup(value, n);
        text->failed |= (text->title == NULL);
    }

    return start + (nl - s) + 1 > text->len ? text->len
                                            : start + (nl - s) + 1;
}


static void
tf_md_block(void *ctx, tf_block_kind_t kind, unsigned level, size_t start,
    size_t end)
{
    tf_md_t  *md = ctx;

    if (kind == TF_BLOCK_HEADING) {
        tf_md_heading(md, level, start, end);
        return;
    }

    tf_text_block(md->text, kind, start, end);
}


static void
tf_md_heading(tf_md_t *md, unsigned level, size_t start, size_t end)
{
    size_t       i;
    tf_buf_t     path = TF_BUF_INIT;
    const char  *s;

    s = md->text->data + start;

    for (i = level - 1; i < 6; i++) {
        tf_buf_reset(&md->path[i]);
    }

    if (level == 1 && md->text->title == NULL && end > start) {
        md->text->title = strndup(s, end - start > TF_TEXT_HEADING_MAX
                                     ? tf_utf8_floor(s, TF_TEXT_HEADING_MAX)
                                     : end - start);
        md->text->failed |= (md->text->title == NULL);

    } else {
        tf_buf_append(&md->path[level - 1], s,
                      end - start > TF_TEXT_HEADING_MAX
                      ? tf_utf8_floor(s, TF_TEXT_HEADING_MAX)
                      : end - start);
    }

    for (i = 0; i < 6; i++) {
        if (md->path[i].len) {
            if (path.len) {
                tf_buf_puts(&path, " > ");
            }
            tf_buf_append(&path, md->path[i].data, md->path[i].len);
        }
    }

    md->text->failed |= path.failed;

    tf_text_section(md->text, path.len ? path.data : "");
    tf_buf_free(&path);
}
