#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libxml/HTMLparser.h>

#include "extract/charset.h"
#include "extract/extract.h"
#include "extract/out.h"


/*
 * HTML, as a browser shows it without its styles: headings, paragraphs,
 * lists, tables and code.  What nobody sees is left out: scripts, styles,
 * templates, comments, and elements that are hidden by an attribute or by
 * their own style.  libxml2's parser calls back for elements and text; it
 * builds no tree and loads nothing.
 */

typedef enum {
    TF_HTML_INLINE,
    TF_HTML_BLOCK,
    TF_HTML_HEADING,
    TF_HTML_LIST,
    TF_HTML_ITEM,
    TF_HTML_PRE,
    TF_HTML_ROW,
    TF_HTML_CELL,
    TF_HTML_BREAK,
    TF_HTML_TITLE,
    TF_HTML_SKIP
} tf_html_kind_t;

typedef struct {
    const char      *name;
    tf_html_kind_t   kind;
} tf_html_element_t;

typedef struct {
    tf_html_kind_t  kind;
    unsigned        level:4;    /* of a heading */
    unsigned        hidden:1;
    unsigned        counted:1;  /* its start was written, so is its end */
    unsigned        verbatim;   /* before it */
} tf_html_level_t;

typedef struct {
    tf_out_t          out;
    tf_extract_t     *ex;
    htmlParserCtxtPtr  parser;
    tf_html_level_t   levels[TF_DEPTH_MAX];
    unsigned          depth;
    unsigned          calls;
    int               stopped;
    int               in_title;
    int               in_heading;
    tf_buf_t          words;    /* of a heading or the title */
} tf_html_t;


static const tf_html_element_t  tf_html_elements[] = {
    { "p", TF_HTML_BLOCK },           { "div", TF_HTML_BLOCK },
    { "section", TF_HTML_BLOCK },     { "article", TF_HTML_BLOCK },
    { "main", TF_HTML_BLOCK },        { "header", TF_HTML_BLOCK },
    { "footer", TF_HTML_BLOCK },      { "aside", TF_HTML_BLOCK },
    { "blockquote", TF_HTML_BLOCK },  { "address", TF_HTML_BLOCK },
    { "figure", TF_HTML_BLOCK },      { "figcaption", TF_HTML_BLOCK },
    { "form", TF_HTML_BLOCK },        { "fieldset", TF_HTML_BLOCK },
    { "table", TF_HTML_BLOCK },       { "caption", TF_HTML_BLOCK },
    { "hr", TF_HTML_BLOCK },          { "details", TF_HTML_BLOCK },
    { "summary", TF_HTML_BLOCK },     { "body", TF_HTML_BLOCK },
    { "h1", TF_HTML_HEADING },        { "h2", TF_HTML_HEADING },
    { "h3", TF_HTML_HEADING },        { "h4", TF_HTML_HEADING },
    { "h5", TF_HTML_HEADING },        { "h6", TF_HTML_HEADING },
    { "ul", TF_HTML_LIST },           { "ol", TF_HTML_LIST },
    { "dl", TF_HTML_LIST },           { "menu", TF_HTML_LIST },
    { "li", TF_HTML_ITEM },           { "dt", TF_HTML_ITEM },
    { "dd", TF_HTML_BREAK },          { "br", TF_HTML_BREAK },
    { "pre", TF_HTML_PRE },           { "listing", TF_HTML_PRE },
    { "tr", TF_HTML_ROW },            { "td", TF_HTML_CELL },
    { "th", TF_HTML_CELL },           { "title", TF_HTML_TITLE },
    { "script", TF_HTML_SKIP },       { "style", TF_HTML_SKIP },
    { "template", TF_HTML_SKIP },     { "noscript", TF_HTML_SKIP },
    { "svg", TF_HTML_SKIP },          { "math", TF_HTML_INLINE },
    { "iframe", TF_HTML_SKIP },       { "object", TF_HTML_SKIP },
    { "embed", TF_HTML_SKIP },        { "canvas", TF_HTML_SKIP },
    { "audio", TF_HTML_SKIP },        { "video", TF_HTML_SKIP },
    { "nav", TF_HTML_SKIP },          { "datalist", TF_HTML_SKIP },
    { NULL, TF_HTML_INLINE }
};


static void tf_html_start(void *ctx, const xmlChar *name,
    const xmlChar **attrs);
static void tf_html_meta(tf_html_t *html, const xmlChar **attrs);
static void tf_html_open(tf_html_t *html, tf_html_level_t *level);
static void tf_html_end(void *ctx, const xmlChar *name);
static void tf_html_text(void *ctx, const xmlChar *text, int len);
static void tf_html_error(void *ctx, xmlErrorPtr error);
static int tf_html_is_hidden(const xmlChar **attrs);
static int tf_html_style_hides(const char *style);
static void tf_html_words(tf_html_t *html, tf_html_level_t *level);
static void tf_html_stop(tf_html_t *html);


