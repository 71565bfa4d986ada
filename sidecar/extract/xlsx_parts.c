#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "extract/xlsx.h"


static void tf_workbook_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_styles_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_styles_end(void *ctx, const char *name);
static unsigned char tf_styles_kind(const char *code);
static void tf_strings_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_strings_end(void *ctx, const char *name);
static void tf_strings_text(void *ctx, const char *s, size_t len);
static void tf_nothing(void *ctx, const char *name);


#define TF_XLSX_DATE  1
#define TF_XLSX_TIME  2

#define tf_is(a, b)   (strcmp(a, b) == 0)

typedef struct {
    tf_xlsx_t          *xlsx;
    tf_sax_handlers_t  *handlers;
    int                 in_text;
    unsigned            skip;
} tf_strings_t;

static void tf_strings_bound(tf_strings_t *strings, size_t size);


int
tf_xlsx_parts(tf_zip_t *zip, tf_xlsx_t *xlsx)
{
    int                 rc;
    tf_strings_t        strings;
    tf_sax_handlers_t   handlers;

    if (tf_relations_read(zip, "xl/workbook.xml", &xlsx->relations) != 0) {
        return -1;
    }

    memset(&handlers, 0, sizeof(tf_sax_handlers_t));
    handlers.start = tf_workbook_start;
    handlers.end = tf_nothing;
    handlers.ctx = xlsx;

    rc = tf_zip_parse(zip, "xl/workbook.xml", &handlers);

    if (rc == 1) {
        return tf_extract_refuse(xlsx->ex, "has no xl/workbook.xml: it is "
                                 "no workbook");
    }

    if (rc < 0) {
        return -1;
    }

    handlers.start = tf_styles_start;
    handlers.end = tf_styles_end;

    if (tf_zip_parse(zip, "xl/styles.xml", &handlers) < 0) {
        return -1;
    }

    memset(&strings, 0, sizeof(tf_strings_t));
    strings.xlsx = xlsx;
    strings.handlers = &handlers;
    handlers.start = tf_strings_start;
    handlers.end = tf_strings_end;
    handlers.text = tf_strings_text;
    handlers.ctx = &strings;

    if (tf_zip_parse(zip, "xl/sharedStrings.xml", &handlers) < 0) {
        return -1;
    }

    return 0;
}


static void
tf_nothing(void *ctx, const char *name)
{
    (void) ctx;
    (void) name;
}


/* Sheets that are shown. */

static void
tf_workbook_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    char                  value[64];
    tf_xlsx_t            *xlsx = ctx;
    tf_xlsx_sheet_t      *list;
    const tf_relation_t  *relation;

    if (tf_is(name, "workbookPr")) {
        (void) tf_sax_copy(attrs, "date1904", value, sizeof(value));
        xlsx->from_1904 = tf_is(value, "1") || tf_is(value, "true");
        return;
    }

    if (!tf_is(name, "sheet") || xlsx->nsheets == TF_XLSX_SHEETS) {
        return;
    }

    (void) tf_sax_copy(attrs, "state", value, sizeof(value));

    if (tf_is(value, "hidden") || tf_is(value, "veryHidden")) {
        return;
    }

    relation = tf_relation_find(&xlsx->relations,
                                tf_sax_copy(attrs, "r:id", value,
                                            sizeof(value)));
    if (relation == NULL || !tf_is(relation->kind, "worksheet")) {
        return;
    }

    list = realloc(xlsx->sheets,
                   (xlsx->nsheets + 1) * sizeof(tf_xlsx_sheet_t));
    if (list == NULL) {
        xlsx->failed = 1;
        return;
    }

    xlsx->sheets = list;
    list = &xlsx->sheets[xlsx->nsheets++];
    (void) tf_sax_copy(attrs, "name", list->name, sizeof(list->name));
    (void) snprintf(list->member, sizeof(list->member), "%s",
                    relation->target);
}


/* Which styles of cells are dates: cellXfs, by built-in or own formats. */

static void
tf_styles_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    char        code[128];
    long        id;
    unsigned    i;
    tf_xlsx_t  *xlsx = ctx;

    if (tf_is(name, "numFmt") && xlsx->nformats < 256) {
        id = tf_sax_number(attrs, "numFmtId", -1);
        (void) tf_sax_copy(attrs, "formatCode", code, sizeof(code));

        if (id >= 0) {
            xlsx->formats[xlsx->nformats] = (unsigned) id;
            xlsx->kinds[xlsx->nformats++] = tf_styles_kind(code);
        }

    } else if (tf_is(name, "cellXfs")) {
        xlsx->in_xfs = 1;

    } else if (tf_is(name, "xf") && xlsx->in_xfs
               && xlsx->nstyles < sizeof(xlsx->dates))
    {
        id = tf_sax_number(attrs, "numFmtId", 0);

        xlsx->dates[xlsx->nstyles] =
            (id >= 14 && id <= 17) || (id >= 27 && id <= 31) ? TF_XLSX_DATE
            : (id >= 18 && id <= 21) || (id >= 45 && id <= 47) ? TF_XLSX_TIME
            : id == 22 ? TF_XLSX_DATE|TF_XLSX_TIME : 0;

        for (i = 0; i < xlsx->nformats; i++) {
            if (xlsx->formats[i] == (unsigned) id) {
                xlsx->dates[xlsx->nstyles] = xlsx->kinds[i];
            }
        }

        xlsx->nstyles++;
    }
}


