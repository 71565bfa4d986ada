#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>

#include "extract/extract.h"
#include "extract/out.h"


/*
 * XML as nginx.org writes its documentation, and what comes close.
 *
 * A section's or directive's name is a heading; what a directive is (syntax,
 * default, context) stays in front of its text.  Elements that are not in the
 * table are text: what they hold is kept, they themselves are not.
 *
 * libxml2 is used as a plain SAX parser: it builds nothing, loads nothing,
 * and knows no entities but XML's own.  A document that declares something
 * is refused at its declaration.  HTML's usual names are turned into
 * characters here; &others; stay as they are.
 */

typedef enum {
    TF_XML_INLINE,
    TF_XML_ROOT,        /* its name is the title */
    TF_XML_SECTION,     /* its name is a heading */
    TF_XML_DIRECTIVE,
    TF_XML_PARA,
    TF_XML_ITEM,
    TF_XML_ITEM_BODY,
    TF_XML_LIST,
    TF_XML_CODE,
    TF_XML_ROW,
    TF_XML_CELL,
    TF_XML_BREAK,
    TF_XML_LINK,
    TF_XML_STATUS,
    TF_XML_SYNTAX,
    TF_XML_DEFAULT,
    TF_XML_CONTEXT,
    TF_XML_APPEARED,
    TF_XML_SKIP
} tf_xml_kind_t;

typedef struct {
    const char     *name;
    tf_xml_kind_t   kind;
} tf_xml_element_t;

typedef struct {
    const char  *name;
    const char  *text;
} tf_xml_entity_t;

typedef struct {
    tf_xml_kind_t   kind;
    size_t          mark;       /* length of the path, or of the text */
} tf_xml_level_t;

typedef struct {
    tf_out_t       out;
    xmlParserCtxtPtr   parser;
    tf_xml_level_t     levels[TF_DEPTH_MAX];
    unsigned           depth;
    unsigned           max_depth;
    int                block_syntax;
    char               link[128];
    int                too_deep;
    const char        *refused;
    char               error[160];
} tf_xml_t;


static const tf_xml_element_t  tf_xml_elements[] = {
    { "module",         TF_XML_ROOT      },
    { "article",        TF_XML_ROOT      },
    { "section",        TF_XML_SECTION   },
    { "directive",      TF_XML_DIRECTIVE },
    { "para",           TF_XML_PARA      },
    { "p",              TF_XML_PARA      },
    { "note",           TF_XML_PARA      },
    { "table",          TF_XML_PARA      },
    { "list",           TF_XML_LIST      },
    { "listitem",       TF_XML_ITEM      },
    { "tag-name",       TF_XML_ITEM      },
    { "tag-desc",       TF_XML_ITEM_BODY },
    { "example",        TF_XML_CODE      },
    { "programlisting", TF_XML_CODE      },
    { "tr",             TF_XML_ROW       },
    { "td",             TF_XML_CELL      },
    { "th",             TF_XML_CELL      },
    { "br",             TF_XML_BREAK     },
    { "link",           TF_XML_LINK      },
    { "http-status",    TF_XML_STATUS    },
    { "syntax",         TF_XML_SYNTAX    },
    { "default",        TF_XML_DEFAULT   },
    { "context",        TF_XML_CONTEXT   },
    { "appeared-in",    TF_XML_APPEARED  },
    { "script",         TF_XML_SKIP      },
    { "style",          TF_XML_SKIP      },
    { NULL,             TF_XML_INLINE    }
};

static const tf_xml_entity_t  tf_xml_entities[] = {
    { "nbsp",   "\xc2\xa0"     }, { "mdash",  "\xe2\x80\x94" },
    { "ndash",  "\xe2\x80\x93" }, { "ldquo",  "\xe2\x80\x9c" },
    { "rdquo",  "\xe2\x80\x9d" }, { "lsquo",  "\xe2\x80\x98" },
    { "rsquo",  "\xe2\x80\x99" }, { "times",  "\xc3\x97"     },
    { "hellip", "\xe2\x80\xa6" }, { "copy",   "\xc2\xa9"     },
    { "reg",    "\xc2\xae"     }, { "trade",  "\xe2\x84\xa2" },
    { "deg",    "\xc2\xb0"     }, { "micro",  "\xc2\xb5"     },
    { "middot", "\xc2\xb7"     }, { "rarr",   "\xe2\x86\x92" },
    { "larr",   "\xe2\x86\x90" }, { "le",     "\xe2\x89\xa4" },
    { "ge",     "\xe2\x89\xa5" }, { "ne",     "\xe2\x89\xa0" },
    { NULL,     NULL           }
};


