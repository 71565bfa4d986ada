/* links: sidecar/rag/flow.c sidecar/rag/cite.c sidecar/rag/support.c
   sidecar/rag/safe.c sidecar/rag/safe_scan.c sidecar/rag/safe_url.c
   sidecar/rag/safe_tag.c
   sidecar/rag/safe_json.c sidecar/rag/units.c
   sidecar/extract/blocks.c sidecar/extract/text.c sidecar/extract/meta.c
   sidecar/base/buf.c */

/*
 * What a model may write, cut anywhere: what leaves piece by piece is what
 * leaves of the whole, in whole characters, and nothing that acts is in it.
 */

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "rag/flow.h"


#define FUZZ_HELD  (TF_SAFE_URL + TF_CITE_CODE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const tf_llm_passage_t  passage = {
    .heading = "Timeouts",
    .body = "The default is 60s. It is set between two reads. "
            "See https://nginx.org/ and (//nginx.org/x)."
};


static int
leaves(void *arg, const char *data, size_t len)
{
    tf_buf_t  *all = arg;

    if (len == 0) {
        __builtin_trap();
    }

    tf_buf_append(all, data, len);

    return 0;
}


/* Each link that is left is known, and none would be run. */

static void
is_safe(const char *s, size_t len)
{
    size_t             i, n;
    static const char  known[] = "https://nginx.org/";

    for (i = 0; i < len; i++) {
        if (i > 0 && s[i - 1] != ' ' && s[i - 1] != '(') {
            continue;
        }

        if (len - i >= 8 && strncasecmp(s + i, "<script>", 8) == 0) {
            __builtin_trap();
        }

        if (len - i > 11 && strncasecmp(s + i, "javascript:", 11) == 0
            && (unsigned char) s[i + 11] > ' ')
        {
            __builtin_trap();
        }

        for (n = 0; n < sizeof(known) - 1 && n < len - i
             && (s[i + n] == '/' || s[i + n] == ':' || s[i + n] == '.'
                 || (s[i + n] >= 'a' && s[i + n] <= 'z')); n++)
        {
            /* void */
        }

        if (n >= 8 && memcmp(s + i, known, 8) == 0
            && memcmp(s + i, known, n) != 0 && s[i + n - 1] == '/')
        {
            __builtin_trap();
        }
    }
}


/* No tag has a value in it. */

static void
has_no_attributes(const char *s, size_t len)
{
    size_t  i, k;

    for (i = 0; i + 1 < len; i++) {
        if (s[i] != '<') {
            continue;
        }

        k = i + 1 + (s[i + 1] == '/');

        if (k == len || !((s[k] | 0x20) >= 'a' && (s[k] | 0x20) <= 'z')) {
            continue;
        }

        while (k < len && s[k] != '>' && s[k] != '=') {
            k++;
        }

        if (k == len || s[k] == '=') {
            __builtin_trap();
        }
    }
}


static void
check(const tf_flow_t *f)
{
    size_t  i;

    for (i = 0; i < f->cite.ncitations; i++) {
        if (f->cite.citations[i].passage != 0
            || f->cite.citations[i].start >= f->cite.citations[i].end
            || f->cite.citations[i].end > strlen(passage.body))
        {
            __builtin_trap();
        }
    }

    is_safe(f->body.data, f->body.len);

    if (f->request->options == NULL) {
        has_no_attributes(f->body.data, f->body.len);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i, n, step;
    tf_buf_t           left = TF_BUF_INIT;
    tf_flow_t          whole, pieces;
    tf_llm_request_t   request;

    static const json_t            format;
    static const tf_llm_options_t  json = { .format = &format };

    if (size < 1) {
        return 0;
    }

    memset(&request, 0, sizeof(request));
    request.question = "How long?";
    request.passages = &passage;
    request.npassages = 1;
    request.options = data[0] & 0x40 ? &json : NULL;

    step = data[0];
    data++;
    size--;

    tf_flow_begin(&whole, &request, NULL, NULL);
    tf_flow_begin(&pieces, &request, leaves, &left);

    (void) tf_flow_text(&whole, (const char *) data, size);
    (void) tf_flow_end(&whole);
    check(&whole);

    /* pieces of one size, or each of another */

    for (i = 0; i < size; i += n) {
        n = 1 + (step & 0x80 ? (step * (i + 7)) % 31 : step);
        n = size - i < n ? size - i : n;

        (void) tf_flow_text(&pieces, (const char *) data + i, n);

        if (pieces.cite.in.len - pieces.cite.pos > FUZZ_HELD
            || pieces.cite.in.len > FUZZ_HELD + 4 * TF_CITE_CLAIM + 256
            || pieces.safe.in.len > FUZZ_HELD)
        {
            __builtin_trap();
        }
    }

    (void) tf_flow_end(&pieces);

    if (left.len != whole.body.len || pieces.body.len != whole.body.len
        || (left.len > 0
            && (memcmp(left.data, whole.body.data, left.len) != 0
                || memcmp(pieces.body.data, left.data, left.len) != 0)))
    {
        __builtin_trap();
    }

    tf_buf_free(&left);
    tf_flow_free(&whole);
    tf_flow_free(&pieces);

    return 0;
}
