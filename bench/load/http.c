#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "load.h"


/* Just enough of HTTP/1.1 to know where an answer ends. */

static void http_head(http_t *h);
static int http_line(http_t *h, char c);


void
http_begin(http_t *h)
{
    h->state = HTTP_HEAD;
    h->status = 0;
    h->close = 0;
    h->left = 0;
    h->line = 0;
}


void
http_feed(http_t *h, const char *text, size_t len, http_body_pt body,
    void *data)
{
    size_t  n;

    while (len > 0) {

        switch (h->state) {

        case HTTP_HEAD:
            if (h->line + 1 >= sizeof(h->head)) {
                h->state = HTTP_BROKEN;
                return;
            }

            h->head[h->line++] = *text++;
            len--;

            if (h->line >= 4
                && memcmp(h->head + h->line - 4, "\r\n\r\n", 4) == 0)
            {
                h->head[h->line] = '\0';
                http_head(h);
            }
            break;

        case HTTP_LENGTH:
        case HTTP_CHUNK:
        case HTTP_UNTIL_CLOSE:
            n = h->state == HTTP_UNTIL_CLOSE || h->left > len ? len : h->left;
            body(data, text, n);
            text += n;
            len -= n;

            if (h->state == HTTP_UNTIL_CLOSE) {
                break;
            }

            h->left -= n;
            if (h->left == 0) {
                h->state = h->state == HTTP_LENGTH ? HTTP_DONE
                                                   : HTTP_CHUNK_END;
                h->line = 0;
            }
            break;

        case HTTP_CHUNK_SIZE:
            len--;
            if (http_line(h, *text++)) {
                h->left = strtoull(h->head, NULL, 16);
                h->state = h->left ? HTTP_CHUNK : HTTP_TRAILER;
            }
            break;

        case HTTP_CHUNK_END:
            len--;
            if (http_line(h, *text++)) {
                h->state = HTTP_CHUNK_SIZE;
            }
            break;

        case HTTP_TRAILER:
            len--;
            if (http_line(h, *text++) && h->head[0] == '\0') {
                h->state = HTTP_DONE;
            }
            break;

        case HTTP_DONE:
            /* nobody asked for more */
            h->state = HTTP_BROKEN;
            return;

        case HTTP_BROKEN:
            return;
        }
    }
}


void
http_end(http_t *h)
{
    h->state = h->state == HTTP_UNTIL_CLOSE ? HTTP_DONE : HTTP_BROKEN;
}


/* Collects a line; 1 when it is whole, without its end and begun anew. */

static int
http_line(http_t *h, char c)
{
    if (c == '\n') {
        if (h->line > 0 && h->head[h->line - 1] == '\r') {
            h->line--;
        }
        h->head[h->line] = '\0';
        h->line = 0;
        return 1;
    }

    if (h->line + 1 < sizeof(h->head)) {
        h->head[h->line++] = c;
    }

    return 0;
}


static void
http_head(http_t *h)
{
    int    length;
    char  *line, *value;

    h->line = 0;
    length = 0;

    if (strncmp(h->head, "HTTP/1.", 7) != 0) {
        h->state = HTTP_BROKEN;
        return;
    }

    h->status = atoi(h->head + 9);
    h->state = HTTP_UNTIL_CLOSE;

    for (line = strstr(h->head, "\r\n") + 2; *line != '\r';
         line = strstr(line, "\r\n") + 2)
    {
        value = strchr(line, ':');
        if (value == NULL) {
            continue;
        }
        value += strspn(value + 1, " ") + 1;

        if (strncasecmp(line, "content-length:", 15) == 0) {
            h->left = strtoull(value, NULL, 10);
            length = 1;

        } else if (strncasecmp(line, "transfer-encoding:", 18) == 0
                   && strncasecmp(value, "chunked", 7) == 0)
        {
            h->state = HTTP_CHUNK_SIZE;

        } else if (strncasecmp(line, "connection:", 11) == 0
                   && strncasecmp(value, "close", 5) == 0)
        {
            h->close = 1;
        }
    }

    if (h->state == HTTP_CHUNK_SIZE) {
        return;
    }

    if (h->status == 204 || h->status == 304 || (length && h->left == 0)) {
        h->state = HTTP_DONE;

    } else if (length) {
        h->state = HTTP_LENGTH;
    }
}
