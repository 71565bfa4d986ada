#include <stdlib.h>
#include <string.h>

#include "extract/charset.h"
#include "extract/xlsx.h"


/* One sheet at a time, one row in memory. */

typedef struct {
    unsigned      column;
    size_t        start;            /* in the row's text */
    size_t        end;
} tf_xlsx_cell_t;

typedef struct {
    tf_buf_t          text;
    tf_xlsx_cell_t   *list;
    size_t            n;
    size_t            room;
    int               numbers;      /* there is a cell that is no text */
} tf_xlsx_row_t;

typedef struct {
    tf_xlsx_t          *xlsx;
    tf_sax_handlers_t  *handlers;
    tf_xlsx_row_t       row;
    tf_xlsx_row_t       header;
    int                 settled;    /* whether there is a header */

    unsigned            column;     /* of the cell */
    unsigned            style;
    char                type;
    int                 in_value;
    unsigned            skip;
    tf_buf_t            value;
    unsigned            rows;
} tf_xlsx_reader_t;


static void tf_xlsx_start(void *ctx, const char *name,
    const tf_sax_attrs_t *attrs);
static void tf_xlsx_cell(tf_xlsx_reader_t *reader,
    const tf_sax_attrs_t *attrs);
static void tf_xlsx_end(void *ctx, const char *name);
static void tf_xlsx_text(void *ctx, const char *s, size_t len);
static void tf_xlsx_value(tf_xlsx_reader_t *reader);
static void tf_xlsx_add(tf_xlsx_reader_t *reader, const char *s, size_t len);
static void tf_xlsx_row(tf_xlsx_reader_t *reader);
static void tf_xlsx_put(tf_xlsx_reader_t *reader);
static size_t tf_xlsx_name(const tf_xlsx_row_t *header, unsigned column,
    char *letters, const char **name);


#define tf_is(a, b)  (strcmp(a, b) == 0)


int
tf_extract_xlsx(tf_extract_t *ex, const char *data, size_t len,
    tf_text_t *text)
{
    int         rc;
    size_t      i;
    tf_zip_t   *zip;
    tf_xlsx_t  *xlsx;

    zip = tf_zip_open(ex, data, len);
    if (zip == NULL) {
        return -1;
    }

    xlsx = calloc(1, sizeof(tf_xlsx_t));
    if (xlsx == NULL) {
        tf_zip_close(zip);
        text->failed = 1;
        return 0;
    }

    xlsx->ex = ex;
    xlsx->out.text = text;
    xlsx->out.limit = ex->limits->v[TF_LIMIT_text];
    xlsx->record.out = &xlsx->out;

    rc = tf_xlsx_parts(zip, xlsx);

    for (i = 0; i < xlsx->nsheets && rc == 0; i++) {
        rc = tf_xlsx_sheet(zip, xlsx, &xlsx->sheets[i]);
    }

    if (rc == 0) {
        rc = tf_office_properties(zip, "docProps/core.xml", text);
    }

    tf_zip_close(zip);

    if (tf_out_finish(&xlsx->out) != 0) {
        rc = tf_extract_limit(ex, TF_LIMIT_text, "its text is too large");
    }

    if (text->data != NULL) {
        tf_charset_clean(text->data, text->len);
    }

    text->failed |= xlsx->failed | xlsx->strings.failed
                    | xlsx->relations.failed;
    tf_buf_free(&xlsx->strings);
    free(xlsx->ends);
    free(xlsx->sheets);
    free(xlsx->relations.list);
    free(xlsx);

    return rc;
}


