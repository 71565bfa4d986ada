#include "ngx_http_trifecta_body.h"
#include "ngx_http_trifecta_files.h"
#include "ngx_http_trifecta_multipart.h"


/*
 * The form of an upload.  Its parts come in any order; each may be there
 * once, and what is not known is ignored.
 */

#define NGX_HTTP_TRIFECTA_FILE_P_PURPOSE  0
#define NGX_HTTP_TRIFECTA_FILE_P_ANCHOR   1
#define NGX_HTTP_TRIFECTA_FILE_P_SECONDS  2


struct ngx_http_trifecta_file_form_s {
    ngx_http_request_t              *request;
    tf_multipart_t                   form;

    ngx_http_trifecta_file_value_t   values[NGX_HTTP_TRIFECTA_FILE_FIELDS];
    ngx_http_trifecta_file_value_t  *value;     /* of this part, or NULL */

    ngx_str_t                        name;
    off_t                            start;
    off_t                            bytes;
    off_t                            max;
    unsigned                         file:1;    /* it was there */
    unsigned                         in_file:1;

    tf_error_t                       code;      /* of a mistake of ours */
    const char                      *param;
};


static const ngx_str_t  ngx_http_trifecta_file_fields[] = {
    ngx_string("purpose"),
    ngx_string("expires_after[anchor]"),
    ngx_string("expires_after[seconds]")
};


static const char *
ngx_http_trifecta_file_wrong(ngx_http_trifecta_file_form_t *form,
    tf_error_t code, const char *param, const char *text)
{
    form->code = code;
    form->param = param;

    return text;
}


/*
 * The name without the folders that some clients send along.  Nothing here
 * ever makes a path of it; but who downloads may.
 */

static const char *
ngx_http_trifecta_file_form_name(ngx_http_trifecta_file_form_t *form,
    const tf_multipart_part_t *part)
{
    size_t       i, len;
    u_char      *name;
    ngx_uint_t   blank;

    name = (u_char *) part->filename;
    len = part->filename_len;

    for (i = len; i > 0; i--) {
        if (name[i - 1] == '/' || name[i - 1] == '\\') {
            name += i;
            len -= i;
            break;
        }
    }

    for (i = 0; i < len; i++) {
        if (name[i] < 0x20 || name[i] == 0x7f) {
            return ngx_http_trifecta_file_wrong(form, TF_E_INVALID_VALUE,
                                                "file", "the name of the file "
                                                "has a control character");
        }
    }

    if (len > NGX_HTTP_TRIFECTA_FILE_NAME_MAX) {
        return ngx_http_trifecta_file_wrong(form, TF_E_INVALID_VALUE, "file",
                                            "the name of the file is longer "
                                            "than 255 bytes");
    }

    if (!ngx_http_trifecta_is_text(name, len)) {
        return ngx_http_trifecta_file_wrong(form, TF_E_INVALID_VALUE, "file",
                                            "the name of the file is no "
                                            "UTF-8");
    }

    (void) ngx_http_trifecta_utf8_length(name, len, &blank);

    if (blank || (len == 1 && name[0] == '.')
        || (len == 2 && name[0] == '.' && name[1] == '.'))
    {
        return ngx_http_trifecta_file_wrong(form, TF_E_INVALID_VALUE, "file",
                                            "the part \"file\" needs a "
                                            "filename");
    }

    form->name.len = len;
    form->name.data = ngx_pnalloc(form->request->pool, len);
    if (form->name.data == NULL) {
        return ngx_http_trifecta_file_wrong(form, TF_E_INTERNAL, NULL,
                                            "no memory");
    }

    ngx_memcpy(form->name.data, name, len);

    return NULL;
}


