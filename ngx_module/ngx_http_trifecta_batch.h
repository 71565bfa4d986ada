#ifndef NGX_HTTP_TRIFECTA_BATCH_H_INCLUDED
#define NGX_HTTP_TRIFECTA_BATCH_H_INCLUDED


#include "ngx_http_trifecta_openai.h"
#include "ngx_http_trifecta_standin.h"
#include "ngx_http_trifecta_store.h"


/*
 * Batches: a file of requests, one a line, that become jobs one after the
 * other, and whose answers are two files.
 *
 *   batch.c          POST /v1/batches: what the body says, and the answer
 *   batch_begin.c    a check takes its place, and makes the row
 *   batch_check.c    the file is read piece by piece, and its lines are
 *                    written as rows
 *   batch_line.c     one line: its form, and what its endpoint says to the
 *                    body
 *   batch_object.c   a batch as its owner sees it: GET, the list, cancel
 *   batch_content.c  the files of the answers, as they are sent
 *   batch_draw.c     a line of them
 *
 *   POST ──> a place among the checks ──> row "validating" ──> 200
 *                 │
 *                 └─> read 256 KB ──> lines ──> rows ──┐
 *                      ↑                               │
 *                      └───────────────────────────────┘
 *                 at the end: "in_progress", or "failed" with the errors
 *
 * The check belongs to the worker and not to the request, which may be over
 * before the row is there.  All checks of a worker together take a few ms of
 * a pass of its event loop; each has one query at PostgreSQL and
 * little more than a line in memory.  A worker that leaves goes on with it;
 * one that dies leaves the batch as it is, and a sidecar ends it.  Every
 * query can be repeated without harm, so a store that is away for a while
 * only delays it.
 *
 * From "in_progress" on sidecars have the batch (V19 of the migrations).
 * The files of the answers are not stored anywhere: they are drawn from the
 * lines and their jobs each time, by what draws the answers of the endpoints.
 */

#define NGX_HTTP_TRIFECTA_BATCH_LINE_MAX   1048576  /* bytes */
#define NGX_HTTP_TRIFECTA_BATCH_ID_MAX     512      /* ... of a custom_id */
#define NGX_HTTP_TRIFECTA_BATCH_ERRORS     100      /* that are told */
#define NGX_HTTP_TRIFECTA_BATCH_OPEN       100      /* of an owner */
#define NGX_HTTP_TRIFECTA_BATCH_CHECKS     8        /* of a worker at once */

#define NGX_HTTP_TRIFECTA_BATCH_VECTORS    4        /* beside the shapes */


typedef struct {
    ngx_str_t    path;
    ngx_uint_t   shape;
} ngx_http_trifecta_batch_endpoint_t;

/* batch_line.c: ends with an empty path */
extern const ngx_http_trifecta_batch_endpoint_t
    ngx_http_trifecta_batch_endpoints[];

/* The row of the table, or NULL. */
const ngx_http_trifecta_batch_endpoint_t *ngx_http_trifecta_batch_endpoint(
    const u_char *path, size_t len);


/*
 * The lines of a file, as they are checked.  Good and refused ones are rows
 * in "rows", a JSON array without its brackets; mistakes in the form of the
 * file are collected, and after the first one no rows are made any more.
 */

typedef struct {
    const ngx_http_trifecta_batch_endpoint_t  *endpoint;
    ngx_http_trifecta_standin_t               *standin;
    ngx_pool_t                                *pool;
    ngx_http_trifecta_json_t                   rows;
    ngx_uint_t                                 nrows;
    ngx_uint_t                                 number;  /* of this line */
    ngx_uint_t                                 total;   /* that are requests */
    ngx_uint_t                                 max;
    json_t                                    *errors;  /* or NULL */
    ngx_uint_t                                 nerrors;
    ngx_str_t                                  model;   /* of the first one */
    ngx_uint_t                                 models;  /* there are more */
    ngx_rbtree_t                               ids;
    ngx_rbtree_node_t                          sentinel;
} ngx_http_trifecta_batch_lines_t;

ngx_int_t ngx_http_trifecta_batch_lines_init(
    ngx_http_trifecta_batch_lines_t *lines, ngx_pool_t *pool);
void ngx_http_trifecta_batch_lines_free(
    ngx_http_trifecta_batch_lines_t *lines);

/* Checks the next line, without its end.  NGX_ERROR: no memory. */
ngx_int_t ngx_http_trifecta_batch_line(
    ngx_http_trifecta_batch_lines_t *lines, u_char *p, size_t len);

/* Notes a mistake; line 0: of the whole file. */
ngx_int_t ngx_http_trifecta_batch_wrong(
    ngx_http_trifecta_batch_lines_t *lines, const char *code,
    const char *param, ngx_uint_t line, const char *fmt, ...);


