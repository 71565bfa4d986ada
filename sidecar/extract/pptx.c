#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/office.h"
#include "extract/para.h"


/*
 * Presentations: a slide is a section, its title the heading, and what the
 * speaker notes say follows.  Slides come in the order of the presentation;
 * hidden ones are left out.  A slide is read twice: for its title, which may
 * stand anywhere in it, and for the rest.
 */

typedef struct {
    tf_para_t        para;
    tf_relations_t  *slides;
    char           (*order)[256];
    size_t           n;
    size_t           room;
    int              failed;

    int              titles;        /* this time it is the title */
    int              hidden;
    tf_buf_t         title;

    int              is_title;      /* the shape is */
    int              is_item;
    int              is_small;      /* number, date, footer */
    int              in_text;
} tf_pptx_t;


static int tf_pptx_slide(tf_extract_t *ex, tf_zip_t *zip, tf_pptx_t *pptx,
    size_t number);
static int tf_pptx_notes(tf_zip_t *zip, tf_pptx_t *pptx, const char *slide,
    tf_sax_handlers_t *handlers);
static void tf_pptx_order(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_pptx_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_pptx_shape(tf_pptx_t *pptx, const tf_sax_attrs_t *attrs);
static void tf_pptx_end(void *ctx, const char *name);
static void tf_pptx_text(void *ctx, const char *s, size_t len);


#define tf_is(a, b)  (strcmp(a, b) == 0)


int
tf_extract_pptx(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int                 rc;
    size_t              i;
    tf_zip_t           *zip;
    tf_pptx_t           pptx;
    tf_relations_t      slides;
    tf_sax_handlers_t   handlers;

    zip = tf_zip_open(ex, data, len);
    if (zip == NULL) {
        return -1;
    }

    memset(&pptx, 0, sizeof(tf_pptx_t));
    memset(&slides, 0, sizeof(tf_relations_t));
    tf_para_open(&pptx.para, ex, text);
    pptx.slides = &slides;

    memset(&handlers, 0, sizeof(tf_sax_handlers_t));
    handlers.start = tf_pptx_order;
    handlers.end = tf_pptx_end;
    handlers.ctx = &pptx;

    rc = tf_relations_read(zip, "ppt/presentation.xml", &slides);

    if (rc == 0) {
        rc = tf_zip_parse(zip, "ppt/presentation.xml", &handlers);
    }

    if (rc == 1) {
        rc = tf_extract_refuse(ex, "has no ppt/presentation.xml: it is no "
                               "presentation");
    }

    for (i = 0; i < pptx.n && rc == 0; i++) {
        rc = tf_pptx_slide(ex, zip, &pptx, i);
    }

    if (rc == 0) {
        rc = tf_office_properties(zip, "docProps/core.xml", text);
    }

    text->failed |= pptx.failed | slides.failed | pptx.title.failed;
    tf_buf_free(&pptx.title);
    free(pptx.order);
    free(slides.list);
    tf_zip_close(zip);

    if (tf_para_close(&pptx.para, ex) != 0) {
        rc = -1;
    }

    return rc;
}


static int
tf_pptx_slide(tf_extract_t *ex, tf_zip_t *zip, tf_pptx_t *pptx,
    size_t number)
{
    char                heading[TF_TEXT_HEADING_MAX];
    int                 n;
    tf_sax_handlers_t   handlers;

    memset(&handlers, 0, sizeof(tf_sax_handlers_t));
    handlers.start = tf_pptx_start;
    handlers.end = tf_pptx_end;
    handlers.text = tf_pptx_text;
    handlers.ctx = pptx;

    tf_buf_reset(&pptx->title);
    pptx->hidden = 0;
    pptx->titles = 1;

    if (tf_zip_parse(zip, pptx->order[number], &handlers) < 0) {
        return -1;
    }

    if (pptx->hidden) {
        return 0;
    }

    n = snprintf(heading, sizeof(heading), "Slide %zu%s%.400s", number + 1,
                 pptx->title.len ? ": " : "",
                 pptx->title.len ? pptx->title.data : "");

    tf_out_heading(&pptx->para.out, 1, heading,
                   tf_utf8_valid(heading, (size_t) n));

    pptx->titles = 0;

    if (tf_zip_parse(zip, pptx->order[number], &handlers) < 0
        || tf_pptx_notes(zip, pptx, pptx->order[number], &handlers) != 0)
    {
        return -1;
    }

    return tf_extract_late(ex);
}


static int
tf_pptx_notes(tf_zip_t *zip, tf_pptx_t *pptx, const char *slide,
    tf_sax_handlers_t *handlers)
{
    int              rc;
    size_t           i;
    tf_relations_t   relations;

    memset(&relations, 0, sizeof(tf_relations_t));

    rc = tf_relations_read(zip, slide, &relations);

    for (i = 0; i < relations.n && rc == 0; i++) {
        if (tf_is(relations.list[i].kind, "notesSlide")) {
            rc = tf_zip_parse(zip, relations.list[i].target, handlers) < 0
                 ? -1 : 0;
            break;
        }
    }

    pptx->failed |= relations.failed;
    free(relations.list);

    return rc;
}


static void
tf_pptx_order(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    char                   id[64], (*list)[256];
    size_t                 room;
    tf_pptx_t             *pptx = ctx;
    const tf_relation_t   *relation;

    if (!tf_is(name, "sldId") || pptx->n == TF_RELATIONS_MAX) {
        return;
    }

    relation = tf_relation_find(pptx->slides,
                                tf_sax_copy(attrs, "r:id", id, sizeof(id)));
    if (relation == NULL) {
        return;
    }

    if (pptx->n == pptx->room) {
        room = pptx->room ? pptx->room * 2 : 32;

        list = realloc(pptx->order, room * sizeof(*list));
        if (list == NULL) {
            pptx->failed = 1;
            return;
        }

        pptx->order = list;
        pptx->room = room;
    }

    memcpy(pptx->order[pptx->n++], relation->target,
           sizeof(relation->target));
}


static void
tf_pptx_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    long        level;
    char        value[16];
    tf_pptx_t  *pptx = ctx;

    if (tf_is(name, "sld")) {
        (void) tf_sax_copy(attrs, "show", value, sizeof(value));
        pptx->hidden = tf_is(value, "0") || tf_is(value, "false");

    } else if (tf_is(name, "sp")) {
        pptx->is_title = 0;
        pptx->is_item = 0;
        pptx->is_small = 0;

    } else if (tf_is(name, "cNvPr")) {
        (void) tf_sax_copy(attrs, "hidden", value, sizeof(value));
        pptx->is_small = tf_is(value, "1") || tf_is(value, "true");

    } else if (tf_is(name, "ph")) {
        tf_pptx_shape(pptx, attrs);

    } else if (tf_is(name, "t")) {
        pptx->in_text = 1;

    } else if (pptx->titles) {
        return;

    } else if (tf_is(name, "p")) {
        tf_para_begin(&pptx->para);

        if (pptx->is_item) {
            pptx->para.kind = TF_PARA_ITEM;
        }

    } else if (tf_is(name, "pPr")) {
        level = tf_sax_number(attrs, "lvl", 0);

        if (pptx->para.kind == TF_PARA_ITEM && level > 0 && level < 9) {
            pptx->para.level = (unsigned) level;
        }

    } else if (tf_is(name, "br")) {
        tf_para_line(&pptx->para);

    } else if (tf_is(name, "tr")) {
        tf_para_row(&pptx->para);
    }
}


