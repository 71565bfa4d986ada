#ifndef NGX_HTTP_TRIFECTA_FILES_H_INCLUDED
#define NGX_HTTP_TRIFECTA_FILES_H_INCLUDED


#include "ngx_http_trifecta_json.h"
#include "ngx_http_trifecta_reply.h"
#include "ngx_http_trifecta_store.h"


/*
 * Files of the OpenAI face: rows of their owner in PostgreSQL, and nowhere
 * else.
 *
 *   files.c          GET of one and of all, DELETE, and how a file is drawn
 *   files_form.c     what the form of an upload says
 *   files_upload.c   POST: the form's file becomes rows
 *   files_turn.c     how many of those write at the same time
 *   files_content.c  GET of the content
 *
 * An upload: nginx takes the body into a temporary file without a name, which
 * goes with the request.  Then the form is read through once, a piece in each
 * turn of the event loop; that says what it wants and where the content
 * stands, and nothing has been written yet.  Then the row is made, within the
 * bounds of its owner, then the parts go to PostgreSQL one after the other,
 * and at last the row becomes whole.  Nobody is shown a file before.  Who
 * leaves, or is left by the store, leaves a row that is deleted at once, or,
 * if that can not be, by a sidecar after an hour.
 *
 * So an upload has one piece in memory, and a worker has a bounded number of
 * uploads that write at the same time; a bounded number of others waits for
 * them, first come first served and without the piece.
 *
 * Content goes to the client part by part; the next one is asked for when the
 * client has taken the last one.  The answers of a batch have no parts: their
 * content is drawn by batch_content.c.
 */

#define NGX_HTTP_TRIFECTA_FILE_PIECE     262144     /* bytes, also of a part */
#define NGX_HTTP_TRIFECTA_FILE_FORM      65536      /* ... around the file */
#define NGX_HTTP_TRIFECTA_FILE_NAME_MAX  255        /* bytes */
#define NGX_HTTP_TRIFECTA_FILE_WRITERS   16         /* of a worker at once */
#define NGX_HTTP_TRIFECTA_FILE_WAIT      30000      /* ms, for one of them */
#define NGX_HTTP_TRIFECTA_FILE_WAITERS   64         /* of a worker */

#define NGX_HTTP_TRIFECTA_FILE_TTL_MIN   3600       /* s */
#define NGX_HTTP_TRIFECTA_FILE_TTL_MAX   2592000


/* What can be seen of a file: it is there as a whole, and not over. */

#define NGX_HTTP_TRIFECTA_FILE_SEEN                                           \
    "tenant = $1 AND owner = $2 AND whole"                                    \
    " AND (expires IS NULL OR expires > now())"

/* The columns that a file is drawn from, in this order, as text. */

#define NGX_HTTP_TRIFECTA_FILE_COLUMNS                                        \
    "id, name, purpose, bytes, extract(epoch from created)::bigint,"          \
    " extract(epoch from expires)::bigint, kind, batch"

#define NGX_HTTP_TRIFECTA_FILE_ID        0
#define NGX_HTTP_TRIFECTA_FILE_NAME      1
#define NGX_HTTP_TRIFECTA_FILE_PURPOSE   2
#define NGX_HTTP_TRIFECTA_FILE_BYTES     3
#define NGX_HTTP_TRIFECTA_FILE_CREATED   4
#define NGX_HTTP_TRIFECTA_FILE_EXPIRES   5
#define NGX_HTTP_TRIFECTA_FILE_KIND      6
#define NGX_HTTP_TRIFECTA_FILE_BATCH     7
#define NGX_HTTP_TRIFECTA_FILE_NCOLUMNS  8


/*
 * The id in the path as that of a row, in the pool.  NGX_DECLINED: go on, else
 * what an error returned.
 */
ngx_int_t ngx_http_trifecta_file_id(ngx_http_request_t *r, ngx_str_t *text,
    ngx_str_t *id);

ngx_int_t ngx_http_trifecta_file_not_found(ngx_http_request_t *r);
ngx_int_t ngx_http_trifecta_file_no_store(ngx_http_request_t *r);

/* A row of those columns as the object. */
void ngx_http_trifecta_file_object(ngx_http_trifecta_json_t *j, PGresult *res,
    int row);

/* Makes the id of a new file, TF_ID_TEXT_LEN characters. */
ngx_int_t ngx_http_trifecta_file_new_id(ngx_http_request_t *r, u_char *text);


/*
 * files_form.c: what the parts of the form say.  A mistake has a code, a
 * parameter and a text.
 */

#define NGX_HTTP_TRIFECTA_FILE_VALUE_MAX  64
#define NGX_HTTP_TRIFECTA_FILE_FIELDS     3

typedef struct {
    u_char        text[NGX_HTTP_TRIFECTA_FILE_VALUE_MAX];
    size_t        len;
    unsigned      seen:1;
} ngx_http_trifecta_file_value_t;

typedef struct ngx_http_trifecta_file_form_s  ngx_http_trifecta_file_form_t;

ngx_http_trifecta_file_form_t *ngx_http_trifecta_file_form_create(
    ngx_http_request_t *r);

/* Reads the type of the request; NGX_DECLINED: go on; as all of these. */
ngx_int_t ngx_http_trifecta_file_form_start(
    ngx_http_trifecta_file_form_t *form);
ngx_int_t ngx_http_trifecta_file_form_feed(
    ngx_http_trifecta_file_form_t *form, u_char *p, size_t len);

typedef struct {
    ngx_str_t     name;
    ngx_str_t     purpose;
    off_t         start;        /* of the content, in the body */
    off_t         bytes;
    time_t        ttl;          /* 0: for ever */
} ngx_http_trifecta_file_wanted_t;

/* After the last byte: what it asks for. */
ngx_int_t ngx_http_trifecta_file_form_end(ngx_http_trifecta_file_form_t *form,
    ngx_http_trifecta_file_wanted_t *wanted);


/*
 * files_turn.c: who may write.  The event runs when an upload has a place, or
 * has waited too long for one; then it asks again.
 */

typedef struct {
    ngx_http_trifecta_worker_t  *worker;
    ngx_event_t                 *event;
    ngx_queue_t                  queue;
    unsigned                     waits:1;
    unsigned                     writes:1;
} ngx_http_trifecta_file_turn_t;

/* NGX_OK: it writes; NGX_AGAIN: it waits; NGX_BUSY: it does not. */
ngx_int_t ngx_http_trifecta_file_turn(ngx_http_trifecta_file_turn_t *turn);
void ngx_http_trifecta_file_turn_end(ngx_http_trifecta_file_turn_t *turn);

/* What it is answered then. */
ngx_int_t ngx_http_trifecta_file_many(ngx_http_request_t *r);


/* Directive trifecta_files. */
char *ngx_http_trifecta_conf_files(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_TRIFECTA_FILES_H_INCLUDED */
