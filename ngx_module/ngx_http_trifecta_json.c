#include "ngx_http_trifecta_json.h"

#include <trifecta/json.h>
#include <trifecta/json_read.h>


#define NGX_HTTP_TRIFECTA_JSON_LAST  253402300799999   /* ms, the year 9999 */


static u_char *ngx_http_trifecta_json_reserve(ngx_http_trifecta_json_t *j,
    size_t len);
static ngx_uint_t ngx_http_trifecta_is_blank(uint32_t c);


json_t *
ngx_http_trifecta_json_parse(const u_char *data, size_t len,
    const char **err)
{
    json_t        *root;
    json_error_t   error;

    if (len == 0) {
        *err = "the body is empty";
        return NULL;
    }

    root = tf_json_read(data, len);

    if (root == NULL) {

        if (tf_json_too_deep(data, len)) {
            *err = "the JSON is nested too deeply";
            return NULL;
        }

        root = json_loadb((const char *) data, len, JSON_REJECT_DUPLICATES,
                          &error);
    }

    if (root == NULL) {

        /* the text of jansson quotes the input: it is not passed on */

        switch (json_error_code(&error)) {

        case json_error_duplicate_key:
            *err = "an object has two members of the same name";
            break;

        case json_error_invalid_utf8:
            *err = "the body is not UTF-8";
            break;

        case json_error_null_character:
        case json_error_null_byte_in_key:
            *err = "NUL characters are not accepted";
            break;

        case json_error_numeric_overflow:
            *err = "a number is out of range";
            break;

        case json_error_end_of_input_expected:
            *err = "something follows the JSON value";
            break;

        case json_error_premature_end_of_input:
            *err = "the JSON is cut off";
            break;

        case json_error_out_of_memory:
            *err = NULL;
            break;

        default:
            *err = "the body is not valid JSON";
            break;
        }

        return NULL;
    }

    if (!json_is_object(root)) {
        json_decref(root);
        *err = "the body must be a JSON object";
        return NULL;
    }

    return root;
}


json_t *
ngx_http_trifecta_json_load(const void *data, size_t len, size_t flags)
{
    json_t  *root;

    root = tf_json_read(data, len);

    return root ? root : json_loadb(data, len, flags, NULL);
}


/* Control characters, spaces of every width, and what has no width. */