/*
 * batch_begin.c: takes a place among the checks of this worker, and makes the
 * row, whose columns come behind two of the file: whether it is good, and its
 * bytes.  The check goes on by itself from there; made() gets what the store
 * says, as ever with NULL for nothing, unless the client has left.
 *
 * NGX_OK: made() is called, once; NGX_BUSY: there is no place; NGX_DECLINED:
 * no store; NGX_ERROR: no memory.
 */

typedef struct ngx_http_trifecta_batch_check_s
    ngx_http_trifecta_batch_check_t;

typedef struct {
    const ngx_http_trifecta_batch_endpoint_t  *endpoint;
    ngx_str_t                                  id;
    ngx_str_t                                  file;    /* a uuid */
    ngx_http_trifecta_store_t                  row;
} ngx_http_trifecta_batch_plan_t;

ngx_int_t ngx_http_trifecta_batch_begin(ngx_http_request_t *r,
    ngx_http_trifecta_batch_plan_t *plan, ngx_http_trifecta_pg_handler_pt made,
    void *client, ngx_http_trifecta_batch_check_t **begun);
void ngx_http_trifecta_batch_leave(ngx_http_trifecta_batch_check_t *check);

/* The process ends; nothing that PostgreSQL owes is told any more. */
void ngx_http_trifecta_batch_checks_end(ngx_http_trifecta_worker_t *worker);


/* batch_object.c: a batch of a row, whose columns begin there */

#define NGX_HTTP_TRIFECTA_BATCH_COLUMNS                                       \
    "b.id, b.endpoint, b.state, b.model, b.errors::text, b.input, b.output,"  \
    " b.errors_file, extract(epoch from b.created)::bigint,"                  \
    " extract(epoch from b.begun)::bigint,"                                   \
    " extract(epoch from b.expires)::bigint,"                                 \
    " extract(epoch from b.finalizing)::bigint,"                              \
    " extract(epoch from b.ended)::bigint,"                                   \
    " extract(epoch from b.cancelling)::bigint,"                              \
    " b.total, b.done, b.failed, b.usage::text, b.metadata::text"

#define NGX_HTTP_TRIFECTA_BATCH_NCOLUMNS  19

void ngx_http_trifecta_batch_object(PGresult *res, int row, int from,
    ngx_http_trifecta_json_t *j);


/*
 * batch_draw.c: a line of a file of answers, of the row of a page; NGX_ERROR:
 * it cannot be drawn.  batch is the id as text, with a NUL behind it.
 */

/* the columns of a line, behind those of a full reading of its job */
#define NGX_HTTP_TRIFECTA_BATCH_COL_SEQ   NGX_HTTP_TRIFECTA_ROW_MORE
#define NGX_HTTP_TRIFECTA_BATCH_COL_ID    (NGX_HTTP_TRIFECTA_ROW_MORE + 1)
#define NGX_HTTP_TRIFECTA_BATCH_COL_ERROR (NGX_HTTP_TRIFECTA_ROW_MORE + 2)
#define NGX_HTTP_TRIFECTA_BATCH_COL_CODE  (NGX_HTTP_TRIFECTA_ROW_MORE + 3)
#define NGX_HTTP_TRIFECTA_BATCH_COL_JOB   (NGX_HTTP_TRIFECTA_ROW_MORE + 4)
#define NGX_HTTP_TRIFECTA_BATCH_COL_ASKED (NGX_HTTP_TRIFECTA_ROW_MORE + 5)
#define NGX_HTTP_TRIFECTA_BATCH_COL_N     (NGX_HTTP_TRIFECTA_ROW_MORE + 6)
#define NGX_HTTP_TRIFECTA_BATCH_COL_WHERE (NGX_HTTP_TRIFECTA_ROW_MORE + 7)
#define NGX_HTTP_TRIFECTA_BATCH_COL_OK    (NGX_HTTP_TRIFECTA_ROW_MORE + 8)
#define NGX_HTTP_TRIFECTA_BATCH_COLS      (NGX_HTTP_TRIFECTA_ROW_MORE + 9)

ngx_int_t ngx_http_trifecta_batch_draw(ngx_http_trifecta_standin_t *standin,
    ngx_str_t *batch, PGresult *res, int row, ngx_http_trifecta_json_t *j);


/*
 * batch_content.c: answers with a file of a batch, the answers or the errors
 * (errors is 1); for code that runs in an event of a store, with a request
 * that is held: NGX_DONE, and it is finalized later, else the value of an
 * error.  batch is the id as text, TF_ID_TEXT_LEN characters.
 */
ngx_int_t ngx_http_trifecta_batch_content(ngx_http_request_t *r,
    ngx_str_t *batch, ngx_uint_t errors);


#endif /* NGX_HTTP_TRIFECTA_BATCH_H_INCLUDED */
