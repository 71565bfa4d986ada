#include "ngx_http_trifecta_multipart.h"

#include <string.h>
#include <strings.h>


typedef enum {
    state_preamble = 0,     /* before the first delimiter */
    state_content,
    state_delimited,        /* behind one: "--", or the end of its line */
    state_dash,
    state_padding,
    state_line_end,
    state_head,
    state_head_line_end,
    state_epilogue
} tf_multipart_state_e;


static int
tf_multipart_is(const char *p, size_t len, const char *word)
{
    return strlen(word) == len && strncasecmp(p, word, len) == 0;
}


static const char *
tf_multipart_skip(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


/* What a token (RFC 9110) is made of. */

static int
tf_multipart_tchar(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
           || (c >= 'A' && c <= 'Z')
           || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}


/*
 * "; name=value" at p, where a value is a token or quoted.  The name stands in
 * the text; the value is given without its quotes but as it was written.
 * NULL: it is none.
 */

static const char *
tf_multipart_param(const char *p, const char *end, const char **name,
    size_t *name_len, const char **value, size_t *value_len)
{
    p = tf_multipart_skip(p, end);

    if (p == end || *p != ';') {
        return NULL;
    }

    p = tf_multipart_skip(p + 1, end);
    *name = p;

    while (p < end && tf_multipart_tchar(*p)) {
        p++;
    }

    *name_len = p - *name;
    p = tf_multipart_skip(p, end);

    if (*name_len == 0 || p == end || *p != '=') {
        return NULL;
    }

    p = tf_multipart_skip(p + 1, end);

    if (p < end && *p == '"') {
        *value = ++p;

        while (p < end && *p != '"') {
            if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\')) {
                p++;
            }

            p++;
        }

        if (p >= end) {
            return NULL;
        }

        *value_len = p - *value;

        return p + 1;
    }

    *value = p;

    while (p < end && *p != ';' && *p != ' ' && *p != '\t' && *p != '"') {
        p++;
    }

    *value_len = p - *value;

    return *value_len ? p : NULL;
}


/* Takes the escapes out; 0, or -1: it is too long. */

static int
tf_multipart_unescape(const char *p, size_t len, char *out, size_t size,
    size_t *out_len)
{
    char         c;
    size_t       n;
    const char  *end;

    n = 0;
    end = p + len;

    while (p < end) {
        c = *p++;

        if (c == '\\' && p < end && (*p == '"' || *p == '\\')) {
            c = *p++;

        } else if (c == '%' && end - p >= 2) {

            if (p[0] == '2' && p[1] == '2') {
                c = '"';
                p += 2;

            } else if (p[0] == '0' && (p[1] == 'D' || p[1] == 'd')) {
                c = '\r';
                p += 2;

            } else if (p[0] == '0' && (p[1] == 'A' || p[1] == 'a')) {
                c = '\n';
                p += 2;
            }
        }

        if (n == size) {
            return -1;
        }

        out[n++] = c;
    }

    *out_len = n;

    return 0;
}


static const char *
tf_multipart_disposition(tf_multipart_part_t *part, const char *p,
    const char *end)
{
    int          named;
    size_t       name_len, value_len;
    const char  *name, *value;

    p = tf_multipart_skip(p, end);

    if ((size_t) (end - p) < sizeof("form-data") - 1
        || strncasecmp(p, "form-data", sizeof("form-data") - 1) != 0)
    {
        return "a part is no form-data";
    }

    p += sizeof("form-data") - 1;
    named = 0;

    while (tf_multipart_skip(p, end) < end) {

        p = tf_multipart_param(p, end, &name, &name_len, &value, &value_len);

        if (p == NULL) {
            return "a Content-Disposition can not be read";
        }

        if (tf_multipart_is(name, name_len, "name")) {

            if (named) {
                return "a part has two names";
            }

            named = 1;

            if (tf_multipart_unescape(value, value_len, part->name,
                                      TF_MULTIPART_NAME_MAX, &part->name_len)
                != 0)
            {
                return "the name of a part is longer than 64 bytes";
            }

        } else if (tf_multipart_is(name, name_len, "filename")) {

            if (part->has_filename) {
                return "a part has two filenames";
            }

            part->has_filename = 1;

            if (tf_multipart_unescape(value, value_len, part->filename,
                                      TF_MULTIPART_FILENAME_MAX,
                                      &part->filename_len)
                != 0)
            {
                return "the filename of a part is longer than 1024 bytes";
            }
        }
    }

    return named ? NULL : "a part has no name";
}


