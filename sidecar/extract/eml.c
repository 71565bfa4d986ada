#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "extract/charset.h"
#include "extract/extract.h"
#include "extract/mime.h"
#include "extract/out.h"


/*
 * Mails: the headers that people read, the text, and what is attached in a
 * format of the table.  Of alternatives the plain text is taken, else the
 * HTML.  An attachment is a section with what is in it below; one that cannot
 * be read is left out and noted.
 */

#define TF_EML_NAME  512        /* bytes of a type, a name, a boundary */

typedef struct {
    tf_extract_t  *ex;
    tf_out_t       out;
    size_t         line;        /* the longest header */
} tf_eml_t;

typedef struct {
    const char  *data;
    size_t       len;
    size_t       body;
    tf_buf_t     type;          /* the header; its start in lower case */
    tf_buf_t     encoding;
    tf_buf_t     name;          /* of an attachment */
    int          attached;
} tf_eml_part_t;


static int tf_eml_part(tf_eml_t *eml, const char *data, size_t len,
    unsigned depth);
static int tf_eml_multipart(tf_eml_t *eml, const tf_eml_part_t *part,
    unsigned depth);
static int tf_eml_rank(tf_eml_t *eml, const char *data, size_t len);
static size_t tf_eml_boundary(const char *s, size_t len, const char *boundary,
    size_t pos, size_t *start, int *last);
static void tf_eml_read(tf_eml_t *eml, tf_eml_part_t *part);
static void tf_eml_free(tf_eml_part_t *part);
static int tf_eml_leaf(tf_eml_t *eml, const tf_eml_part_t *part);
static void tf_eml_text(tf_eml_t *eml, const tf_eml_part_t *part,
    tf_buf_t *bytes);
static void tf_eml_attachment(tf_eml_t *eml, const char *name, int heading,
    const tf_buf_t *bytes);
static void tf_eml_headers(tf_eml_t *eml, const char *data, size_t len);


int
tf_extract_eml(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int       rc;
    tf_eml_t  eml;

    memset(&eml, 0, sizeof(tf_eml_t));
    eml.ex = ex;
    eml.line = (size_t) ex->limits->v[TF_LIMIT_line];
    eml.out.text = text;
    eml.out.limit = ex->limits->v[TF_LIMIT_text];

    tf_eml_headers(&eml, data, tf_mime_body(data, len));
    rc = tf_eml_part(&eml, data, len, 0);

    if (tf_out_finish(&eml.out) != 0) {
        rc = tf_extract_limit(ex, TF_LIMIT_text, "its text is too large");
    }

    return rc;
}


/* The author is the sender's name, or the address if there is none. */

static void
tf_eml_meta(tf_text_t *text, const char *header, const char *s, size_t len)
{
    size_t       n;
    const char  *open;

    if (strcmp(header, "Subject") == 0) {
        tf_text_title(text, s, len);

    } else if (strcmp(header, "Date") == 0) {
        tf_text_meta_mail_date(text, "date", s, len);

    } else if (strcmp(header, "From") == 0) {
        open = memchr(s, '<', len);
        n = open == NULL ? len : (size_t) (open - s);

        while (n > 0 && strchr(" \t\"'", s[n - 1]) != NULL) {
            n--;
        }

        while (n > 0 && strchr(" \t\"'", s[0]) != NULL) {
            s++;
            n--;
        }

        if (n == 0 && open != NULL) {
            s = open + 1;
            n = strcspn(s, ">");
        }

        tf_text_meta(text, "author", 6, s, n);
    }
}


static void
tf_eml_headers(tf_eml_t *eml, const char *data, size_t len)
{
    size_t              i, start;
    tf_buf_t            raw = TF_BUF_INIT, words = TF_BUF_INIT;
    static const char  *names[] = { "Subject", "From", "To", "Cc", "Date",
                                    NULL };

    for (i = 0; names[i] != NULL; i++) {
        tf_buf_reset(&raw);
        tf_buf_reset(&words);

        if (tf_mime_header(data, len, names[i], eml->line, &raw) != 0
            || raw.len == 0)
        {
            continue;
        }

        tf_mime_words(raw.data, raw.len, &words);

        if (words.len == 0) {
            continue;
        }

        tf_charset_clean(words.data, words.len);

        for (start = 0; start < words.len; start++) {
            if (words.data[start] == '\n' || words.data[start] == '\r') {
                words.data[start] = ' ';
            }
        }

        tf_eml_meta(eml->out.text, names[i], words.data, words.len);

        if (eml->out.out.len) {
            tf_buf_puts(&eml->out.out, "\n");
        }

        tf_buf_printf(&eml->out.out, "%s: ", names[i]);
        tf_buf_append(&eml->out.out, words.data,
                      words.len > 2000 ? tf_utf8_floor(words.data, 2000)
                                       : words.len);
    }

    eml->out.out.failed |= raw.failed | words.failed;
    tf_buf_free(&raw);
    tf_buf_free(&words);
    tf_out_flush(&eml->out);
}


