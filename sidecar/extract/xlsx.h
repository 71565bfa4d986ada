#ifndef TF_EXTRACT_XLSX_H
#define TF_EXTRACT_XLSX_H


#include <stddef.h>

#include "extract/office.h"
#include "extract/record.h"


/*
 * Workbooks.  A sheet is a section, a row a record.  The first row of at
 * least two cells names the columns if all its cells are text; a row of one
 * cell before that is a caption.  Otherwise columns have their letters.
 *
 * A cell is a number into the strings that all sheets share, a number that
 * its style may make a date, or text of its own.
 */

#define TF_XLSX_COLUMNS  16384
#define TF_XLSX_SHEETS   1000

typedef struct {
    char             name[128];
    char             member[256];
} tf_xlsx_sheet_t;

typedef struct {
    tf_extract_t     *ex;
    tf_out_t          out;
    tf_record_t       record;

    tf_xlsx_sheet_t  *sheets;
    size_t            nsheets;
    tf_relations_t    relations;
    int               from_1904;

    tf_buf_t          strings;      /* the shared ones, one by one */
    size_t           *ends;
    size_t            nstrings;
    size_t            room;

    unsigned char     dates[4096];  /* styles that are dates (1), times (2) */
    unsigned          nstyles;
    unsigned          formats[256]; /* formats of their own that are */
    unsigned char     kinds[256];
    unsigned          nformats;
    int               in_xfs;

    int               failed;
} tf_xlsx_t;


/* The parts in front of the sheets: 0, or -1. */
int tf_xlsx_parts(tf_zip_t *zip, tf_xlsx_t *xlsx);

int tf_xlsx_sheet(tf_zip_t *zip, tf_xlsx_t *xlsx,
    const tf_xlsx_sheet_t *sheet);

/* A number as the style shows it: "2024-02-29", "12:30", "0.1". */
void tf_xlsx_number(const tf_xlsx_t *xlsx, unsigned style, const char *value,
    char *buf, size_t size);


#endif /* TF_EXTRACT_XLSX_H */