/* The headers of a part, without the empty line behind them. */

static const char *
tf_multipart_head(tf_multipart_t *m)
{
    size_t       name_len;
    const char  *p, *end, *colon, *eol, *err;
    int          disposed;

    memset(&m->part, 0, sizeof(tf_multipart_part_t));

    p = (const char *) m->head;
    end = p + m->head_len;
    disposed = 0;

    while (p < end) {
        eol = memchr(p, '\r', end - p);     /* is there: each line has one */

        if (*p == ' ' || *p == '\t') {
            return "a header of a part goes on in the next line";
        }

        colon = memchr(p, ':', eol - p);

        if (colon == NULL) {
            return "a header of a part has no colon";
        }

        name_len = colon - p;

        if (tf_multipart_is(p, name_len, "content-disposition")) {

            if (disposed) {
                return "a part has two Content-Dispositions";
            }

            disposed = 1;
            err = tf_multipart_disposition(&m->part, colon + 1, eol);

            if (err) {
                return err;
            }

        } else if (tf_multipart_is(p, name_len, "content-transfer-encoding"))
        {
            p = tf_multipart_skip(colon + 1, eol);

            if (!tf_multipart_is(p, eol - p, "binary")
                && !tf_multipart_is(p, eol - p, "8bit")
                && !tf_multipart_is(p, eol - p, "7bit"))
            {
                return "a part has a transfer encoding: send it as it is";
            }
        }

        p = eol + 2;
    }

    return disposed ? NULL : "a part has no Content-Disposition";
}


const char *
tf_multipart_init(tf_multipart_t *m, const char *type, size_t len,
    const tf_multipart_sink_t *sink, void *data)
{
    int          found;
    size_t       i, name_len, value_len;
    const char  *p, *end, *name, *value, *boundary;

    memset(m, 0, sizeof(tf_multipart_t));

    m->sink = sink;
    m->data = data;

    p = type;
    end = type + len;

    if (len < sizeof("multipart/form-data") - 1
        || strncasecmp(p, "multipart/form-data",
                       sizeof("multipart/form-data") - 1)
           != 0)
    {
        return "its type is not multipart/form-data";
    }

    p += sizeof("multipart/form-data") - 1;
    found = 0;
    boundary = NULL;

    while (tf_multipart_skip(p, end) < end) {

        p = tf_multipart_param(p, end, &name, &name_len, &value, &value_len);

        if (p == NULL) {
            return "the parameters of its type can not be read";
        }

        if (tf_multipart_is(name, name_len, "boundary")) {

            if (found++) {
                return "it has two boundaries";
            }

            boundary = value;
            m->delimiter_len = value_len;
        }
    }

    if (!found) {
        return "its type names no boundary";
    }

    if (m->delimiter_len == 0 || m->delimiter_len > TF_MULTIPART_BOUNDARY_MAX
        || boundary[m->delimiter_len - 1] == ' ')
    {
        return "its boundary must have 1 to 70 characters and no blank at "
               "its end";
    }

    for (i = 0; i < m->delimiter_len; i++) {
        if (!tf_multipart_tchar(boundary[i])
            && (boundary[i] == '\0'
                || strchr("(),/:=? ", boundary[i]) == NULL))
        {
            return "its boundary has a character that no boundary may have";
        }
    }

    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary, m->delimiter_len);
    m->delimiter_len += 4;

    /* the first one needs no line in front of it */

    m->matched = 2;

    return NULL;
}


static const char *
tf_multipart_content(tf_multipart_t *m, const unsigned char *p, size_t len)
{
    if (len == 0) {
        return NULL;
    }

    if (m->state == state_preamble) {
        return m->offset + len > TF_MULTIPART_PREAMBLE_MAX
               ? "its boundary does not come" : NULL;
    }

    m->length += len;

    return m->sink->content(m->data, p, len);
}


