#define _GNU_SOURCE     /* strcasestr() */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "extract/para.h"
#include "extract/office.h"


/*
 * Word documents: the body, then footnotes and endnotes.  A heading is what
 * its style's outline level or name says; text that is deleted, hidden or a
 * field's code is left out, and so are comments, headers and footers.
 */

typedef struct {
    tf_para_t     para;
    tf_styles_t   styles;
    tf_style_t   *style;        /* the one that is read */

    int           in_ppr;
    int           in_run;
    int           in_text;
    int           hidden;       /* the run is */
    int           hidden_para;
    unsigned      skip;         /* in something that does not count */
} tf_docx_t;


static void tf_docx_style_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_docx_style_end(void *ctx, const char *name);
static void tf_docx_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_docx_ppr(tf_docx_t *docx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_docx_end(void *ctx, const char *name);
static void tf_docx_text(void *ctx, const char *s, size_t len);
static int tf_docx_is_skipped(const char *name);
static int tf_docx_is_on(const tf_sax_attrs_t *attrs);


#define tf_is(a, b)  (strcmp(a, b) == 0)


int
tf_extract_docx(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int                 rc;
    size_t              i;
    tf_zip_t           *zip;
    tf_docx_t           docx;
    tf_sax_handlers_t   styles, body;
    static const struct {
        const char     *member;
        const char     *heading;
    } notes[] = {
        { "word/footnotes.xml", "Footnotes" },
        { "word/endnotes.xml",  "Endnotes"  },
    };

    zip = tf_zip_open(ex, data, len);
    if (zip == NULL) {
        return -1;
    }

    memset(&docx, 0, sizeof(tf_docx_t));
    tf_para_open(&docx.para, ex, text);

    memset(&styles, 0, sizeof(tf_sax_handlers_t));
    styles.start = tf_docx_style_start;
    styles.end = tf_docx_style_end;
    styles.ctx = &docx;

    memset(&body, 0, sizeof(tf_sax_handlers_t));
    body.start = tf_docx_start;
    body.end = tf_docx_end;
    body.text = tf_docx_text;
    body.ctx = &docx;

    rc = tf_zip_parse(zip, "word/styles.xml", &styles);

    if (rc >= 0) {
        tf_styles_inherit(&docx.styles);
        rc = tf_zip_parse(zip, "word/document.xml", &body);

        if (rc == 1) {
            rc = tf_extract_refuse(ex, "has no word/document.xml: it is no "
                                   "Word document");
        }
    }

    for (i = 0; i < 2 && rc >= 0; i++) {
        if (tf_zip_find(zip, notes[i].member) >= 0) {
            tf_out_heading(&docx.para.out, 1, notes[i].heading,
                           strlen(notes[i].heading));
            rc = tf_zip_parse(zip, notes[i].member, &body);
        }
    }

    if (rc >= 0) {
        rc = tf_office_properties(zip, "docProps/core.xml", text);
    }

    text->failed |= docx.styles.failed;
    free(docx.styles.list);
    tf_zip_close(zip);

    if (tf_para_close(&docx.para, ex) != 0) {
        rc = -1;
    }

    return rc < 0 ? -1 : 0;
}


static void
tf_docx_style_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    char        value[64];
    long        level;
    tf_docx_t  *docx = ctx;

    if (tf_is(name, "style")) {
        docx->style = tf_style_add(&docx->styles);
        if (docx->style != NULL) {
            (void) tf_sax_copy(attrs, "styleId", docx->style->id,
                               sizeof(docx->style->id));
        }
        return;
    }

    if (docx->style == NULL) {
        return;
    }

    if (tf_is(name, "name")) {
        (void) tf_sax_copy(attrs, "val", value, sizeof(value));

        if (strncasecmp(value, "heading ", 8) == 0 && value[8] >= '1'
            && value[8] <= '9')
        {
            docx->style->kind = TF_PARA_HEADING;
            docx->style->level = (unsigned) (value[8] - '0');

        } else if (strcasecmp(value, "title") == 0) {
            docx->style->kind = TF_PARA_TITLE;

        } else if (strcasestr(value, "code") != NULL
                   || strcasecmp(value, "HTML Preformatted") == 0)
        {
            docx->style->kind = TF_PARA_CODE;
        }

    } else if (tf_is(name, "basedOn")) {
        (void) tf_sax_copy(attrs, "val", docx->style->base,
                           sizeof(docx->style->base));

    } else if (tf_is(name, "outlineLvl")) {
        level = tf_sax_number(attrs, "val", 9);

        if (level >= 0 && level < 9 && docx->style->kind != TF_PARA_TITLE) {
            docx->style->kind = TF_PARA_HEADING;
            docx->style->level = (unsigned) level + 1;
        }

    } else if (tf_is(name, "numPr")) {
        if (docx->style->kind == TF_PARA_PROSE) {
            docx->style->kind = TF_PARA_ITEM;
        }

    } else if (tf_is(name, "vanish")) {
        docx->style->hidden = tf_docx_is_on(attrs);
    }
}