int
tf_xlsx_sheet(tf_zip_t *zip, tf_xlsx_t *xlsx, const tf_xlsx_sheet_t *sheet)
{
    int                 rc;
    tf_sax_handlers_t   handlers;
    tf_xlsx_reader_t    reader;

    memset(&reader, 0, sizeof(tf_xlsx_reader_t));
    reader.xlsx = xlsx;
    reader.handlers = &handlers;

    memset(&handlers, 0, sizeof(tf_sax_handlers_t));
    handlers.start = tf_xlsx_start;
    handlers.end = tf_xlsx_end;
    handlers.text = tf_xlsx_text;
    handlers.ctx = &reader;

    tf_record_begin(&xlsx->record);
    tf_out_heading(&xlsx->out, 1, sheet->name, strlen(sheet->name));

    rc = tf_zip_parse(zip, sheet->member, &handlers) < 0 ? -1 : 0;

    tf_record_end(&xlsx->record);

    if (xlsx->out.over && rc == 0) {
        rc = -1;
    }

    xlsx->failed |= reader.row.text.failed | reader.header.text.failed
                    | reader.value.failed;
    tf_buf_free(&reader.row.text);
    tf_buf_free(&reader.header.text);
    tf_buf_free(&reader.value);
    free(reader.row.list);
    free(reader.header.list);

    return rc;
}


static void
tf_xlsx_start(void *ctx, const char *name, const tf_sax_attrs_t *attrs)
{
    tf_xlsx_reader_t  *reader = ctx;

    if (reader->skip || tf_is(name, "rPh") || tf_is(name, "f")) {
        reader->skip++;
        return;
    }

    if (tf_is(name, "row")) {
        tf_buf_reset(&reader->row.text);
        reader->row.n = 0;
        reader->row.numbers = 0;
        reader->column = 0;

    } else if (tf_is(name, "c")) {
        tf_xlsx_cell(reader, attrs);

    } else if (tf_is(name, "v") || tf_is(name, "t")) {
        reader->in_value = 1;
    }
}


/* <c r="AB12" t="s" s="3">; a cell without its place follows the one before */

static void
tf_xlsx_cell(tf_xlsx_reader_t *reader, const tf_sax_attrs_t *attrs)
{
    char        value[32];
    long        style;
    unsigned    column;
    const char  *s;

    column = 0;

    for (s = tf_sax_copy(attrs, "r", value, sizeof(value));
         *s >= 'A' && *s <= 'Z' && column < TF_XLSX_COLUMNS; s++)
    {
        column = column * 26 + (unsigned) (*s - 'A' + 1);
    }

    reader->column = column && column <= TF_XLSX_COLUMNS ? column
                                                         : reader->column + 1;

    style = tf_sax_number(attrs, "s", 0);
    reader->style = style < 0 ? 0 : (unsigned) style;

    (void) tf_sax_copy(attrs, "t", value, sizeof(value));
    reader->type = tf_is(value, "s") ? 's'
                   : tf_is(value, "b") ? 'b'
                   : tf_is(value, "e") ? 'e'
                   : tf_is(value, "d") ? 'd'
                   : tf_is(value, "") || tf_is(value, "n") ? 'n' : 't';

    tf_buf_reset(&reader->value);
}


static void
tf_xlsx_end(void *ctx, const char *name)
{
    tf_xlsx_reader_t  *reader = ctx;

    if (reader->skip) {
        reader->skip--;
        return;
    }

    if (tf_is(name, "v") || tf_is(name, "t")) {
        reader->in_value = 0;

    } else if (tf_is(name, "c")) {
        tf_xlsx_value(reader);

    } else if (tf_is(name, "row")) {
        tf_xlsx_row(reader);
    }
}


static void
tf_xlsx_text(void *ctx, const char *s, size_t len)
{
    tf_xlsx_reader_t  *reader = ctx;

    if (!reader->in_value || reader->skip) {
        return;
    }

    if (reader->value.len + len
        > (size_t) reader->xlsx->ex->limits->v[TF_LIMIT_line])
    {
        (void) tf_extract_limit(reader->xlsx->ex, TF_LIMIT_line,
                                "a cell has too much text");
        reader->handlers->stop = 1;
        return;
    }

    tf_buf_append(&reader->value, s, len);
}