static void tf_xml_start(void *ctx, const xmlChar *name,
    const xmlChar *prefix, const xmlChar *uri, int nns, const xmlChar **ns,
    int nattrs, int ndefault, const xmlChar **attrs);
static void tf_xml_end(void *ctx, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri);
static void tf_xml_text(void *ctx, const xmlChar *text, int len);
static void tf_xml_reference(void *ctx, const xmlChar *name);
static void tf_xml_entity_decl(void *ctx, const xmlChar *name, int type,
    const xmlChar *public_id, const xmlChar *system_id, xmlChar *content);
static void tf_xml_attribute_decl(void *ctx, const xmlChar *element,
    const xmlChar *name, int type, int def, const xmlChar *value,
    xmlEnumerationPtr tree);
static void tf_xml_element_decl(void *ctx, const xmlChar *name, int type,
    xmlElementContentPtr content);
static void tf_xml_error(void *ctx, xmlErrorPtr error);
static void tf_xml_refuse(tf_xml_t *xml, const char *why);

static int tf_xml_attr(const xmlChar **attrs, int nattrs, const char *name,
    const char **value, size_t *len);
static void tf_xml_put(tf_xml_t *xml, const char *s);


int
tf_extract_xml(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int            rc;
    tf_xml_t      *xml;
    xmlSAXHandler  sax;

    rc = -1;

    xml = calloc(1, sizeof(tf_xml_t));
    if (xml == NULL) {
        text->failed = 1;
        return 0;
    }

    xml->out.text = text;
    xml->out.limit = ex->limits->v[TF_LIMIT_text];
    xml->max_depth = (unsigned) ex->limits->v[TF_LIMIT_depth];

    memset(&sax, 0, sizeof(xmlSAXHandler));
    sax.initialized = XML_SAX2_MAGIC;
    sax.startElementNs = tf_xml_start;
    sax.endElementNs = tf_xml_end;
    sax.characters = tf_xml_text;
    sax.ignorableWhitespace = tf_xml_text;
    sax.cdataBlock = tf_xml_text;
    sax.reference = tf_xml_reference;
    sax.entityDecl = tf_xml_entity_decl;
    sax.attributeDecl = tf_xml_attribute_decl;
    sax.elementDecl = tf_xml_element_decl;
    sax.serror = tf_xml_error;

    xml->parser = xmlCreatePushParserCtxt(&sax, xml, NULL, 0, NULL);

    if (xml->parser == NULL) {
        text->failed = 1;
        free(xml);
        return 0;
    }

    (void) xmlCtxtUseOptions(xml->parser, XML_PARSE_NONET);
    (void) xmlParseChunk(xml->parser, data, (int) len, 1);

    if (xml->too_deep) {
        (void) tf_extract_limit(ex, TF_LIMIT_depth,
                                "its elements are nested too deeply");

    } else if (xml->refused != NULL) {
        (void) tf_extract_refuse(ex, "%s; take the declarations out",
                                 xml->refused);

    } else if (!xml->parser->wellFormed) {
        (void) tf_extract_refuse(ex, "not well-formed XML: %s",
                                 xml->error[0] ? xml->error
                                               : "unknown error");

    } else {
        rc = 0;
    }

    if (xml->parser->myDoc != NULL) {
        xmlFreeDoc(xml->parser->myDoc);
    }

    xmlFreeParserCtxt(xml->parser);

    if (tf_out_finish(&xml->out) != 0 && rc == 0) {
        rc = tf_extract_limit(ex, TF_LIMIT_text, "its text is larger than "
                              "%lld MB",
                              (long long) (xml->out.limit / TF_MB));
    }

    free(xml);

    return rc;
}