static ngx_uint_t
ngx_http_trifecta_is_blank(uint32_t c)
{
    return c <= 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad || c == 0x1680
           || (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f)
           || (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0xfeff;
}


ngx_uint_t
ngx_http_trifecta_is_text(const u_char *p, size_t len)
{
    size_t         size;
    uint32_t       c;
    const u_char  *end;

    end = p + len;

    for ( ;; ) {
        p += tf_text_ascii(p, end - p);

        if (p == end) {
            return 1;
        }

        size = tf_text_char(p, end, &c);

        if (size == 0 || c == 0) {
            return 0;
        }

        p += size;
    }
}


size_t
ngx_http_trifecta_utf8_length(const u_char *p, size_t len, ngx_uint_t *blank)
{
    size_t         n, size;
    uint32_t       c;
    const u_char  *end;

    *blank = 1;

    for (n = 0, end = p + len; p < end; n++) {

        if (!*blank) {
            size = tf_text_ascii(p, end - p);
            p += size;
            n += size;

            if (p == end) {
                break;
            }
        }

        size = tf_text_char(p, end, &c);

        if (size == 0) {
            size = 1;
            c = 0xfffd;
        }

        if (!ngx_http_trifecta_is_blank(c)) {
            *blank = 0;
        }

        p += size;
    }

    return n;
}


void
ngx_http_trifecta_json_init(ngx_http_trifecta_json_t *j, ngx_pool_t *pool,
    size_t size)
{
    ngx_memzero(j, sizeof(ngx_http_trifecta_json_t));

    j->pool = pool;

    (void) ngx_http_trifecta_json_reserve(j, size);
}


/* Room for len more bytes, or NULL. */

static u_char *
ngx_http_trifecta_json_reserve(ngx_http_trifecta_json_t *j, size_t len)
{
    u_char  *p;
    size_t   used, size;

    if (j->failed) {
        return NULL;
    }

    if ((size_t) (j->end - j->last) >= len) {
        return j->last;
    }

    used = j->last - j->start;
    size = 2 * (j->end - j->start);

    if (size < used + len) {
        size = used + len;
    }

    p = ngx_pnalloc(j->pool, size);
    if (p == NULL) {
        j->failed = 1;
        return NULL;
    }

    if (used) {
        ngx_memcpy(p, j->start, used);
    }

    if (j->start) {
        (void) ngx_pfree(j->pool, j->start);
    }

    j->start = p;
    j->last = p + used;
    j->end = p + size;

    return j->last;
}


void
ngx_http_trifecta_json_raw(ngx_http_trifecta_json_t *j, const void *data,
    size_t len)
{
    if (len && ngx_http_trifecta_json_reserve(j, len)) {
        j->last = ngx_cpymem(j->last, data, len);
    }
}


void
ngx_http_trifecta_json_string(ngx_http_trifecta_json_t *j, const void *data,
    size_t len)
{
    u_char         esc;
    size_t         size;
    uint32_t       c;
    const u_char  *p, *end, *plain;

    p = data;
    plain = p;
    end = p + len;

    ngx_http_trifecta_json_lit(j, "\"");

    for ( ;; ) {
        p += tf_text_plain(p, end - p);

        if (p == end) {
            break;
        }

        size = tf_text_char(p, end, &c);

        if (size > 1) {
            p += size;
            continue;
        }

        ngx_http_trifecta_json_raw(j, plain, p - plain);

        if (size == 0) {
            ngx_http_trifecta_json_lit(j, "\xef\xbf\xbd");

        } else if (*p == '"' || *p == '\\') {
            ngx_http_trifecta_json_lit(j, "\\");
            ngx_http_trifecta_json_raw(j, p, 1);

        } else {
            esc = (*p == '\n') ? 'n' : (*p == '\r') ? 'r'
                  : (*p == '\t') ? 't' : 0;

            if (esc) {
                ngx_http_trifecta_json_lit(j, "\\");
                ngx_http_trifecta_json_raw(j, &esc, 1);

            } else {
                ngx_http_trifecta_json_printf(j, "\\u00%02xd", (int) *p);
            }
        }

        p++;
        plain = p;
    }

    ngx_http_trifecta_json_raw(j, plain, end - plain);
    ngx_http_trifecta_json_lit(j, "\"");
}


/* For numbers and short pieces: at most 255 bytes a call. */

void
ngx_http_trifecta_json_printf(ngx_http_trifecta_json_t *j, const char *fmt,
    ...)
{
    u_char   *last;
    va_list   args;

    if (ngx_http_trifecta_json_reserve(j, 256) == NULL) {
        return;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(j->last, j->last + 255, fmt, args);
    va_end(args);

    j->last = last;
}


/* The last n digits of a number, and what stands behind it. */

static u_char *
ngx_http_trifecta_json_digits(u_char *p, int number, size_t n, char behind)
{
    size_t  i;

    for (i = n; i > 0; i--) {
        p[i - 1] = (u_char) ('0' + number % 10);
        number /= 10;
    }

    p[n] = (u_char) behind;

    return p + n + 1;
}


void
ngx_http_trifecta_json_time(ngx_http_trifecta_json_t *j, int64_t ms)
{
    u_char    *p, text[sizeof("\"2000-01-01T00:00:00.000Z\"") - 1];
    ngx_tm_t   tm;

    /* of four digits is the year until then, and so long is the text */

    ms = ngx_max(ms, 0);
    ms = ngx_min(ms, NGX_HTTP_TRIFECTA_JSON_LAST);

    ngx_gmtime((time_t) (ms / 1000), &tm);

    /* every answer has one, and printf() would cost as much as the rest */

    p = text;
    *p++ = '"';
    p = ngx_http_trifecta_json_digits(p, tm.ngx_tm_year, 4, '-');
    p = ngx_http_trifecta_json_digits(p, tm.ngx_tm_mon, 2, '-');
    p = ngx_http_trifecta_json_digits(p, tm.ngx_tm_mday, 2, 'T');
    p = ngx_http_trifecta_json_digits(p, tm.ngx_tm_hour, 2, ':');
    p = ngx_http_trifecta_json_digits(p, tm.ngx_tm_min, 2, ':');
    p = ngx_http_trifecta_json_digits(p, tm.ngx_tm_sec, 2, '.');
    p = ngx_http_trifecta_json_digits(p, (int) (ms % 1000), 3, 'Z');
    *p++ = '"';

    ngx_http_trifecta_json_raw(j, text, p - text);
}
