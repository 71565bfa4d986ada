#define _GNU_SOURCE     /* memmem() */

#include "rag/flow.h"

#include <string.h>


/* A URL is known only as a whole: the beginning of one is another one. */

static int
tf_flow_has(const char *text, const char *url, size_t len)
{
    const char  *p;

    for (p = text; p != NULL; p++) {
        p = memmem(p, strlen(p), url, len);

        if (p == NULL) {
            break;
        }

        if ((unsigned char) p[len] <= ' '
            || strchr(".,;:!?'*_()<>[]\"`\\|^", p[len]) != NULL)
        {
            return 1;
        }
    }

    return 0;
}


/* Whether the asker or a passage has the URL word for word. */

static int
tf_flow_known(void *arg, const char *url, size_t len)
{
    size_t                   i;
    const tf_flow_t         *f = arg;
    const tf_llm_request_t  *request;

    request = f->request;

    if (tf_flow_has(request->question, url, len)
        || tf_flow_has(request->instructions, url, len))
    {
        return 1;
    }

    for (i = 0; i < request->npassages; i++) {
        if (tf_flow_has(request->passages[i].body, url, len)) {
            return 1;
        }
    }

    return 0;
}


/* The bytes of s that are whole characters, or never will be. */

static size_t
tf_flow_whole(const char *s, size_t len)
{
    size_t         i, want;
    unsigned char  c;

    for (i = 1; i <= 3 && i <= len; i++) {
        c = (unsigned char) s[len - i];

        if ((c & 0xc0) == 0x80) {
            continue;
        }

        want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

        return want > i ? len - i : len;
    }

    return len;
}


static int
tf_flow_give(tf_flow_t *f, int ends)
{
    size_t  from, len;

    if (f->out == NULL || f->body.len == f->given) {
        return 0;
    }

    from = f->given;
    len = f->body.len - from;

    if (!ends) {
        len = tf_flow_whole(f->body.data + from, len);
    }

    if (len == 0) {
        return 0;
    }

    f->given += len;

    return f->out(f->arg, f->body.data + from, len);
}


void
tf_flow_begin(tf_flow_t *f, const tf_llm_request_t *request, tf_flow_pt out,
    void *arg)
{
    memset(f, 0, sizeof(tf_flow_t));
    f->request = request;
    f->out = out;
    f->arg = arg;
    tf_cite_begin(&f->cite, request, &f->cited);
    tf_safe_begin(&f->safe, &f->body, tf_flow_known, f);
    tf_safe_json_begin(&f->json, &f->safe, &f->body);
}


static int
tf_flow_on(tf_flow_t *f, int ends)
{
    if (f->cited.failed) {
        return -1;
    }

    if (tf_safe_text(&f->safe, f->cited.data, f->cited.len) != 0) {
        return -1;
    }

    tf_buf_reset(&f->cited);

    if (ends && tf_safe_end(&f->safe) != 0) {
        return -1;
    }

    return tf_flow_give(f, ends);
}


static int
tf_flow_is_json(const tf_flow_t *f)
{
    return f->request->options != NULL && f->request->options->format != NULL;
}


int
tf_flow_text(tf_flow_t *f, const char *text, size_t len)
{
    if (tf_flow_is_json(f)) {
        return tf_safe_json_text(&f->json, text, len) == 0
               ? tf_flow_give(f, 0) : -1;
    }

    return tf_cite_text(&f->cite, text, len) == 0 ? tf_flow_on(f, 0) : -1;
}


int
tf_flow_end(tf_flow_t *f)
{
    if (tf_flow_is_json(f)) {
        return tf_safe_json_end(&f->json) == 0 ? tf_flow_give(f, 1) : -1;
    }

    return tf_cite_end(&f->cite) == 0 ? tf_flow_on(f, 1) : -1;
}


void
tf_flow_reset(tf_flow_t *f)
{
    tf_flow_pt               out;
    void                    *arg;
    const tf_llm_request_t  *request;

    request = f->request;
    out = f->out;
    arg = f->arg;

    tf_flow_free(f);
    tf_flow_begin(f, request, out, arg);
}


void
tf_flow_free(tf_flow_t *f)
{
    tf_cite_free(&f->cite);
    tf_safe_free(&f->safe);
    tf_safe_json_free(&f->json);
    tf_buf_free(&f->cited);
    tf_buf_free(&f->body);
}