static void
tf_xlsx_value(tf_xlsx_reader_t *reader)
{
    char           number[64];
    size_t         start;
    const char    *s;
    tf_xlsx_t     *xlsx;
    unsigned long  i;

    if (reader->value.len == 0) {
        return;
    }

    xlsx = reader->xlsx;
    s = reader->value.data;

    switch (reader->type) {

    case 's':
        i = strtoul(s, NULL, 10);

        if (i < xlsx->nstrings && !xlsx->strings.failed) {
            start = i ? xlsx->ends[i - 1] : 0;

            if (xlsx->ends[i] > start) {
                tf_xlsx_add(reader, xlsx->strings.data + start,
                            xlsx->ends[i] - start);
            }
        }
        break;

    case 'b':
        reader->row.numbers = 1;
        s = *s == '1' ? "true" : "false";
        tf_xlsx_add(reader, s, strlen(s));
        break;

    case 'e':                   /* "#DIV/0!" says nothing */
        reader->row.numbers = 1;
        break;

    case 'n':
        reader->row.numbers = 1;
        tf_xlsx_number(xlsx, reader->style, s, number, sizeof(number));
        tf_xlsx_add(reader, number, strlen(number));
        break;

    default:
        tf_xlsx_add(reader, s, reader->value.len);
    }
}


static void
tf_xlsx_add(tf_xlsx_reader_t *reader, const char *s, size_t len)
{
    size_t           room;
    tf_xlsx_row_t   *row;
    tf_xlsx_cell_t  *list;

    row = &reader->row;

    if (row->text.len + len
        > (size_t) reader->xlsx->ex->limits->v[TF_LIMIT_line])
    {
        (void) tf_extract_limit(reader->xlsx->ex, TF_LIMIT_line,
                                "a row has too much text");
        reader->handlers->stop = 1;
        return;
    }

    if (row->n == row->room) {
        room = row->room ? row->room * 2 : 16;

        list = realloc(row->list, room * sizeof(tf_xlsx_cell_t));
        if (list == NULL) {
            reader->xlsx->failed = 1;
            return;
        }

        row->list = list;
        row->room = room;
    }

    list = &row->list[row->n++];
    list->column = reader->column;
    list->start = row->text.len;
    tf_buf_append(&row->text, s, len);
    list->end = row->text.len;
}


static void
tf_xlsx_row(tf_xlsx_reader_t *reader)
{
    tf_xlsx_t      *xlsx;
    tf_xlsx_row_t  *row;

    xlsx = reader->xlsx;
    row = &reader->row;

    if (row->n == 0 || row->text.failed) {
        return;
    }

    if (!reader->settled && row->n > 1) {
        reader->settled = 1;

        if (!row->numbers) {
            reader->header = *row;
            memset(row, 0, sizeof(tf_xlsx_row_t));
            return;
        }
    }

    tf_xlsx_put(reader);

    if (xlsx->out.over
        || (reader->rows++ % 256 == 0 && tf_extract_late(xlsx->ex) != 0))
    {
        reader->handlers->stop = 1;
    }
}


static void
tf_xlsx_put(tf_xlsx_reader_t *reader)
{
    char             letters[8];
    size_t           i, len;
    const char      *name;
    tf_xlsx_row_t   *row;
    tf_xlsx_cell_t  *cell;

    row = &reader->row;
    tf_record_begin(&reader->xlsx->record);

    for (i = 0; i < row->n; i++) {
        cell = &row->list[i];
        name = "";
        len = 0;

        if (reader->settled) {
            len = tf_xlsx_name(&reader->header, cell->column, letters, &name);
        }

        tf_record_field(&reader->xlsx->record, name, len,
                        row->text.data + cell->start,
                        cell->end - cell->start);
    }

    tf_record_end(&reader->xlsx->record);
}


/* The columns of a header ascend, as long as a sane program wrote it. */

static size_t
tf_xlsx_name(const tf_xlsx_row_t *header, unsigned column, char *letters,
    const char **name)
{
    size_t                 low, high, mid, n;
    unsigned               c;
    const tf_xlsx_cell_t  *cell;

    for (low = 0, high = header->n; low < high; /* void */) {
        mid = (low + high) / 2;
        cell = &header->list[mid];

        if (cell->column == column) {
            *name = header->text.data + cell->start;
            return cell->end - cell->start;
        }

        if (cell->column < column) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    for (c = column, n = 0; c > 0; c = (c - 1) / 26) {
        n++;
    }

    for (c = column, *name = letters; c > 0; c = (c - 1) / 26) {
        letters[--n] = (char) ('A' + (c - 1) % 26);
    }

    for (n = 0, c = column; c > 0; c = (c - 1) / 26) {
        n++;
    }

    return n;
}