static const char *
ngx_http_trifecta_file_part(void *data, const tf_multipart_part_t *part)
{
    ngx_http_trifecta_file_form_t *form = data;

    ngx_uint_t                       i;
    ngx_http_trifecta_file_value_t  *value;

    form->value = NULL;

    if (part->name_len == 4 && ngx_memcmp(part->name, "file", 4) == 0) {

        if (form->file) {
            return ngx_http_trifecta_file_wrong(form, TF_E_INVALID_VALUE,
                                                "file", "there is more than "
                                                "one \"file\": send one at a "
                                                "time");
        }

        form->file = 1;
        form->in_file = 1;
        form->start = (off_t) form->form.start;

        return ngx_http_trifecta_file_form_name(form, part);
    }

    for (i = 0; i < NGX_HTTP_TRIFECTA_FILE_FIELDS; i++) {

        if (ngx_http_trifecta_file_fields[i].len != part->name_len
            || ngx_memcmp(ngx_http_trifecta_file_fields[i].data, part->name,
                          part->name_len)
               != 0)
        {
            continue;
        }

        value = &form->values[i];

        if (value->seen) {
            return ngx_http_trifecta_file_wrong(form, TF_E_INVALID_VALUE,
                             (char *) ngx_http_trifecta_file_fields[i].data,
                             "a part of the form is there twice");
        }

        value->seen = 1;
        form->value = value;
    }

    return NULL;
}


static const char *
ngx_http_trifecta_file_bytes(void *data, const unsigned char *p, size_t len)
{
    ngx_http_trifecta_file_form_t *form = data;

    ngx_uint_t                       i;
    ngx_http_trifecta_file_value_t  *value;

    value = form->value;

    if (form->in_file && (off_t) form->form.length > form->max) {
        return ngx_http_trifecta_file_wrong(form, TF_E_BODY_TOO_LARGE,
                                            "file", "the file is too large");
    }

    if (value == NULL) {
        return NULL;
    }

    if (len > NGX_HTTP_TRIFECTA_FILE_VALUE_MAX - value->len) {
        i = value - form->values;

        return ngx_http_trifecta_file_wrong(form, TF_E_INVALID_VALUE,
                             (char *) ngx_http_trifecta_file_fields[i].data,
                             "a part of the form is longer than 64 bytes");
    }

    ngx_memcpy(value->text + value->len, p, len);
    value->len += len;

    return NULL;
}


static const char *
ngx_http_trifecta_file_part_end(void *data)
{
    ngx_http_trifecta_file_form_t *form = data;

    if (form->in_file) {
        form->bytes = (off_t) form->form.length;
        form->in_file = 0;
    }

    form->value = NULL;

    return NULL;
}


static const tf_multipart_sink_t  ngx_http_trifecta_file_sink = {
    ngx_http_trifecta_file_part,
    ngx_http_trifecta_file_bytes,
    ngx_http_trifecta_file_part_end
};


ngx_http_trifecta_file_form_t *
ngx_http_trifecta_file_form_create(ngx_http_request_t *r)
{
    ngx_http_trifecta_file_form_t  *form;
    ngx_http_trifecta_main_conf_t  *mcf;

    form = ngx_pcalloc(r->pool, sizeof(ngx_http_trifecta_file_form_t));
    if (form == NULL) {
        return NULL;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    form->request = r;
    form->max = mcf->file_size;
    form->code = TF_E_COUNT;

    return form;
}


/* An error of the form, or of what it says. */

static ngx_int_t
ngx_http_trifecta_file_form_error(ngx_http_trifecta_file_form_t *form,
    const char *text)
{
    ngx_http_request_t  *r;

    r = form->request;

    if (form->code == TF_E_BODY_TOO_LARGE) {
        return ngx_http_trifecta_error(r, form->code, form->param,
                                       "the file is larger than %O bytes",
                                       form->max);
    }

    if (form->code != TF_E_COUNT) {
        return ngx_http_trifecta_error(r, form->code, form->param, "%s",
                                       text);
    }

    return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, NULL,
                                   "the form is broken: %s", text);
}


