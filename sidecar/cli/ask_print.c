#include "cli/ask.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"


/* What others wrote is text: nothing in it steers the terminal. */

static void
tf_ask_text(FILE *out, const char *s)
{
    const unsigned char  *p;

    for (p = (const unsigned char *) s; *p; p++) {
        if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f) {
            (void) putc('?', out);

        } else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f) {
            (void) putc('?', out);      /* C1 control characters */
            p++;

        } else {
            (void) putc(*p, out);
        }
    }
}


static const char *
tf_ask_next_step(long status)
{
    switch (status) {

    case 401:
        return "Set TRIFECTA_TOKEN to a token that nginx accepts: "
               "TRIFECTA_TOKEN=$(trifecta token --sub NAME)";

    case 403:
        return "The token is good, but not for this.";

    case 404:
        return "\"trifecta models\" lists the models; nginx must name them in "
               "trifecta_models, and \"url\" must lead to the location with "
               "\"trifecta api\".";

    case 410:
        return "The queue was lost after the job was accepted: ask again.";

    case 429:
        return "There are too many open questions: ask again later.";

    case 503:
        return "A store behind nginx is away or not prepared; \"trifecta "
               "doctor\" says which and what mends it.";

    case 504:
        return "The queue did not confirm the question; it may have been "
               "accepted or not.";

    default:
        return NULL;
    }
}


/* The one error body of the API, or whatever another server sent. */

void
tf_ask_print_conversation(json_t *root)
{
    const char  *id;

    id = json_string_value(json_object_get(root, "conversation_id"));

    if (id != NULL
        && strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                  "0123456789._-") == strlen(id))
    {
        (void) fflush(stdout);
        (void) fprintf(stderr, "To go on: trifecta ask --conversation %s "
                       "\"...\"\n", id);
    }
}


int
tf_ask_print_refusal(long status, const char *body, size_t len)
{
    json_t      *root;
    const char  *code, *detail, *next, *id;

    code = "";
    detail = "";
    id = "";

    root = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    (void) json_unpack(root, "{s?s, s?s, s?{s?s}}", "detail", &detail,
                       "request_id", &id, "error", "code", &code);

    (void) fflush(stdout);
    (void) fprintf(stderr, "trifecta ask: %ld ", status);
    tf_ask_text(stderr, code[0] ? code : "without a reason");

    if (detail[0]) {
        (void) fputs(": ", stderr);
        tf_ask_text(stderr, detail);
    }

    if (id[0]) {
        (void) fputs(" (", stderr);
        tf_ask_text(stderr, id);
        (void) fputc(')', stderr);
    }

    (void) fputc('\n', stderr);

    next = tf_ask_next_step(status);
    if (next != NULL) {
        (void) fprintf(stderr, "%s\n", next);
    }

    json_decref(root);

    return TF_CLI_FAILED;
}


int
tf_ask_print_failure(json_t *root)
{
    const char  *state, *code, *message;

    state = json_string_value(json_object_get(root, "status"));

    if (strcmp(state, "succeeded") == 0) {
        return TF_CLI_OK;
    }

    code = "no reason given";
    message = "";
    (void) json_unpack(root, "{s:{s?s, s?s}}", "error", "code", &code,
                       "message", &message);

    (void) fflush(stdout);
    (void) fputs("trifecta ask: the job ended as ", stderr);
    tf_ask_text(stderr, state);
    (void) fputs(": ", stderr);
    tf_ask_text(stderr, code);
    (void) fputs(message[0] ? ": " : "", stderr);
    tf_ask_text(stderr, message);
    (void) fputc('\n', stderr);

    return TF_CLI_FAILED;
}


static void
tf_ask_sources(json_t *citations)
{
    size_t        i;
    json_t       *c;
    json_int_t    n, start, end;
    const char   *source, *title;

    if (json_array_size(citations) == 0) {
        return;
    }

    (void) printf("\nSources:\n");

    json_array_foreach(citations, i, c) {
        n = (json_int_t) i + 1;
        start = end = 0;
        source = title = "";

        (void) json_unpack(c, "{s?I, s?s, s?s, s?I, s?I}", "n", &n,
                           "source", &source, "title", &title, "start",
                           &start, "end", &end);

        (void) printf("[%lld] ", (long long) n);
        tf_ask_text(stdout, source);
        (void) printf(" bytes %lld-%lld", (long long) start,
                      (long long) end);

        if (title[0]) {
            (void) fputs("  ", stdout);
            tf_ask_text(stdout, title);
        }

        (void) putchar('\n');
    }
}


int
tf_ask_print_answer(json_t *root)
{
    const char  *text;

    if (tf_ask_print_failure(root) != TF_CLI_OK) {
        return TF_CLI_FAILED;
    }

    text = json_string_value(json_object_get(root, "response"));

    if (text != NULL) {
        tf_ask_text(stdout, text);
        (void) fputs(text[0] && text[strlen(text) - 1] == '\n' ? "" : "\n",
                     stdout);
    }

    tf_ask_sources(json_object_get(root, "citations"));

    return TF_CLI_OK;
}