static int
tf_eml_part(tf_eml_t *eml, const char *data, size_t len, unsigned depth)
{
    int            rc;
    tf_eml_part_t  part;

    if (depth > eml->ex->limits->v[TF_LIMIT_depth]) {
        return tf_extract_limit(eml->ex, TF_LIMIT_depth,
                                "its parts are nested too deeply");
    }

    if (++eml->ex->members > eml->ex->limits->v[TF_LIMIT_members]) {
        return tf_extract_limit(eml->ex, TF_LIMIT_members,
                                "has too many parts");
    }

    if (eml->out.over || tf_extract_late(eml->ex) != 0) {
        return -1;
    }

    memset(&part, 0, sizeof(tf_eml_part_t));
    part.data = data;
    part.len = len;
    tf_eml_read(eml, &part);

    rc = strncasecmp(part.type.data, "multipart/", 10) == 0
         ? tf_eml_multipart(eml, &part, depth) : tf_eml_leaf(eml, &part);

    eml->out.out.failed |= part.type.failed | part.encoding.failed
                           | part.name.failed;
    tf_eml_free(&part);

    return rc;
}


static void
tf_eml_read(tf_eml_t *eml, tf_eml_part_t *part)
{
    tf_buf_t  disposition = TF_BUF_INIT;

    part->body = tf_mime_body(part->data, part->len);

    if (tf_mime_header(part->data, part->body, "Content-Type", eml->line,
                       &part->type) != 0 || part->type.len == 0)
    {
        tf_buf_reset(&part->type);
        tf_buf_puts(&part->type, "text/plain");
    }

    (void) tf_mime_header(part->data, part->body, "Content-Transfer-Encoding",
                          eml->line, &part->encoding);
    tf_buf_append(&part->encoding, "", 0);

    if (tf_mime_header(part->data, part->body, "Content-Disposition",
                       eml->line, &disposition) == 0 && disposition.len)
    {
        part->attached = strncasecmp(disposition.data, "attachment", 10) == 0;
        (void) tf_mime_param(disposition.data, "filename", &part->name);
    }

    if (part->name.len == 0 && !part->type.failed) {
        (void) tf_mime_param(part->type.data, "name", &part->name);
    }

    part->type.failed |= disposition.failed;
    tf_buf_free(&disposition);

    if (part->type.failed || part->encoding.failed) {
        /* nothing below looks at what could not be copied */
        tf_buf_free(&part->type);
        tf_buf_puts(&part->type, "x");
        tf_buf_free(&part->encoding);
        tf_buf_puts(&part->encoding, "x");
    }
}


static void
tf_eml_free(tf_eml_part_t *part)
{
    tf_buf_free(&part->type);
    tf_buf_free(&part->encoding);
    tf_buf_free(&part->name);
}


static int
tf_eml_multipart(tf_eml_t *eml, const tf_eml_part_t *part, unsigned depth)
{
    int          rc, last, alternative, rank, best;
    size_t       pos, from, next, best_from, best_len;
    tf_buf_t     boundary = TF_BUF_INIT;
    const char  *s;
    size_t       len;

    s = part->data + part->body;
    len = part->len - part->body;

    if (tf_mime_param(part->type.data, "boundary", &boundary) != 0
        || boundary.len == 0 || boundary.len > 200)
    {
        tf_buf_free(&boundary);
        return 0;
    }

    alternative = strncasecmp(part->type.data, "multipart/alternative", 21)
                  == 0;
    rc = 0;
    last = 0;
    best = -1;
    best_from = 0;
    best_len = 0;

    (void) tf_eml_boundary(s, len, boundary.data, 0, &from, &last);

    for (pos = from; !last && pos < len && rc == 0; pos = next) {
        from = tf_eml_boundary(s, len, boundary.data, pos, &next, &last);

        if (!alternative) {
            rc = tf_eml_part(eml, s + pos, from - pos, depth + 1);
            continue;
        }

        rank = tf_eml_rank(eml, s + pos, from - pos);

        if (rank > best) {
            best = rank;
            best_from = pos;
            best_len = from - pos;
        }

        rc = tf_extract_late(eml->ex);
    }

    if (best >= 0 && rc == 0) {
        rc = tf_eml_part(eml, s + best_from, best_len, depth + 1);
    }

    tf_buf_free(&boundary);

    return rc;
}


/* Which of alternatives: plain text with something in it, then the rest. */

static int
tf_eml_rank(tf_eml_t *eml, const char *data, size_t len)
{
    int            rank;
    size_t         i;
    tf_eml_part_t  part;

    memset(&part, 0, sizeof(tf_eml_part_t));
    part.data = data;
    part.len = len;
    tf_eml_read(eml, &part);

    for (i = part.body; i < len && strchr(" \t\r\n", data[i]) != NULL
         && data[i]; i++)
    {
        /* void */
    }

    rank = i == len ? 0
           : strncasecmp(part.type.data, "text/plain", 10) == 0 ? 3
           : strncasecmp(part.type.data, "text/html", 9) == 0 ? 2 : 1;

    tf_eml_free(&part);

    return rank;
}