int
tf_extract_html(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int             rc;
    tf_html_t      *html;
    htmlDocPtr      doc;
    htmlSAXHandler  sax;

    html = calloc(1, sizeof(tf_html_t));
    if (html == NULL) {
        text->failed = 1;
        return 0;
    }

    html->ex = ex;
    html->out.text = text;
    html->out.limit = ex->limits->v[TF_LIMIT_text];

    html->parser = htmlNewParserCtxt();
    if (html->parser == NULL) {
        text->failed = 1;
        free(html);
        return 0;
    }

    memset(&sax, 0, sizeof(htmlSAXHandler));
    sax.initialized = XML_SAX2_MAGIC;
    sax.startElement = tf_html_start;
    sax.endElement = tf_html_end;
    sax.characters = tf_html_text;
    sax.ignorableWhitespace = tf_html_text;
    sax.serror = tf_html_error;

    *html->parser->sax = sax;
    html->parser->userData = html;

    doc = htmlCtxtReadMemory(html->parser, data, (int) len, NULL, "UTF-8",
                             HTML_PARSE_RECOVER|HTML_PARSE_NONET
                             |HTML_PARSE_NODEFDTD|HTML_PARSE_IGNORE_ENC);
    if (doc != NULL) {
        xmlFreeDoc(doc);
    }

    html->parser->myDoc = NULL;
    htmlFreeParserCtxt(html->parser);

    rc = html->stopped ? -1 : 0;

    text->failed |= html->words.failed;
    tf_buf_free(&html->words);

    if (tf_out_finish(&html->out) != 0) {
        rc = tf_extract_limit(ex, TF_LIMIT_text, "its text is too large");
    }

    if (text->data != NULL) {
        tf_charset_clean(text->data, text->len);
    }

    free(html);

    return rc;
}


static void
tf_html_start(void *ctx, const xmlChar *name, const xmlChar **attrs)
{
    tf_html_t                *html = ctx;
    tf_html_level_t          *level;
    const tf_html_element_t  *element;

    if (html->stopped) {
        return;
    }

    if (html->depth == (unsigned) html->ex->limits->v[TF_LIMIT_depth]) {
        (void) tf_extract_limit(html->ex, TF_LIMIT_depth,
                                "its elements are nested too deeply");
        tf_html_stop(html);
        return;
    }

    if (html->out.over
        || (html->calls++ % 4096 == 0 && tf_extract_late(html->ex) != 0))
    {
        tf_html_stop(html);
        return;
    }

    for (element = tf_html_elements; element->name != NULL; element++) {
        if (strcasecmp(element->name, (const char *) name) == 0) {
            break;
        }
    }

    if (strcasecmp((const char *) name, "meta") == 0) {
        tf_html_meta(html, attrs);
    }

    level = &html->levels[html->depth++];
    memset(level, 0, sizeof(tf_html_level_t));
    level->kind = element->kind;
    level->verbatim = html->out.verbatim;

    if (element->kind == TF_HTML_HEADING) {
        level->level = (unsigned) (name[1] - '0') & 7;
    }

    if (element->kind == TF_HTML_SKIP || tf_html_is_hidden(attrs)) {
        level->hidden = 1;
        html->out.skip++;
    }

    if (html->out.skip == 0) {
        level->counted = 1;
        tf_html_open(html, level);
    }
}


/* <meta name="author" content="...">: who wrote the page, and when. */

static void
tf_html_meta(tf_html_t *html, const xmlChar **attrs)
{
    size_t       i;
    const char  *name, *content, *as;

    static const char *const  names[][2] = {
        { "author", "author" },         { "dc.creator", "author" },
        { "date", "date" },             { "dc.date", "date" },
        { "dcterms.created", "date" },  { "article:published_time", "date" },
        { NULL, NULL }
    };

    name = NULL;
    content = NULL;
    as = NULL;

    for (i = 0; attrs != NULL && attrs[i] != NULL; i += 2) {
        if (strcasecmp((const char *) attrs[i], "name") == 0
            || strcasecmp((const char *) attrs[i], "property") == 0)
        {
            name = (const char *) attrs[i + 1];

        } else if (strcasecmp((const char *) attrs[i], "content") == 0) {
            content = (const char *) attrs[i + 1];
        }
    }

    for (i = 0; name != NULL && names[i][0] != NULL; i++) {
        if (strcasecmp(name, names[i][0]) == 0) {
            as = names[i][1];
        }
    }

    if (as != NULL && content != NULL) {
        tf_text_meta(html->out.text, as, strlen(as), content,
                     strlen(content));
    }
}


static void
tf_html_open(tf_html_t *html, tf_html_level_t *level)
{
    tf_out_t  *out;

    out = &html->out;

    switch (level->kind) {

    case TF_HTML_BLOCK:
        tf_out_break(out, out->lists ? 1 : 2);
        break;

    case TF_HTML_TITLE:
        html->in_title = 1;
        tf_buf_reset(&html->words);
        break;

    case TF_HTML_HEADING:
        html->in_heading = 1;
        tf_buf_reset(&html->words);
        break;

    case TF_HTML_LIST:
        tf_out_break(out, out->lists ? 1 : 2);
        out->lists++;
        break;

    case TF_HTML_ITEM:
        tf_out_break(out, 1);
        out->bullet = !out->rows;
        break;

    case TF_HTML_PRE:
        if (!html->in_heading) {
            tf_out_fence(out, 1);
        }
        break;

    case TF_HTML_ROW:
        tf_out_break(out, 1);
        if (out->rows++ == 0) {
            tf_out_pay(out);
            tf_buf_puts(&out->out, "|");
            out->space = 1;
        }
        break;

    case TF_HTML_CELL:
        out->space = 1;
        break;

    case TF_HTML_BREAK:
        if (out->verbatim) {
            tf_out_text(out, "\n", 1);

        } else {
            tf_out_break(out, 1);
        }
        break;

    default:
        break;
    }
}