static void
tf_styles_end(void *ctx, const char *name)
{
    tf_xlsx_t  *xlsx = ctx;

    if (tf_is(name, "cellXfs")) {
        xlsx->in_xfs = 0;
    }
}


/* "yyyy\-mm\-dd hh:mm"; what is quoted or in brackets is no part of it. */

static unsigned char
tf_styles_kind(const char *code)
{
    unsigned char  kind;

    for (kind = 0; *code && *code != ';'; code++) {
        switch (*code | 0x20) {

        case 'y':
        case 'd':
            kind |= TF_XLSX_DATE;
            break;

        case 'h':
        case 's':
            kind |= TF_XLSX_TIME;
            break;
        }

        if (*code == '"') {
            for (code++; *code && *code != '"'; code++) { /* void */ }

        } else if (*code == '[') {
            for (code++; *code && *code != ']'; code++) { /* void */ }

        } else if (*code == '\\' && code[1]) {
            code++;
            continue;
        }

        if (*code == '\0') {
            break;
        }
    }

    return kind;
}


static void
tf_strings_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    tf_strings_t  *strings = ctx;

    (void) attrs;

    if (strings->skip || tf_is(name, "rPh")) {
        strings->skip++;

    } else if (tf_is(name, "t")) {
        strings->in_text = 1;
    }
}


static void
tf_strings_end(void *ctx, const char *name)
{
    size_t         room, *ends;
    tf_xlsx_t     *xlsx;
    tf_strings_t  *strings = ctx;

    if (strings->skip) {
        strings->skip--;
        return;
    }

    if (tf_is(name, "t")) {
        strings->in_text = 0;
        return;
    }

    if (!tf_is(name, "si")) {
        return;
    }

    xlsx = strings->xlsx;
    tf_strings_bound(strings, xlsx->nstrings);

    if (xlsx->nstrings == xlsx->room) {
        room = xlsx->room ? xlsx->room * 2 : 256;

        ends = realloc(xlsx->ends, room * sizeof(size_t));
        if (ends == NULL) {
            xlsx->failed = 1;
            return;
        }

        xlsx->ends = ends;
        xlsx->room = room;
    }

    xlsx->ends[xlsx->nstrings++] = xlsx->strings.len;
}


static void
tf_strings_text(void *ctx, const char *s, size_t len)
{
    tf_strings_t  *strings = ctx;

    if (strings->in_text && !strings->skip) {
        tf_strings_bound(strings, strings->xlsx->strings.len + len);
        tf_buf_append(&strings->xlsx->strings, s, len);
    }
}


static void
tf_strings_bound(tf_strings_t *strings, size_t size)
{
    if ((int64_t) size > strings->xlsx->ex->limits->v[TF_LIMIT_text]) {
        (void) tf_extract_limit(strings->xlsx->ex, TF_LIMIT_text,
                                "its text is too large");
        strings->handlers->stop = 1;
    }
}


void
tf_xlsx_number(const tf_xlsx_t *xlsx, unsigned style, const char *value,
    char *buf, size_t size)
{
    int     kind;
    char   *end;
    long    day, era, doe, yoe, doy, month, year, minute;
    double  x;

    x = strtod(value, &end);
    kind = style < xlsx->nstyles ? xlsx->dates[style] : 0;

    if (end == value || *end != '\0' || !isfinite(x)) {
        (void) snprintf(buf, size, "%.60s", value);
        return;
    }

    if (kind == 0 || x < 0 || x > 2958465) {
        (void) snprintf(buf, size, "%.15g", x);
        return;
    }

    if (kind & TF_XLSX_TIME) {
        x += 0.5 / 86400;
    }

    minute = (long) ((x - floor(x)) * 1440);
    day = (long) floor(x) + (xlsx->from_1904 ? 1462 : x < 60);

    if (kind == TF_XLSX_TIME && floor(x) == 0) {
        (void) snprintf(buf, size, "%02ld:%02ld", minute / 60, minute % 60);
        return;
    }

    /* days since 1899-12-30 to a date: years begin in March */

    day += 719468 - 25569;
    era = day / 146097;
    doe = day % 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    month = (5 * doy + 2) / 153;
    year = yoe + era * 400 + (month >= 10);

    day = doy - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;

    if (kind & TF_XLSX_TIME) {
        (void) snprintf(buf, size, "%04ld-%02ld-%02ld %02ld:%02ld", year,
                        month, day, minute / 60, minute % 60);

    } else {
        (void) snprintf(buf, size, "%04ld-%02ld-%02ld", year, month, day);
    }
}
