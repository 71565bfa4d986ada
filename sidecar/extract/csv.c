#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/extract.h"
#include "extract/record.h"


/*
 * CSV and TSV: each row is a record, its columns named by the first row.
 *
 * Quoting is that of RFC 4180; a quote within a bare field is a quote.  The
 * separator is the one of , ; tab | that divides the first rows into the
 * same number of fields, more than one.  A first row with a number in it is
 * data: then the columns are called "column 1" and so on.
 */

#define TF_CSV_LOOK  20         /* rows that choose the separator */

typedef struct {
    size_t  start;              /* in cells */
    size_t  end;
} tf_csv_cell_t;

typedef struct {
    tf_buf_t        cells;      /* the text of a row's cells, one by one */
    tf_csv_cell_t  *list;
    size_t          n;
    size_t          room;
    int             failed;
} tf_csv_row_t;

typedef struct {
    const char     *data;
    size_t          pos;
    size_t          len;
    size_t          line;       /* of pos */
    size_t          from;       /* line where the row starts */
    char            separator;
} tf_csv_t;


static char tf_csv_separator(const char *data, size_t len, size_t line);
static int tf_csv_read(tf_csv_t *csv, tf_csv_row_t *row, size_t limit);
static void tf_csv_add(tf_csv_row_t *row, size_t start);
static int tf_csv_is_header(const tf_csv_row_t *row);
static void tf_csv_put(tf_record_t *record, const tf_csv_row_t *header,
    const tf_csv_row_t *row);
static void tf_csv_row_free(tf_csv_row_t *row);


int
tf_extract_csv(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int           rc;
    size_t        rows, limit;
    tf_csv_t      csv;
    tf_out_t      out;
    tf_record_t   record;
    tf_csv_row_t  header, row;

    memset(&csv, 0, sizeof(tf_csv_t));
    memset(&out, 0, sizeof(tf_out_t));
    memset(&record, 0, sizeof(tf_record_t));
    memset(&header, 0, sizeof(tf_csv_row_t));
    memset(&row, 0, sizeof(tf_csv_row_t));

    out.text = text;
    out.limit = ex->limits->v[TF_LIMIT_text];
    record.out = &out;
    limit = (size_t) ex->limits->v[TF_LIMIT_line];

    if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
        data += 3;
        len -= 3;
    }

    csv.data = data;
    csv.len = len;
    csv.line = 1;

    /* spreadsheets write "sep=;" in front */

    if (len >= 6 && memcmp(data, "sep=", 4) == 0
        && (data[5] == '\n' || data[5] == '\r'))
    {
        csv.separator = data[4];
        csv.pos = data[5] == '\r' && len > 6 && data[6] == '\n' ? 7 : 6;
        csv.line = 2;

    } else {
        csv.separator = strcmp(ex->suffix, ".tsv") == 0
                        ? '\t' : tf_csv_separator(data, len, limit);
    }

    rc = 1;

    for (rows = 0; rc == 1 && !out.over && !row.failed; rows++) {
        rc = tf_csv_read(&csv, &row, limit);

        if (rc == 1 && rows == 0 && tf_csv_is_header(&row)) {
            header = row;
            memset(&row, 0, sizeof(tf_csv_row_t));

        } else if (rc == 1) {
            tf_csv_put(&record, &header, &row);

            if (rows % 256 == 0 && tf_extract_late(ex) != 0) {
                rc = -1;
            }
        }
    }

    if (rc == -2) {
        rc = tf_extract_limit(ex, TF_LIMIT_line,
                              "the row in line %zu has more than %zu bytes",
                              csv.from, limit);

    } else if (rc == -3) {
        rc = tf_extract_refuse(ex, "the quote in line %zu is never closed; "
                               "a quote within quotes is written twice",
                               csv.from);
    }

    /* a header alone is all that there is */

    if (rc == 0 && rows == 2 && header.n) {
        tf_csv_put(&record, &row, &header);
    }

    text->failed |= row.failed | row.cells.failed | header.cells.failed;
    tf_csv_row_free(&row);
    tf_csv_row_free(&header);

    if (tf_out_finish(&out) != 0) {
        rc = tf_extract_limit(ex, TF_LIMIT_text, "its text is too large");
    }

    return rc > 0 ? 0 : rc;
}


/* How often the first rows agree on a number of fields decides. */

