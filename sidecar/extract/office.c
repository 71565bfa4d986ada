#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/charset.h"
#include "extract/office.h"


typedef struct {
    tf_text_t   *text;
    const char  *inside;            /* "title", or what metadata; or NULL */
    tf_buf_t     words;
} tf_office_properties_t;

typedef struct {
    tf_relations_t  *relations;
    char             base[256];     /* the folder of the member, with "/" */
} tf_office_relations_t;


static void tf_property_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_property_end(void *ctx, const char *name);
static void tf_property_text(void *ctx, const char *s, size_t len);
static void tf_relation_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_relation_end(void *ctx, const char *name);


int
tf_office_properties(tf_zip_t *zip, const char *member, tf_text_t *text)
{
    int                     rc;
    tf_sax_handlers_t       handlers;
    tf_office_properties_t  properties;

    memset(&properties, 0, sizeof(tf_office_properties_t));
    properties.text = text;

    memset(&handlers, 0, sizeof(tf_sax_handlers_t));
    handlers.start = tf_property_start;
    handlers.end = tf_property_end;
    handlers.text = tf_property_text;
    handlers.ctx = &properties;

    rc = tf_zip_parse(zip, member, &handlers);

    text->failed |= properties.words.failed;
    tf_buf_free(&properties.words);

    return rc < 0 ? -1 : 0;
}


static void
tf_property_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    size_t                   i;
    tf_office_properties_t  *properties = ctx;

    static const char *const  names[][2] = {
        { "title", "title" },               { "creator", "author" },
        { "initial-creator", "author" },    { "created", "date" },
        { "creation-date", "date" },        { NULL, NULL }
    };

    (void) attrs;

    for (i = 0; names[i][0] != NULL; i++) {
        if (strcmp(name, names[i][0]) == 0) {
            properties->inside = names[i][1];
            tf_buf_reset(&properties->words);
        }
    }
}


static void
tf_property_end(void *ctx, const char *name)
{
    tf_buf_t                *words;
    const char              *inside;
    tf_office_properties_t  *properties = ctx;

    (void) name;

    inside = properties->inside;
    words = &properties->words;
    properties->inside = NULL;

    if (inside == NULL || words->len == 0 || words->failed) {
        return;
    }

    tf_charset_clean(words->data, words->len);

    if (strcmp(inside, "title") == 0) {
        tf_text_title(properties->text, words->data, words->len);

    } else {
        tf_text_meta(properties->text, inside, strlen(inside), words->data,
                     words->len);
    }
}


static void
tf_property_text(void *ctx, const char *s, size_t len)
{
    tf_office_properties_t  *properties = ctx;

    if (properties->inside != NULL
        && properties->words.len < 4 * TF_TEXT_HEADING_MAX)
    {
        tf_buf_append(&properties->words, s, len);
    }
}


int
tf_relations_read(tf_zip_t *zip, const char *member,
    tf_relations_t *relations)
{
    char                    name[600];
    const char             *base;
    tf_sax_handlers_t       handlers;
    tf_office_relations_t   ctx;

    base = strrchr(member, '/');
    base = base == NULL ? member : base + 1;

    ctx.relations = relations;
    (void) snprintf(ctx.base, sizeof(ctx.base), "%.*s",
                    (int) (base - member), member);
    (void) snprintf(name, sizeof(name), "%s_rels/%.250s.rels", ctx.base, base);

    memset(&handlers, 0, sizeof(tf_sax_handlers_t));
    handlers.start = tf_relation_start;
    handlers.end = tf_relation_end;
    handlers.ctx = &ctx;

    return tf_zip_parse(zip, name, &handlers) < 0 ? -1 : 0;
}


static void
tf_relation_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    char                    target[256], type[256];
    size_t                  room, n;
    const char             *s;
    tf_relation_t          *list;
    tf_relations_t         *relations;
    tf_office_relations_t  *rc = ctx;

    relations = rc->relations;

    if (strcmp(name, "Relationship") != 0
        || relations->n == TF_RELATIONS_MAX)
    {
        return;
    }

    if (relations->n == relations->room) {
        room = relations->room ? relations->room * 2 : 32;

        list = realloc(relations->list, room * sizeof(tf_relation_t));
        if (list == NULL) {
            relations->failed = 1;
            return;
        }

        relations->list = list;
        relations->room = room;
    }

    list = &relations->list[relations->n++];
    (void) tf_sax_copy(attrs, "Id", list->id, sizeof(list->id));
    (void) tf_sax_copy(attrs, "Type", type, sizeof(type));
    (void) tf_sax_copy(attrs, "Target", target, sizeof(target));

    s = strrchr(type, '/');
    (void) snprintf(list->kind, sizeof(list->kind), "%.63s",
                    s == NULL ? type : s + 1);

    /* "/ppt/x.xml", "x.xml", "../y/x.xml" */

    if (target[0] == '/') {
        (void) snprintf(list->target, sizeof(list->target), "%s", target + 1);
        return;
    }

    s = target;
    n = strlen(rc->base);

    while (strncmp(s, "../", 3) == 0 && n > 0) {
        s += 3;
        for (n--; n > 0 && rc->base[n - 1] != '/'; n--) {
            /* void */
        }
    }

    if (snprintf(list->target, sizeof(list->target), "%.*s%s", (int) n,
                 rc->base, s) >= (int) sizeof(list->target))
    {
        list->target[0] = '\0';
    }
}


static void
tf_relation_end(void *ctx, const char *name)
{
    (void) ctx;
    (void) name;
}


const tf_relation_t *
tf_relation_find(const tf_relations_t *relations, const char *id)
{
    size_t  i;

    for (i = 0; i < relations->n; i++) {
        if (strcmp(relations->list[i].id, id) == 0) {
            return &relations->list[i];
        }
    }

    return NULL;
}
