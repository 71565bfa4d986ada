#include "net/header.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>


int
tf_header(const char *line, size_t len, const char *name, char *value,
    size_t size)
{
    size_t  n;

    n = strlen(name);

    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':') {
        return 0;
    }

    line += n + 1;
    len -= n + 1;

    while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL) {
        len--;
    }

    while (len > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }

    if (len >= size) {
        len = size - 1;
    }

    memcpy(value, line, len);
    value[len] = '\0';

    return 1;
}


int64_t
tf_header_retry_after(const char *value)
{
    char    *end;
    double   s;

    if (isdigit((unsigned char) value[0])) {
        s = strtod(value, &end);

    } else {
        time_t  when = curl_getdate(value, NULL);

        end = (char *) "";
        s = when == -1 ? -1 : difftime(when, time(NULL));
    }

    if (*end != '\0' || !(s >= 0)) {
        return -1;
    }

    return s > 86400 ? 86400000 : (int64_t) (s * 1000);
}
