#ifndef NGX_HTTP_TRIFECTA_MULTIPART_H_INCLUDED
#define NGX_HTTP_TRIFECTA_MULTIPART_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


/*
 * multipart/form-data (RFC 7578) as a pure function of bytes, which come in
 * pieces of any size.
 *
 *   [preamble] --boundary CRLF headers CRLF CRLF content
 *              CRLF --boundary CRLF ...
 *              CRLF --boundary-- [epilogue]
 *
 * The content of a part stands in the body as it is.  So the sink may take
 * its bytes as they come, or only remember where they stand: "start" and
 * "length" say it, in bytes from the beginning of the body.
 *
 * A boundary has no CR and what separates parts begins with one, so a match
 * that fails can only begin anew with the byte it failed at: each byte is
 * looked at once, and nothing is kept but the head of a part.
 *
 * What two readers could understand differently is refused: header lines that
 * go on in the next one, a bare LF, control characters, a name given twice, a
 * transfer encoding.  A quote in a name is written as %22 (browsers, most
 * libraries) or as \"; %0D and %0A are CR and LF.  filename* is ignored, as
 * the RFC says.
 *
 * Errors are static texts that can follow "the form is broken: ".
 */

#define TF_MULTIPART_BOUNDARY_MAX  70
#define TF_MULTIPART_PREAMBLE_MAX  1024     /* bytes */
#define TF_MULTIPART_HEAD_MAX      4096     /* bytes of a part's headers */
#define TF_MULTIPART_PARTS_MAX     16
#define TF_MULTIPART_NAME_MAX      64
#define TF_MULTIPART_FILENAME_MAX  1024


typedef struct {
    char      name[TF_MULTIPART_NAME_MAX];
    size_t    name_len;
    char      filename[TF_MULTIPART_FILENAME_MAX];
    size_t    filename_len;
    int       has_filename;
} tf_multipart_part_t;


/* Each returns NULL, or the text of an error, which ends the parsing. */

typedef struct {
    const char  *(*part)(void *data, const tf_multipart_part_t *part);
    const char  *(*content)(void *data, const unsigned char *p, size_t len);
    const char  *(*end)(void *data);
} tf_multipart_sink_t;


typedef struct {
    const tf_multipart_sink_t  *sink;
    void                       *data;

    char                        delimiter[TF_MULTIPART_BOUNDARY_MAX + 4];
    size_t                      delimiter_len;

    int                         state;
    size_t                      matched;    /* bytes of the delimiter */
    unsigned                    nparts;

    uint64_t                    offset;     /* of the byte looked at */
    uint64_t                    start;      /* of the part's content */
    uint64_t                    length;     /* ... that has been seen */

    unsigned char               head[TF_MULTIPART_HEAD_MAX];
    size_t                      head_len;
    tf_multipart_part_t         part;
} tf_multipart_t;


/* Takes the value of Content-Type; NULL, or what is wrong with it. */
const char *tf_multipart_init(tf_multipart_t *m, const char *type, size_t len,
    const tf_multipart_sink_t *sink, void *data);

/* NULL, or an error, of the form or of the sink. */
const char *tf_multipart_feed(tf_multipart_t *m, const unsigned char *p,
    size_t len);

/* After the last byte: NULL, or that the form has no end. */
const char *tf_multipart_done(const tf_multipart_t *m);


#endif /* NGX_HTTP_TRIFECTA_MULTIPART_H_INCLUDED */