/*
 * Content, up to a delimiter or the end of the piece; *used: what of it was
 * taken.
 */

static const char *
tf_multipart_scan(tf_multipart_t *m, const unsigned char *p, size_t len,
    size_t *used)
{
    size_t                n;
    const char           *err;
    const unsigned char  *cr;

    if (m->matched == 0) {
        cr = memchr(p, '\r', len);
        n = cr ? (size_t) (cr - p) : len;
        *used = n;

        if (cr) {
            (*used)++;
            m->matched = 1;
        }

        return tf_multipart_content(m, p, n);
    }

    if (*p != (unsigned char) m->delimiter[m->matched]) {

        /* what looked like one was content; the byte is looked at again */

        *used = 0;
        n = m->matched;
        m->matched = 0;

        if (m->offset < n) {
            n = m->offset;      /* the line in front that was not there */
        }

        return tf_multipart_content(m, (unsigned char *) m->delimiter, n);
    }

    *used = 1;

    if (++m->matched < m->delimiter_len) {
        return NULL;
    }

    m->matched = 0;

    err = m->state == state_content ? m->sink->end(m->data) : NULL;

    m->state = state_delimited;

    return err;
}


/* One byte that is not of a content. */

static const char *
tf_multipart_byte(tf_multipart_t *m, unsigned char c)
{
    const char  *err;

    switch (m->state) {

    case state_delimited:

        if (c == '-') {
            m->state = state_dash;
            return NULL;
        }

        m->state = state_padding;

        /* fall through */

    case state_padding:

        if (c == ' ' || c == '\t') {
            return NULL;
        }

        m->state = state_line_end;

        return c == '\r' ? NULL : "a line goes on behind the boundary";

    case state_dash:

        m->state = state_epilogue;

        return c == '-' ? NULL : "a line goes on behind the boundary";

    case state_line_end:

        if (c != '\n') {
            return "a line goes on behind the boundary";
        }

        if (++m->nparts > TF_MULTIPART_PARTS_MAX) {
            return "it has more than 16 parts";
        }

        m->state = state_head;
        m->head_len = 0;

        return NULL;

    case state_head:

        if (c != '\r' && (c == 0x7f || (c < 0x20 && c != '\t'))) {
            return "a header of a part has a control character";
        }

        if (m->head_len > TF_MULTIPART_HEAD_MAX - 2) {
            return "the headers of a part are longer than 4096 bytes";
        }

        m->head[m->head_len++] = c;

        if (c == '\r') {
            m->state = state_head_line_end;
        }

        return NULL;

    case state_head_line_end:

        if (c != '\n') {
            return "a header of a part has a control character";
        }

        m->head[m->head_len++] = c;
        m->state = state_head;

        if (m->head_len != 2
            && (m->head_len < 4 || m->head[m->head_len - 3] != '\n'))
        {
            return NULL;
        }

        m->head_len -= 2;       /* the empty line */

        err = tf_multipart_head(m);

        if (err) {
            return err;
        }

        m->state = state_content;
        m->start = m->offset + 1;
        m->length = 0;

        return m->sink->part(m->data, &m->part);

    default:    /* state_epilogue */

        return NULL;
    }
}


const char *
tf_multipart_feed(tf_multipart_t *m, const unsigned char *p, size_t len)
{
    size_t       used;
    const char  *err;

    while (len) {
        used = 1;

        if (m->state == state_epilogue) {
            m->offset += len;
            return NULL;
        }

        if (m->state == state_preamble || m->state == state_content) {
            err = tf_multipart_scan(m, p, len, &used);

        } else {
            err = tf_multipart_byte(m, *p);
        }

        if (err) {
            return err;
        }

        m->offset += used;
        p += used;
        len -= used;
    }

    return NULL;
}


const char *
tf_multipart_done(const tf_multipart_t *m)
{
    if (m->state == state_epilogue) {
        return NULL;
    }

    return m->state == state_preamble ? "its boundary does not come"
                                      : "its end is missing";
}