static void
tf_html_end(void *ctx, const xmlChar *name)
{
    tf_out_t         *out;
    tf_html_t        *html = ctx;
    tf_html_level_t  *level;

    (void) name;

    if (html->depth == 0 || html->stopped) {
        return;
    }

    out = &html->out;
    level = &html->levels[--html->depth];

    if (level->hidden) {
        out->skip--;
        return;
    }

    if (!level->counted) {
        return;
    }

    switch (level->kind) {

    case TF_HTML_BLOCK:
        tf_out_break(out, out->lists ? 1 : 2);
        break;

    case TF_HTML_TITLE:
    case TF_HTML_HEADING:
        tf_html_words(html, level);
        break;

    case TF_HTML_LIST:
        /* a heading in a list has ended it */
        out->lists -= (out->lists > 0);
        out->bullet = 0;
        tf_out_break(out, out->lists ? 1 : 2);
        break;

    case TF_HTML_ITEM:
        tf_out_break(out, 1);
        break;

    case TF_HTML_PRE:
        if (out->verbatim > level->verbatim) {
            tf_out_fence(out, 0);
        }
        break;

    case TF_HTML_CELL:
        if (out->rows) {
            out->space = 0;
            tf_buf_puts(&out->out, " |");
            out->space = 1;
        }
        break;

    case TF_HTML_ROW:
        out->rows -= (out->rows > 0);
        tf_out_break(out, 1);
        break;

    default:
        break;
    }
}


/* The title, or a heading, is complete.  One in a table ends the table. */

static void
tf_html_words(tf_html_t *html, tf_html_level_t *level)
{
    unsigned  before;

    if (level->kind == TF_HTML_TITLE) {
        html->in_title = 0;

    } else {
        html->in_heading = 0;
    }

    if (html->words.len == 0) {
        return;
    }

    tf_charset_clean(html->words.data, html->words.len);

    if (level->kind == TF_HTML_TITLE) {
        tf_text_title(html->out.text, html->words.data, html->words.len);

    } else {
        html->out.rows = 0;     /* a heading in a table has ended it */

        while (html->out.verbatim) {
            before = html->out.verbatim;
            tf_out_fence(&html->out, 0);

            if (html->out.verbatim == before) {
                break;
            }
        }

        tf_out_heading(&html->out, level->level, html->words.data,
                       html->words.len);
    }

    tf_buf_reset(&html->words);
}


static void
tf_html_text(void *ctx, const xmlChar *text, int len)
{
    tf_html_t  *html = ctx;

    if (len <= 0 || html->stopped || html->out.skip) {
        return;
    }

    if (html->in_title || html->in_heading) {
        if (html->words.len < 4 * TF_TEXT_HEADING_MAX) {
            tf_buf_append(&html->words, text, (size_t) len);
        }

        return;
    }

    tf_out_text(&html->out, (const char *) text, (size_t) len);
}


/* What is wrong with HTML is nobody's business: it is shown all the same. */

static void
tf_html_error(void *ctx, xmlErrorPtr error)
{
    (void) ctx;
    (void) error;
}


static int
tf_html_is_hidden(const xmlChar **attrs)
{
    size_t       i;
    const char  *name, *value;

    for (i = 0; attrs != NULL && attrs[i] != NULL; i += 2) {
        name = (const char *) attrs[i];
        value = attrs[i + 1] == NULL ? "" : (const char *) attrs[i + 1];

        if (strcasecmp(name, "hidden") == 0
            || (strcasecmp(name, "style") == 0 && tf_html_style_hides(value)))
        {
            return 1;
        }
    }

    return 0;
}


/* display:none, visibility:hidden, opacity:0, font-size:0 */

static int
tf_html_style_hides(const char *style)
{
    char    flat[512];
    size_t  n;

    for (n = 0; *style && n < sizeof(flat) - 2; style++) {
        if (strchr(" \t\r\n", *style) == NULL) {
            flat[n++] = (char) (*style >= 'A' && *style <= 'Z' ? *style | 0x20
                                                               : *style);
        }
    }

    flat[n++] = ';';
    flat[n] = '\0';

    return strstr(flat, "display:none") != NULL
           || strstr(flat, "visibility:hidden") != NULL
           || strstr(flat, "opacity:0;") != NULL
           || strstr(flat, "font-size:0;") != NULL
           || strstr(flat, "font-size:0p") != NULL;
}


static void
tf_html_stop(tf_html_t *html)
{
    html->stopped = 1;
    xmlStopParser(html->parser);
}