static void
tf_xml_start(void *ctx, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri, int nns, const xmlChar **ns, int nattrs,
    int ndefault, const xmlChar **attrs)
{
    size_t                   len;
    tf_xml_t                *xml = ctx;
    const char              *value;
    tf_out_t            *out;
    tf_xml_level_t          *level;
    const tf_xml_element_t  *element;

    (void) prefix;
    (void) uri;
    (void) nns;
    (void) ns;
    (void) ndefault;

    out = &xml->out;

    if (xml->depth == xml->max_depth) {
        xml->too_deep = 1;
        tf_xml_refuse(xml, "");
        return;
    }

    for (element = tf_xml_elements; element->name != NULL; element++) {
        if (strcmp(element->name, (const char *) name) == 0) {
            break;
        }
    }

    level = &xml->levels[xml->depth++];
    level->kind = element->kind;
    level->mark = 0;

    switch (level->kind) {

    case TF_XML_ROOT:
        if (out->text->title == NULL
            && tf_xml_attr(attrs, nattrs, "name", &value, &len) && len)
        {
            out->text->title = strndup(value, len);
            out->text->failed |= (out->text->title == NULL);
        }
        break;

    case TF_XML_SECTION:
    case TF_XML_DIRECTIVE:
        if (!tf_xml_attr(attrs, nattrs, "name", &value, &len)) {
            value = "";
            len = 0;
        }

        level->mark = out->path.len;
        tf_out_section(out, value, len);

        if (level->kind == TF_XML_DIRECTIVE) {
            (void) snprintf(out->directive, sizeof(out->directive), "%.*s",
                            (int) (len < 200 ? len : tf_utf8_floor(value,
                                                                   200)),
                            value);
        }
        break;

    case TF_XML_SYNTAX:
        xml->block_syntax = tf_xml_attr(attrs, nattrs, "block", &value, &len);
        tf_out_field(out);
        break;

    case TF_XML_DEFAULT:
    case TF_XML_CONTEXT:
    case TF_XML_APPEARED:
        tf_out_field(out);
        break;

    case TF_XML_PARA:
        tf_out_break(out, out->lists ? 1 : 2);
        break;

    case TF_XML_LIST:
        tf_out_break(out, out->lists ? 1 : 2);
        out->lists++;
        break;

    case TF_XML_ITEM:
        tf_out_break(out, 1);
        out->bullet = !out->rows;
        break;

    case TF_XML_ITEM_BODY:
        tf_out_break(out, 1);
        break;

    case TF_XML_CODE:
        level->mark = out->verbatim;
        tf_out_fence(out, 1);
        break;

    case TF_XML_ROW:
        tf_out_break(out, 1);
        if (out->rows++ == 0 && !out->field && !out->skip) {
            tf_out_pay(out);
            tf_buf_puts(&out->out, "|");
        }
        break;

    case TF_XML_BREAK:
    case TF_XML_CELL:
        out->space = 1;
        break;

    case TF_XML_LINK:
        /* "<link id='x'/>" shows as x, "<link doc='y'/>" as y */

        if (!tf_xml_attr(attrs, nattrs, "id", &value, &len)
            && !tf_xml_attr(attrs, nattrs, "doc", &value, &len))
        {
            len = 0;
        }

        xml->link[0] = '\0';
        if (len && len < sizeof(xml->link)) {
            memcpy(xml->link, value, len);
            xml->link[len] = '\0';
        }

        level->mark = out->out.len + out->value.len;
        break;

    case TF_XML_STATUS:
        if (tf_xml_attr(attrs, nattrs, "code", &value, &len)) {
            tf_out_text(out, value, len);
        }

        if (tf_xml_attr(attrs, nattrs, "text", &value, &len)) {
            tf_xml_put(xml, " (");
            tf_out_text(out, value, len);
            tf_xml_put(xml, ")");
        }
        break;

    case TF_XML_SKIP:
        out->skip++;
        break;

    default: /* TF_XML_INLINE */
        break;
    }
}