/* The place of a shape: a title, the body, or what each slide repeats. */

static void
tf_pptx_shape(tf_pptx_t *pptx, const tf_sax_attrs_t *attrs)
{
    char  type[32];

    (void) tf_sax_copy(attrs, "type", type, sizeof(type));

    if (tf_is(type, "title") || tf_is(type, "ctrTitle")) {
        pptx->is_title = 1;

    } else if (tf_is(type, "sldNum") || tf_is(type, "dt")
               || tf_is(type, "ftr") || tf_is(type, "hdr")
               || tf_is(type, "sldImg"))
    {
        pptx->is_small = 1;

    } else if (tf_is(type, "") || tf_is(type, "obj")) {
        pptx->is_item = 1;
    }
}


static void
tf_pptx_end(void *ctx, const char *name)
{
    tf_pptx_t  *pptx = ctx;

    if (tf_is(name, "t")) {
        pptx->in_text = 0;

    } else if (tf_is(name, "sp")) {
        pptx->is_title = 0;
        pptx->is_item = 0;
        pptx->is_small = 0;

    } else if (pptx->titles) {
        if (tf_is(name, "p") && pptx->is_title && pptx->title.len) {
            tf_buf_puts(&pptx->title, " ");
        }

    } else if (tf_is(name, "p")) {
        tf_para_end(&pptx->para);

    } else if (tf_is(name, "tc")) {
        tf_para_cell_end(&pptx->para);

    } else if (tf_is(name, "tr")) {
        tf_para_row_end(&pptx->para);
    }
}


static void
tf_pptx_text(void *ctx, const char *s, size_t len)
{
    tf_pptx_t  *pptx = ctx;

    if (!pptx->in_text || pptx->is_small) {
        return;
    }

    if (pptx->titles) {
        if (pptx->is_title && pptx->title.len < TF_TEXT_HEADING_MAX) {
            tf_buf_append(&pptx->title, s, len);
        }

    } else if (!pptx->is_title) {
        tf_para_text(&pptx->para, s, len);
    }
}
