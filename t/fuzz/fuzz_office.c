/* links: sidecar/extract/ sidecar/rag/chunk.c sidecar/rag/units.c
 *        sidecar/base/buf.c */

#include <stdio.h>

#include <zip.h>

#include "fuzz_text.h"


/*
 * The XML of office files: the first byte chooses the format, the rest is the
 * main part in a ZIP file that is in order (fuzz_zip has those that are not).
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const struct {
    const char  *name;
    const char  *part;
} kinds[] = {
    { "a.docx", "word/document.xml"        },
    { "a.docx", "word/styles.xml"          },
    { "a.odt",  "content.xml"              },
    { "a.pptx", "ppt/slides/slide1.xml"    },
    { "a.xlsx", "xl/worksheets/sheet1.xml" },
    { "a.xlsx", "xl/sharedStrings.xml"     },
    { "a.xlsx", "xl/styles.xml"            }
};

/* The parts that lead to the one that is fuzzed. */

static const struct {
    const char  *part;
    const char  *xml;
} fixed[] = {
    { "ppt/_rels/presentation.xml.rels", "<R><Relationship Id='r' "
      "Type='x/slide' Target='slides/slide1.xml'/></R>" },
    { "ppt/presentation.xml", "<p xmlns:r='r'><sldId r:id='r'/></p>" },
    { "xl/_rels/workbook.xml.rels", "<R><Relationship Id='r' "
      "Type='x/worksheet' Target='worksheets/sheet1.xml'/></R>" },
    { "xl/workbook.xml", "<w xmlns:r='r'><sheet name='S' r:id='r'/></w>" },
    { "xl/worksheets/sheet1.xml", "<s><row><c t='s' s='1'><v>0</v></c><c "
      "s='2'><v>45000.5</v></c></row></s>" },
    { "word/document.xml", "<w><p><pPr><pStyle val='a'/></pPr><r><t>x</t></r>"
      "</p></w>" }
};


static void
add(zip_t *zip, const char *name, const void *data, size_t size)
{
    zip_source_t  *source;

    source = zip_source_buffer(zip, data, size, 0);

    if (source == NULL
        || zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) < 0)
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char          *bytes;
    size_t         i, k;
    zip_t         *zip;
    zip_stat_t     st;
    zip_error_t    error;
    zip_source_t  *whole;

    if (size < 2) {
        return 0;
    }

    k = data[0] % (sizeof(kinds) / sizeof(kinds[0]));

    zip_error_init(&error);
    whole = zip_source_buffer_create(NULL, 0, 0, &error);
    zip = zip_open_from_source(whole, ZIP_TRUNCATE, &error);
    zip_source_keep(whole);

    add(zip, kinds[k].part, data + 1, size - 1);

    for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        if (strcmp(fixed[i].part, kinds[k].part) != 0) {
            add(zip, fixed[i].part, fixed[i].xml, strlen(fixed[i].xml));
        }
    }

    if (zip_close(zip) != 0 || zip_source_open(whole) != 0
        || zip_source_stat(whole, &st) != 0)
    {
        abort();
    }

    bytes = malloc(st.size);
    if (bytes == NULL
        || zip_source_read(whole, bytes, st.size) != (zip_int64_t) st.size)
    {
        abort();
    }

    (void) zip_source_close(whole);
    zip_source_free(whole);
    zip_error_fini(&error);

    fuzz_extract(kinds[k].name, (const uint8_t *) bytes, st.size);
    free(bytes);

    return 0;
}
