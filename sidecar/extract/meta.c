#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "extract/text.h"


void
tf_text_meta(tf_text_t *text, const char *name, size_t nlen,
    const char *value, size_t len)
{
    char             folded[TF_META_NAME_MAX + 1], kept[TF_META_TEXT_MAX + 1];
    size_t           i, n;
    tf_text_meta_t  *meta;

    if (tf_meta_name(name, nlen, folded) != 0
        || text->nmeta == TF_META_VALUES_MAX)
    {
        return;
    }

    for (i = 0, n = 0; i < len && n < TF_META_TEXT_MAX; i++) {
        if ((unsigned char) value[i] > ' ' && value[i] != 0x7f) {
            kept[n++] = value[i];

        } else if (n && kept[n - 1] != ' ') {
            kept[n++] = ' ';
        }
    }

    n -= (n && kept[n - 1] == ' ');

    /* no half character at the end */

    n = tf_utf8_valid(kept, n);
    kept[n] = '\0';

    if (n == 0) {
        return;
    }

    for (i = 0; i < text->nmeta; i++) {
        if (strcmp(text->meta[i].name, folded) == 0
            && strcmp(text->meta[i].value, kept) == 0)
        {
            return;
        }
    }

    if (text->meta == NULL) {
        text->meta = calloc(TF_META_VALUES_MAX, sizeof(tf_text_meta_t));
        if (text->meta == NULL) {
            text->failed = 1;
            return;
        }
    }

    meta = &text->meta[text->nmeta++];
    meta->name = strdup(folded);
    meta->value = strdup(kept);

    text->failed |= (meta->name == NULL || meta->value == NULL);
}


void
tf_text_meta_free(tf_text_t *text)
{
    size_t  i;

    for (i = 0; i < text->nmeta; i++) {
        free(text->meta[i].name);
        free(text->meta[i].value);
    }

    free(text->meta);
    text->meta = NULL;
    text->nmeta = 0;
}


void
tf_text_meta_mail_date(tf_text_t *text, const char *name, const char *s,
    size_t len)
{
    int                       day, year, h, m, sec, zone, month;
    char                      line[80], word[4], iso[48], *p;
    static const char *const  months[] = { "Jan", "Feb", "Mar", "Apr", "May",
                                           "Jun", "Jul", "Aug", "Sep", "Oct",
                                           "Nov", "Dec" };

    len = len < sizeof(line) - 1 ? len : sizeof(line) - 1;
    memcpy(line, s, len);
    line[len] = '\0';

    p = strchr(line, ',');
    p = p == NULL ? line : p + 1;
    sec = 0;
    zone = 0;

    if (sscanf(p, "%2d %3s %4d %2d:%2d:%2d %5d", &day, word, &year, &h, &m,
               &sec, &zone) < 6
        && sscanf(p, "%2d %3s %4d %2d:%2d %5d", &day, word, &year, &h, &m,
                  &zone) < 5)
    {
        return;
    }

    for (month = 0; month < 12; month++) {
        if (strcasecmp(months[month], word) == 0) {
            break;
        }
    }

    if (month == 12 || day < 1 || day > 31 || year < 1 || year > 9999 || h < 0
        || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 60 || zone < -2359
        || zone > 2359)
    {
        return;
    }

    /* two digits are of the years 1950 to 2049 */

    year += year < 50 ? 2000 : year < 100 ? 1900 : 0;

    (void) snprintf(iso, sizeof(iso), "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:"
                    "%02d", year, month + 1, day, h, m, sec,
                    zone < 0 ? '-' : '+', abs(zone) / 100, abs(zone) % 100);

    tf_text_meta(text, name, strlen(name), iso, strlen(iso));
}


/* One value of front matter, without its quotes. */

static void
tf_text_meta_value(tf_text_t *text, const char *name, const char *s,
    size_t len)
{
    while (len > 0 && strchr(" \t\r\n\"'", s[len - 1]) != NULL) {
        len--;
    }

    while (len > 0 && strchr(" \t\"'", *s) != NULL) {
        s++;
        len--;
    }

    tf_text_meta(text, name, strlen(name), s, len);
}


void
tf_text_meta_line(tf_text_t *text, char mark, const char *line, size_t len,
    char name[TF_META_NAME_MAX + 1])
{
    size_t       n;
    const char  *s, *end, *comma, *colon;

    end = line + len;
    s = line;

    while (s < end && strchr(" \t", *s) != NULL) {
        s++;
    }

    if (mark == '-' && name[0] && end - s > 2 && s[0] == '-' && s[1] == ' ') {
        tf_text_meta_value(text, name, s + 2, (size_t) (end - s) - 2);
        return;
    }

    /* what is indented belongs to something that is no plain value */

    colon = memchr(line, mark == '-' ? ':' : '=', len);
    n = colon == NULL ? 0 : (size_t) (colon - line);

    while (n > 0 && strchr(" \t\"'", line[n - 1]) != NULL) {
        n--;
    }

    if (s != line || tf_meta_name(line, n, name) != 0
        || strcmp(name, "title") == 0)
    {
        name[0] = '\0';
        return;
    }

    for (s = colon + 1; s < end && strchr(" \t", *s) != NULL; s++) {
        /* void */
    }

    while (end > s && strchr(" \t\r\n", end[-1]) != NULL) {
        end--;
    }

    if (end - s < 2 || s[0] != '[' || end[-1] != ']') {
        tf_text_meta_value(text, name, s, (size_t) (end - s));
        return;
    }

    end--;

    for (s++; s < end; s = comma + 1) {
        comma = memchr(s, ',', (size_t) (end - s));
        comma = comma == NULL ? end : comma;
        tf_text_meta_value(text, name, s, (size_t) (comma - s));
    }
}
