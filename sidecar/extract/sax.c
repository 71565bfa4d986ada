#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>

#include "extract/sax.h"


struct tf_sax_s {
    tf_extract_t       *ex;
    tf_sax_handlers_t  *handlers;
    xmlParserCtxtPtr    parser;
    unsigned            depth;
    int                 refused;
    int                 wrong;      /* not well-formed */
};


static void tf_sax_start(void *ctx, const xmlChar *name,
    const xmlChar *prefix, const xmlChar *uri, int nns, const xmlChar **ns,
    int nattrs, int ndefault, const xmlChar **attrs);
static void tf_sax_end(void *ctx, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri);
static void tf_sax_text(void *ctx, const xmlChar *s, int len);
static void tf_sax_doctype(void *ctx, const xmlChar *name,
    const xmlChar *public_id, const xmlChar *system_id);
static void tf_sax_error(void *ctx, xmlErrorPtr error);


tf_sax_t *
tf_sax_open(tf_extract_t *ex, tf_sax_handlers_t *handlers)
{
    tf_sax_t       *sax;
    xmlSAXHandler   h;

    sax = calloc(1, sizeof(tf_sax_t));
    if (sax == NULL) {
        return NULL;
    }

    sax->ex = ex;
    sax->handlers = handlers;
    handlers->stop = 0;

    memset(&h, 0, sizeof(xmlSAXHandler));
    h.initialized = XML_SAX2_MAGIC;
    h.startElementNs = tf_sax_start;
    h.endElementNs = tf_sax_end;
    h.characters = tf_sax_text;
    h.ignorableWhitespace = tf_sax_text;
    h.cdataBlock = tf_sax_text;
    h.internalSubset = tf_sax_doctype;
    h.serror = tf_sax_error;

    sax->parser = xmlCreatePushParserCtxt(&h, sax, NULL, 0, NULL);

    if (sax->parser == NULL) {
        free(sax);
        return NULL;
    }

    (void) xmlCtxtUseOptions(sax->parser, XML_PARSE_NONET);

    return sax;
}


int
tf_sax_feed(tf_sax_t *sax, const char *data, size_t len)
{
    if (!sax->refused && !sax->wrong && !sax->handlers->stop) {
        (void) xmlParseChunk(sax->parser, data, (int) len, 0);
    }

    return sax->refused || sax->wrong || sax->handlers->stop ? -1 : 0;
}


int
tf_sax_close(tf_sax_t *sax)
{
    int  rc;

    rc = 0;

    if (!sax->refused && !sax->wrong && !sax->handlers->stop) {
        (void) xmlParseChunk(sax->parser, NULL, 0, 1);
    }

    if (sax->refused) {
        rc = -1;

    } else if (!sax->handlers->stop
               && (sax->wrong || !sax->parser->wellFormed))
    {
        rc = tf_extract_refuse(sax->ex, "is damaged: XML in it is not "
                               "well-formed; open it and save it again");
    }

    if (sax->parser->myDoc != NULL) {
        xmlFreeDoc(sax->parser->myDoc);
    }

    xmlFreeParserCtxt(sax->parser);
    free(sax);

    return rc;
}


static void
tf_sax_start(void *ctx, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri, int nns, const xmlChar **ns, int nattrs,
    int ndefault, const xmlChar **attrs)
{
    tf_sax_t        *sax = ctx;
    tf_sax_attrs_t   list;

    (void) prefix;
    (void) uri;
    (void) nns;
    (void) ns;
    (void) ndefault;

    if (sax->refused || sax->handlers->stop) {
        return;
    }

    if (sax->depth == (unsigned) sax->ex->limits->v[TF_LIMIT_depth]) {
        (void) tf_extract_limit(sax->ex, TF_LIMIT_depth,
                                "its elements are nested too deeply");
        sax->refused = 1;
        xmlStopParser(sax->parser);
        return;
    }

    sax->depth++;

    list.list = attrs;
    list.n = nattrs;
    sax->handlers->start(sax->handlers->ctx, (const char *) name, &list);

    if (sax->handlers->stop) {
        xmlStopParser(sax->parser);
    }
}


static void
tf_sax_end(void *ctx, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri)
{
    tf_sax_t  *sax = ctx;

    (void) prefix;
    (void) uri;

    if (sax->refused || sax->handlers->stop || sax->depth == 0) {
        return;
    }

    sax->depth--;
    sax->handlers->end(sax->handlers->ctx, (const char *) name);

    if (sax->handlers->stop) {
        xmlStopParser(sax->parser);
    }
}


static void
tf_sax_text(void *ctx, const xmlChar *s, int len)
{
    tf_sax_t  *sax = ctx;

    if (len > 0 && !sax->refused && !sax->handlers->stop
        && sax->handlers->text != NULL)
    {
        sax->handlers->text(sax->handlers->ctx, (const char *) s,
                            (size_t) len);
    }
}


/* No program writes one into an office file; those who do want something. */

static void
tf_sax_doctype(void *ctx, const xmlChar *name, const xmlChar *public_id,
    const xmlChar *system_id)
{
    tf_sax_t  *sax = ctx;

    (void) name;
    (void) public_id;
    (void) system_id;

    (void) tf_extract_refuse(sax->ex, "its XML has a document type, which can "
                             "declare entities; open it and save it again");
    sax->refused = 1;
    xmlStopParser(sax->parser);
}


static void
tf_sax_error(void *ctx, xmlErrorPtr error)
{
    tf_sax_t  *sax = ctx;

    if (error->level >= XML_ERR_FATAL) {
        sax->wrong = 1;
    }
}


/* SAX2: five pointers an attribute: name, prefix, URI, value, its end. */

const char *
tf_sax_attr(const tf_sax_attrs_t *attrs, const char *name, size_t *len)
{
    int                    i;
    size_t                 n;
    const char            *colon;
    const unsigned char  **a;

    colon = strchr(name, ':');
    n = colon == NULL ? 0 : (size_t) (colon - name);

    for (i = 0; i < attrs->n; i++) {
        a = attrs->list + i * 5;

        if (strcmp((const char *) a[0], n ? colon + 1 : name) == 0
            && (n == 0 || (a[1] != NULL && strlen((const char *) a[1]) == n
                           && memcmp(a[1], name, n) == 0)))
        {
            *len = (size_t) (a[4] - a[3]);
            return (const char *) a[3];
        }
    }

    *len = 0;

    return NULL;
}


char *
tf_sax_copy(const tf_sax_attrs_t *attrs, const char *name, char *value,
    size_t size)
{
    size_t       len;
    const char  *s;

    s = tf_sax_attr(attrs, name, &len);

    if (len >= size) {
        len = tf_utf8_floor(s, size - 1);
    }

    if (len) {
        memcpy(value, s, len);
    }

    value[len] = '\0';

    return value;
}


long
tf_sax_number(const tf_sax_attrs_t *attrs, const char *name, long def)
{
    char   value[24], *end;
    long   n;

    (void) tf_sax_copy(attrs, name, value, sizeof(value));
    n = strtol(value, &end, 10);

    return end == value || *end != '\0' ? def : n;
}