ngx_int_t
ngx_http_trifecta_file_form_start(ngx_http_trifecta_file_form_t *form)
{
    const char          *err;
    ngx_str_t            type, *encoding;
    ngx_http_request_t  *r;

    r = form->request;
    encoding = ngx_http_trifecta_header_in(r, "content-encoding");

    ngx_str_null(&type);

    if (r->headers_in.content_type) {
        type = r->headers_in.content_type->value;
    }

    if (type.len < sizeof("multipart/form-data") - 1
        || ngx_strncasecmp(type.data, (u_char *) "multipart/form-data",
                           sizeof("multipart/form-data") - 1)
           != 0
        || (encoding != NULL
            && !(encoding->len == sizeof("identity") - 1
                 && ngx_strncasecmp(encoding->data, (u_char *) "identity",
                                    encoding->len)
                    == 0)))
    {
        return ngx_http_trifecta_error(r, TF_E_UNSUPPORTED_MEDIA, NULL,
                                       "the body must be multipart/form-data, "
                                       "without a content encoding");
    }

    err = tf_multipart_init(&form->form, (char *) type.data, type.len,
                            &ngx_http_trifecta_file_sink, form);

    return err ? ngx_http_trifecta_file_form_error(form, err) : NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_file_form_feed(ngx_http_trifecta_file_form_t *form,
    u_char *p, size_t len)
{
    const char  *err;

    err = tf_multipart_feed(&form->form, p, len);

    return err ? ngx_http_trifecta_file_form_error(form, err) : NGX_DECLINED;
}


static ngx_uint_t
ngx_http_trifecta_file_value_is(ngx_http_trifecta_file_value_t *value,
    const char *word)
{
    return value->len == ngx_strlen(word)
           && ngx_memcmp(value->text, word, value->len) == 0;
}


static ngx_int_t
ngx_http_trifecta_file_form_ttl(ngx_http_trifecta_file_form_t *form,
    time_t *ttl)
{
    ngx_http_request_t              *r;
    ngx_http_trifecta_file_value_t  *anchor, *seconds;

    r = form->request;
    anchor = &form->values[NGX_HTTP_TRIFECTA_FILE_P_ANCHOR];
    seconds = &form->values[NGX_HTTP_TRIFECTA_FILE_P_SECONDS];

    *ttl = 0;

    if (!anchor->seen && !seconds->seen) {
        return NGX_DECLINED;
    }

    if (!ngx_http_trifecta_file_value_is(anchor, "created_at")) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE,
                                       "expires_after",
                                       "\"expires_after[anchor]\" must be "
                                       "\"created_at\"");
    }

    *ttl = ngx_atotm(seconds->text, seconds->len);

    if (*ttl < NGX_HTTP_TRIFECTA_FILE_TTL_MIN
        || *ttl > NGX_HTTP_TRIFECTA_FILE_TTL_MAX)
    {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE,
                                       "expires_after",
                                       "\"expires_after[seconds]\" must be a "
                                       "number between %d and %d",
                                       NGX_HTTP_TRIFECTA_FILE_TTL_MIN,
                                       NGX_HTTP_TRIFECTA_FILE_TTL_MAX);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_trifecta_file_form_end(ngx_http_trifecta_file_form_t *form,
    ngx_http_trifecta_file_wanted_t *wanted)
{
    const char                      *err;
    ngx_http_request_t              *r;
    ngx_http_trifecta_file_value_t  *purpose;

    r = form->request;
    err = tf_multipart_done(&form->form);

    if (err) {
        return ngx_http_trifecta_file_form_error(form, err);
    }

    if (!form->file) {
        return ngx_http_trifecta_error(r, TF_E_MISSING_FIELD, "file",
                                       "the form has no part \"file\"");
    }

    purpose = &form->values[NGX_HTTP_TRIFECTA_FILE_P_PURPOSE];

    if (!purpose->seen) {
        return ngx_http_trifecta_error(r, TF_E_MISSING_FIELD, "purpose",
                                       "the form has no part \"purpose\"");
    }

    if (!ngx_http_trifecta_file_value_is(purpose, "batch")) {
        return ngx_http_trifecta_error(r, TF_E_INVALID_VALUE, "purpose",
                                       "\"purpose\" must be \"batch\": there "
                                       "is no other use of files yet");
    }

    wanted->name = form->name;
    wanted->purpose.data = purpose->text;
    wanted->purpose.len = purpose->len;
    wanted->start = form->start;
    wanted->bytes = form->bytes;

    return ngx_http_trifecta_file_form_ttl(form, &wanted->ttl);
}
