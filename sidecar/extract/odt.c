#include <stdlib.h>
#include <string.h>

#include "extract/office.h"
#include "extract/para.h"


/*
 * OpenDocument texts.  Headings carry their level; what was deleted or is
 * hidden, comments and forms are left out.
 */

typedef struct {
    tf_para_t     para;
    tf_styles_t   styles;
    tf_style_t   *style;
    unsigned      inside;       /* paragraphs that are open */
    unsigned      lists;
    unsigned      skip;
} tf_odt_t;


static void tf_odt_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_odt_style(tf_odt_t *odt, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_odt_para(tf_odt_t *odt, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_odt_end(void *ctx, const char *name);
static void tf_odt_text(void *ctx, const char *s, size_t len);
static int tf_odt_is_skipped(tf_odt_t *odt, const char *name,
    const tf_sax_attrs_t *attrs);


#define tf_is(a, b)  (strcmp(a, b) == 0)


int
tf_extract_odt(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int                 rc;
    tf_zip_t           *zip;
    tf_odt_t            odt;
    tf_sax_handlers_t   handlers;

    zip = tf_zip_open(ex, data, len);
    if (zip == NULL) {
        return -1;
    }

    memset(&odt, 0, sizeof(tf_odt_t));
    tf_para_open(&odt.para, ex, text);

    memset(&handlers, 0, sizeof(tf_sax_handlers_t));
    handlers.start = tf_odt_start;
    handlers.end = tf_odt_end;
    handlers.text = tf_odt_text;
    handlers.ctx = &odt;

    rc = tf_zip_parse(zip, "content.xml", &handlers);

    if (rc == 1) {
        rc = tf_extract_refuse(ex, "has no content.xml: it is no OpenDocument "
                               "text");
    }

    if (rc == 0) {
        rc = tf_office_properties(zip, "meta.xml", text);
    }

    text->failed |= odt.styles.failed;
    free(odt.styles.list);
    tf_zip_close(zip);

    if (tf_para_close(&odt.para, ex) != 0) {
        rc = -1;
    }

    return rc;
}


static void
tf_odt_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    long       n;
    tf_odt_t  *odt = ctx;

    if (odt->skip || tf_odt_is_skipped(odt, name, attrs)) {
        odt->skip++;
        return;
    }

    if (tf_is(name, "p") || tf_is(name, "h")) {
        tf_odt_para(odt, name, attrs);

    } else if (tf_is(name, "s") && odt->inside) {
        n = tf_sax_number(attrs, "c", 1);
        for (n = n < 1 ? 1 : n > 100 ? 100 : n; n > 0; n--) {
            tf_para_text(&odt->para, " ", 1);
        }

    } else if (tf_is(name, "tab") && odt->inside) {
        tf_para_text(&odt->para, " ", 1);

    } else if (tf_is(name, "line-break") && odt->inside) {
        tf_para_line(&odt->para);

    } else if (tf_is(name, "list")) {
        odt->lists++;

    } else if (tf_is(name, "table-row")) {
        tf_para_row(&odt->para);

    } else {
        tf_odt_style(odt, name, attrs);
    }
}


/* Styles of the document itself stand in front of its text. */

static void
tf_odt_style(tf_odt_t *odt, const char *name, const tf_sax_attrs_t *attrs)
{
    char         value[64];
    tf_style_t  *style;

    if (tf_is(name, "style")) {
        style = tf_style_add(&odt->styles);
        odt->style = style;

        if (style != NULL) {
            (void) tf_sax_copy(attrs, "name", style->id, sizeof(style->id));
            (void) tf_sax_copy(attrs, "parent-style-name", style->base,
                               sizeof(style->base));
        }

    } else if (tf_is(name, "text-properties") && odt->style != NULL) {
        (void) tf_sax_copy(attrs, "display", value, sizeof(value));
        odt->style->hidden = tf_is(value, "none");
    }
}


static void
tf_odt_para(tf_odt_t *odt, const char *name, const tf_sax_attrs_t *attrs)
{
    char               style[64];
    long               level;
    const char        *base;
    const tf_style_t  *row;

    /* one within another, as in a note: goes on in that */

    if (odt->inside++) {
        tf_para_text(&odt->para, " ", 1);
        return;
    }

    tf_para_begin(&odt->para);

    (void) tf_sax_copy(attrs, "style-name", style, sizeof(style));
    row = tf_style_find(&odt->styles, style);
    base = row != NULL && row->base[0] ? row->base : style;

    if (tf_is(name, "h")) {
        level = tf_sax_number(attrs, "outline-level", 1);
        odt->para.kind = TF_PARA_HEADING;
        odt->para.level = level < 1 ? 1 : level > 9 ? 9 : (unsigned) level;

    } else if (tf_is(base, "Title")) {
        odt->para.kind = TF_PARA_TITLE;

    } else if (strncmp(base, "Preformatted", 12) == 0) {
        odt->para.kind = TF_PARA_CODE;

    } else if (odt->lists) {
        odt->para.kind = TF_PARA_ITEM;
        odt->para.level = odt->lists - 1;
    }
}


static void
tf_odt_end(void *ctx, const char *name)
{
    tf_odt_t  *odt = ctx;

    if (odt->skip) {
        odt->skip--;
        return;
    }

    if (tf_is(name, "p") || tf_is(name, "h")) {
        if (odt->inside && --odt->inside == 0) {
            tf_para_end(&odt->para);
        }

    } else if (tf_is(name, "list")) {
        odt->lists -= (odt->lists > 0);

    } else if (tf_is(name, "style")) {
        odt->style = NULL;

    } else if (tf_is(name, "automatic-styles")) {
        tf_styles_inherit(&odt->styles);

    } else if (tf_is(name, "table-cell")) {
        tf_para_cell_end(&odt->para);

    } else if (tf_is(name, "table-row")) {
        tf_para_row_end(&odt->para);
    }
}


static void
tf_odt_text(void *ctx, const char *s, size_t len)
{
    tf_odt_t  *odt = ctx;

    if (odt->inside && !odt->skip) {
        tf_para_text(&odt->para, s, len);
    }
}


static int
tf_odt_is_skipped(tf_odt_t *odt, const char *name,
    const tf_sax_attrs_t *attrs)
{
    char               style[64];
    const tf_style_t  *row;

    if (tf_is(name, "tracked-changes") || tf_is(name, "annotation")
        || tf_is(name, "hidden-text") || tf_is(name, "hidden-paragraph")
        || tf_is(name, "note-citation") || tf_is(name, "forms")
        || tf_is(name, "covered-table-cell"))
    {
        return 1;
    }

    if (tf_is(name, "span") || tf_is(name, "p") || tf_is(name, "h")) {
        row = tf_style_find(&odt->styles,
                            tf_sax_copy(attrs, "style-name", style,
                                        sizeof(style)));
        return row != NULL && row->hidden;
    }

    return 0;
}