static void
tf_docx_style_end(void *ctx, const char *name)
{
    tf_docx_t  *docx = ctx;

    if (tf_is(name, "style")) {
        docx->style = NULL;
    }
}


static void
tf_docx_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    char               value[64];
    tf_docx_t         *docx = ctx;
    const tf_style_t  *style;

    if (docx->skip || tf_docx_is_skipped(name)) {
        docx->skip++;
        return;
    }

    if (tf_is(name, "p")) {
        tf_para_begin(&docx->para);
        docx->hidden_para = 0;

    } else if (tf_is(name, "pPr")) {
        docx->in_ppr = 1;

    } else if (docx->in_ppr) {
        tf_docx_ppr(docx, name, attrs);

    } else if (tf_is(name, "r")) {
        docx->in_run = 1;
        docx->hidden = docx->hidden_para;

    } else if (tf_is(name, "vanish")) {
        docx->hidden |= tf_docx_is_on(attrs);

    } else if (tf_is(name, "rStyle")) {
        style = tf_style_find(&docx->styles, tf_sax_copy(attrs, "val", value,
                                                         sizeof(value)));
        docx->hidden |= (style != NULL && style->hidden);

    } else if (tf_is(name, "t")) {
        docx->in_text = 1;

    } else if (tf_is(name, "tab") && docx->in_run) {
        if (!docx->hidden) {
            tf_para_text(&docx->para, " ", 1);
        }

    } else if ((tf_is(name, "br") || tf_is(name, "cr")) && docx->in_run) {
        tf_para_line(&docx->para);

    } else if (tf_is(name, "noBreakHyphen")) {
        tf_para_text(&docx->para, "-", 1);

    } else if (tf_is(name, "tr")) {
        tf_para_row(&docx->para);
    }
}


static void
tf_docx_ppr(tf_docx_t *docx, const char *name, const tf_sax_attrs_t *attrs)
{
    char               value[64];
    long               level;
    const tf_style_t  *style;

    if (tf_is(name, "pStyle")) {
        style = tf_style_find(&docx->styles, tf_sax_copy(attrs, "val", value,
                                                         sizeof(value)));
        if (style != NULL) {
            docx->para.kind = style->kind;
            docx->para.level = style->level;
            docx->hidden_para = style->hidden;
        }

    } else if (tf_is(name, "outlineLvl")) {
        level = tf_sax_number(attrs, "val", 9);

        if (level >= 0 && level < 9) {
            docx->para.kind = TF_PARA_HEADING;
            docx->para.level = (unsigned) level + 1;
        }

    } else if (tf_is(name, "ilvl")) {
        level = tf_sax_number(attrs, "val", 0);

        if (docx->para.kind == TF_PARA_PROSE
            || docx->para.kind == TF_PARA_ITEM)
        {
            docx->para.kind = TF_PARA_ITEM;
            docx->para.level = level > 0 && level < 9 ? (unsigned) level : 0;
        }

    } else if (tf_is(name, "numId")) {
        if (docx->para.kind == TF_PARA_ITEM
            && tf_sax_number(attrs, "val", 1) == 0)
        {
            docx->para.kind = TF_PARA_PROSE;
        }
    }
}


static void
tf_docx_end(void *ctx, const char *name)
{
    tf_docx_t  *docx = ctx;

    if (docx->skip) {
        docx->skip--;
        return;
    }

    if (tf_is(name, "p")) {
        tf_para_end(&docx->para);

    } else if (tf_is(name, "pPr")) {
        docx->in_ppr = 0;

    } else if (tf_is(name, "r")) {
        docx->in_run = 0;

    } else if (tf_is(name, "t")) {
        docx->in_text = 0;

    } else if (tf_is(name, "tc")) {
        tf_para_cell_end(&docx->para);

    } else if (tf_is(name, "tr")) {
        tf_para_row_end(&docx->para);
    }
}


static void
tf_docx_text(void *ctx, const char *s, size_t len)
{
    tf_docx_t  *docx = ctx;

    if (docx->in_text && !docx->skip && !docx->hidden) {
        tf_para_text(&docx->para, s, len);
    }
}


/* Deleted, moved away, written twice for old programs, codes of fields. */

static int
tf_docx_is_skipped(const char *name)
{
    return tf_is(name, "del") || tf_is(name, "moveFrom")
           || tf_is(name, "Fallback") || tf_is(name, "instrText")
           || tf_is(name, "delText") || tf_is(name, "pPrChange")
           || tf_is(name, "rPrChange");
}


static int
tf_docx_is_on(const tf_sax_attrs_t *attrs)
{
    char  value[8];

    (void) tf_sax_copy(attrs, "val", value, sizeof(value));

    return !tf_is(value, "0") && !tf_is(value, "false") && !tf_is(value,
                                                                  "off");
}