static char
tf_csv_separator(const char *data, size_t len, size_t line)
{
    char                best;
    size_t              i, n, first, same, most;
    tf_csv_t            csv;
    tf_csv_row_t        row;
    static const char  *marks = ",;\t|";

    best = ',';
    most = 0;

    for (i = 0; marks[i] != '\0'; i++) {
        memset(&csv, 0, sizeof(tf_csv_t));
        memset(&row, 0, sizeof(tf_csv_row_t));
        csv.data = data;
        csv.len = len;
        csv.separator = marks[i];
        first = 0;
        same = 0;

        for (n = 0; n < TF_CSV_LOOK; n++) {
            if (tf_csv_read(&csv, &row, line) != 1) {
                break;
            }

            if (n == 0) {
                first = row.n;
            }

            same += (row.n == first);
        }

        tf_csv_row_free(&row);

        if (first > 1 && same * 1000 + first > most) {
            most = same * 1000 + first;
            best = marks[i];
        }
    }

    return best;
}


/*
 * Reads a row that is not empty.  Returns 1, 0 at the end, -2: longer than
 * the limit, -3: an open quote.
 */

static int
tf_csv_read(tf_csv_t *csv, tf_csv_row_t *row, size_t limit)
{
    char    c;
    int     quoted;
    size_t  start, begin;

    while (csv->pos < csv->len
           && (csv->data[csv->pos] == '\n' || csv->data[csv->pos] == '\r'))
    {
        csv->line += (csv->data[csv->pos++] == '\n');
    }

    if (csv->pos == csv->len) {
        return 0;
    }

    tf_buf_reset(&row->cells);
    row->n = 0;
    csv->from = csv->line;
    begin = csv->pos;
    start = 0;
    quoted = 0;

    for ( ;; ) {
        if (csv->pos - begin > limit) {
            return -2;
        }

        if (csv->pos == csv->len) {
            if (quoted) {
                return -3;
            }

            tf_csv_add(row, start);
            return 1;
        }

        c = csv->data[csv->pos++];
        csv->line += (c == '\n');

        if (quoted) {
            if (c != '"') {
                tf_buf_append(&row->cells, &c, 1);

            } else if (csv->pos < csv->len && csv->data[csv->pos] == '"') {
                csv->pos++;
                tf_buf_append(&row->cells, "\"", 1);

            } else {
                quoted = 0;
            }

        } else if (c == '"' && row->cells.len == start) {
            quoted = 1;

        } else if (c == csv->separator) {
            tf_csv_add(row, start);
            start = row->cells.len;

        } else if (c == '\n' || c == '\r') {
            tf_csv_add(row, start);
            return 1;

        } else {
            tf_buf_append(&row->cells, &c, 1);
        }
    }
}


static void
tf_csv_add(tf_csv_row_t *row, size_t start)
{
    size_t          room;
    tf_csv_cell_t  *list;

    if (row->n == row->room) {
        room = row->room ? row->room * 2 : 16;

        list = realloc(row->list, room * sizeof(tf_csv_cell_t));
        if (list == NULL) {
            row->failed = 1;
            return;
        }

        row->list = list;
        row->room = room;
    }

    row->list[row->n].start = start;
    row->list[row->n++].end = row->cells.len;
}


static int
tf_csv_is_header(const tf_csv_row_t *row)
{
    char    *end;
    size_t   i, named;

    for (i = 0, named = 0; i < row->n; i++) {
        if (row->list[i].end == row->list[i].start) {
            continue;
        }

        named++;
        (void) strtod(row->cells.data + row->list[i].start, &end);

        if (end >= row->cells.data + row->list[i].end) {
            return 0;
        }
    }

    return named > 0;
}


static void
tf_csv_put(tf_record_t *record, const tf_csv_row_t *header,
    const tf_csv_row_t *row)
{
    char                  number[32];
    size_t                i, len;
    const char           *name;
    const tf_csv_cell_t  *cell;

    tf_record_begin(record);

    for (i = 0; i < row->n && !row->cells.failed; i++) {
        cell = &row->list[i];

        if (i < header->n && header->list[i].end > header->list[i].start) {
            name = header->cells.data + header->list[i].start;
            len = header->list[i].end - header->list[i].start;

        } else {
            len = (size_t) snprintf(number, sizeof(number), "column %zu",
                                    i + 1);
            name = number;
        }

        /* an empty row has no cells' text at all */

        if (cell->end > cell->start) {
            tf_record_field(record, name, len,
                            row->cells.data + cell->start,
                            cell->end - cell->start);
        }
    }

    tf_record_end(record);
}


static void
tf_csv_row_free(tf_csv_row_t *row)
{
    tf_buf_free(&row->cells);
    free(row->list);
    memset(row, 0, sizeof(tf_csv_row_t));
}