/*
 * Looks for a boundary from pos on.  Returns where the part before it ends,
 * and in *start where the next one starts.
 */

static size_t
tf_eml_boundary(const char *s, size_t len, const char *boundary, size_t pos,
    size_t *start, int *last)
{
    size_t       n, mark, end;
    const char  *nl;

    mark = strlen(boundary);

    for (/* void */; pos < len; pos = end) {
        nl = memchr(s + pos, '\n', len - pos);
        n = nl == NULL ? len - pos : (size_t) (nl - s) - pos;
        end = nl == NULL ? len : pos + n + 1;

        if (n >= mark + 2 && s[pos] == '-' && s[pos + 1] == '-'
            && memcmp(s + pos + 2, boundary, mark) == 0)
        {
            *last = n >= mark + 4 && s[pos + 2 + mark] == '-'
                    && s[pos + 3 + mark] == '-';
            *start = end;
            return pos;
        }
    }

    *last = 1;
    *start = len;

    return len;
}


static int
tf_eml_leaf(tf_eml_t *eml, const tf_eml_part_t *part)
{
    int          text, html, mail;
    tf_buf_t     bytes = TF_BUF_INIT;

    text = strncasecmp(part->type.data, "text/plain", 10) == 0;
    html = strncasecmp(part->type.data, "text/html", 9) == 0;
    mail = strncasecmp(part->type.data, "message/rfc822", 14) == 0;

    tf_mime_decode(part->encoding.data, part->data + part->body,
                   part->len - part->body, &bytes);

    if (bytes.len == 0) {
        eml->out.out.failed |= bytes.failed;
        tf_buf_free(&bytes);
        return 0;
    }

    if (mail) {
        tf_eml_attachment(eml, part->name.len ? part->name.data
                                              : "message.eml", 1, &bytes);

    } else if (part->attached || (part->name.len && !text && !html)) {
        tf_eml_attachment(eml, part->name.len ? part->name.data : "", 1,
                          &bytes);

    } else if (text || html) {
        tf_eml_text(eml, part, &bytes);

        if (html) {
            tf_eml_attachment(eml, "mail.html", 0, &bytes);

        } else {
            tf_charset_clean(bytes.data, bytes.len);
            tf_out_flush(&eml->out);
            tf_buf_puts(&eml->out.out, eml->out.out.len ? "\n\n" : "");
            tf_buf_append(&eml->out.out, bytes.data, bytes.len);

            if (eml->out.limit
                && (int64_t) eml->out.out.len > eml->out.limit)
            {
                eml->out.over = 1;
            }

            tf_out_flush(&eml->out);
        }
    }

    eml->out.out.failed |= bytes.failed;
    tf_buf_free(&bytes);

    return 0;
}


/* To UTF-8: of the charset that is named, or as it is if it is that. */

static void
tf_eml_text(tf_eml_t *eml, const tf_eml_part_t *part, tf_buf_t *bytes)
{
    tf_buf_t  charset = TF_BUF_INIT, utf8 = TF_BUF_INIT;

    if (tf_mime_param(part->type.data, "charset", &charset) != 0
        || charset.len == 0
        || tf_charset_decode(charset.data, charset.len, bytes->data,
                             bytes->len, &utf8) != 0)
    {
        if (tf_utf8_valid(bytes->data, bytes->len) != bytes->len) {
            (void) tf_charset_decode("windows-1252", 12, bytes->data,
                                     bytes->len, &utf8);
        }
    }

    eml->out.out.failed |= charset.failed | utf8.failed;
    tf_buf_free(&charset);

    if (utf8.len) {
        tf_buf_free(bytes);
        *bytes = utf8;

    } else {
        tf_buf_free(&utf8);
    }
}


/* By the table of formats, for its name; below a heading if it has one. */

static void
tf_eml_attachment(tf_eml_t *eml, const char *name, int heading,
    const tf_buf_t *bytes)
{
    char        why[400], title[TF_EML_NAME];
    tf_text_t   text;

    (void) snprintf(title, sizeof(title), "Attachment %.400s", name);
    title[tf_utf8_valid(title, strlen(title))] = '\0';
    tf_extract_printable(title);

    if (heading && tf_extract_format(name) == NULL
        && tf_extract_sniff(name, bytes->data, bytes->len) == NULL)
    {
        return;
    }

    if (tf_extract_inner(eml->ex, name, bytes->data, bytes->len, &text, why,
                         sizeof(why)) != 0)
    {
        if (heading) {
            tf_text_note(eml->out.text, "%s is left out: it %s", title, why);
        }
        return;
    }

    tf_out_adopt(&eml->out, heading ? title : "", &text);
    tf_text_free(&text);
}