static void
tf_xml_end(void *ctx, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri)
{
    tf_xml_t        *xml = ctx;
    tf_out_t    *out;
    tf_xml_level_t  *level;

    (void) name;
    (void) prefix;
    (void) uri;

    if (xml->depth == 0 || xml->refused != NULL) {
        return;
    }

    out = &xml->out;
    level = &xml->levels[--xml->depth];

    switch (level->kind) {

    case TF_XML_SECTION:
    case TF_XML_DIRECTIVE:
        tf_out_section_end(out, level->mark);
        break;

    case TF_XML_SYNTAX:
        tf_out_syntax(out, xml->block_syntax);
        break;

    case TF_XML_DEFAULT:
        tf_out_default(out);
        break;

    case TF_XML_CONTEXT:
        tf_out_context(out);
        break;

    case TF_XML_APPEARED:
        tf_out_appeared(out);
        break;

    case TF_XML_PARA:
        tf_out_break(out, out->lists ? 1 : 2);
        break;

    case TF_XML_LIST:
        out->lists--;
        out->bullet = 0;
        tf_out_break(out, out->lists ? 1 : 2);
        break;

    case TF_XML_ITEM:
    case TF_XML_ITEM_BODY:
        tf_out_break(out, 1);
        break;

    case TF_XML_CODE:
        if (out->verbatim > level->mark) {
            tf_out_fence(out, 0);
        }
        break;

    case TF_XML_CELL:
        if (out->rows && !out->field && !out->skip) {
            out->space = 0;
            tf_buf_puts(&out->out, " |");
            out->space = 1;
        }
        break;

    case TF_XML_ROW:
        out->rows--;
        tf_out_break(out, 1);
        break;

    case TF_XML_LINK:
        if (out->out.len + out->value.len == level->mark) {
            tf_xml_put(xml, xml->link);
        }
        break;

    case TF_XML_SKIP:
        out->skip--;
        break;

    default:
        break;
    }
}


static void
tf_xml_text(void *ctx, const xmlChar *text, int len)
{
    tf_xml_t  *xml = ctx;

    if (len > 0 && xml->refused == NULL) {
        tf_out_text(&xml->out, (const char *) text, (size_t) len);
    }
}


static void
tf_xml_put(tf_xml_t *xml, const char *s)
{
    tf_out_text(&xml->out, s, strlen(s));
}


static void
tf_xml_reference(void *ctx, const xmlChar *name)
{
    tf_xml_t               *xml = ctx;
    const tf_xml_entity_t  *entity;

    for (entity = tf_xml_entities; entity->name != NULL; entity++) {
        if (strcmp(entity->name, (const char *) name) == 0) {
            tf_xml_put(xml, entity->text);
            return;
        }
    }

    tf_xml_put(xml, "&");
    tf_xml_put(xml, (const char *) name);
    tf_xml_put(xml, ";");
}


static void
tf_xml_entity_decl(void *ctx, const xmlChar *name, int type,
    const xmlChar *public_id, const xmlChar *system_id, xmlChar *content)
{
    (void) name;
    (void) type;
    (void) public_id;
    (void) system_id;
    (void) content;

    tf_xml_refuse(ctx, "it declares entities");
}


static void
tf_xml_attribute_decl(void *ctx, const xmlChar *element, const xmlChar *name,
    int type, int def, const xmlChar *value, xmlEnumerationPtr tree)
{
    (void) element;
    (void) name;
    (void) type;
    (void) def;
    (void) value;

    xmlFreeEnumeration(tree);
    tf_xml_refuse(ctx, "it declares attributes");
}


static void
tf_xml_element_decl(void *ctx, const xmlChar *name, int type,
    xmlElementContentPtr content)
{
    (void) name;
    (void) type;
    (void) content;

    tf_xml_refuse(ctx, "it declares elements");
}


static void
tf_xml_refuse(tf_xml_t *xml, const char *why)
{
    if (xml->refused == NULL) {
        xml->refused = why;
        xmlStopParser(xml->parser);
    }
}


/* Keeps the first error; warnings (an unknown entity) are none. */

static void
tf_xml_error(void *ctx, xmlErrorPtr error)
{
    size_t     n;
    tf_xml_t  *xml = ctx;

    if (error->level < XML_ERR_ERROR || xml->error[0] != '\0') {
        return;
    }

    (void) snprintf(xml->error, sizeof(xml->error), "line %d: %s",
                    error->line, error->message ? error->message : "");

    for (n = 0; xml->error[n] != '\0'; n++) {
        if ((unsigned char) xml->error[n] < 0x20
            || (unsigned char) xml->error[n] >= 0x7f)
        {
            xml->error[n] = ' ';
        }
    }

    while (n > 0 && xml->error[n - 1] == ' ') {
        xml->error[--n] = '\0';
    }
}


/* SAX2: five pointers an attribute: name, prefix, URI, value, its end. */

static int
tf_xml_attr(const xmlChar **attrs, int nattrs, const char *name,
    const char **value, size_t *len)
{
    int  i;

    for (i = 0; i < nattrs; i++) {
        if (strcmp((const char *) attrs[i * 5], name) == 0) {
            *value = (const char *) attrs[i * 5 + 3];
            *len = (size_t) (attrs[i * 5 + 4] - attrs[i * 5 + 3]);
            return 1;
        }
    }

    return 0;
}
