#include "ngx_http_trifecta_files.h"
#include "ngx_http_trifecta_worker.h"


/* POST /v1/files. */

typedef struct {
    ngx_http_trifecta_op_t            op;
    ngx_event_t                       event;
    ngx_http_trifecta_file_form_t    *form;
    ngx_http_trifecta_file_wanted_t   wanted;
    ngx_http_trifecta_file_turn_t     turn;
    u_char                           *piece;    /* NULL while it waits */
    off_t                             size;     /* of the body */
    off_t                             offset;   /* in it, then in the file */
    ngx_uint_t                        part;
    u_char                            id[TF_ID_TEXT_LEN];
    PGresult                         *row;      /* of the file */
    unsigned                          read:1;   /* the form is */
    unsigned                          begun:1;  /* there may be a row */
    unsigned                          whole:1;
} ngx_http_trifecta_upload_t;


static void ngx_http_trifecta_upload_next(ngx_http_trifecta_upload_t *up);


/*
 * Uploads of one owner come one after the other here, or two could take the
 * same last place.  One that was not finished counts until it is gone.
 */

static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_upload_begin_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "SELECT pg_advisory_xact_lock(hashtextextended("
      "'trifecta.file/' || $1 || '/' || $2, 0))", 2 },

    { "WITH s AS (SELECT count(*) AS n, coalesce(sum(bytes), 0) AS b"
      " FROM trifecta.file WHERE tenant = $1 AND owner = $2"
      " AND kind = 'upload' AND (expires IS NULL OR expires > now())),"
      " i AS (INSERT INTO trifecta.file (id, tenant, owner, name, purpose,"
      " bytes, created, expires)"
      " SELECT $3::uuid, $1, $2, $4, $5, $6::bigint, now(),"
      " now() + $7::bigint * interval '1 second' FROM s"
      " WHERE s.n < $8::bigint AND s.b + $6::bigint <= $9::bigint"
      " RETURNING *)"
      " SELECT i.id, i.name, i.purpose, i.bytes,"
      " extract(epoch from i.created)::bigint,"
      " extract(epoch from i.expires)::bigint, 'upload', NULL,"
      " s.n < $8::bigint"
      " FROM s LEFT JOIN i ON true", 9 },

    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_upload_part_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "INSERT INTO trifecta.file_part (file, part, tenant, owner, body)"
      " VALUES ($3::uuid, $4::int, $1, $2, $5::bytea)", 5 },

    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_upload_end_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "UPDATE trifecta.file SET whole = true"
      " WHERE id = $3::uuid AND tenant = $1 AND owner = $2"
      " AND bytes = (SELECT coalesce(sum(octet_length(p.body)), 0)"
      " FROM trifecta.file_part p WHERE p.file = $3::uuid"
      " AND p.tenant = $1 AND p.owner = $2) RETURNING id", 3 },

    { NULL, 0 }
};


static const ngx_http_trifecta_pg_statement_t
    ngx_http_trifecta_upload_drop_query[] =
{
    NGX_HTTP_TRIFECTA_STORE_AS,

    { "DELETE FROM trifecta.file"
      " WHERE id = $3::uuid AND tenant = $1 AND owner = $2", 3 },

    { NULL, 0 }
};


static void
ngx_http_trifecta_upload_dropped(void *data, PGresult *res)
{
    /* what could not be deleted goes by itself after an hour */
}


/* The request ends, in whatever way. */

static void
ngx_http_trifecta_upload_cleanup(void *data)
{
    ngx_http_trifecta_upload_t *up = data;

    ngx_str_t                       id;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_store_t       store;
    ngx_http_trifecta_main_conf_t  *mcf;

    if (up->event.posted) {
        ngx_delete_posted_event(&up->event);
    }

    if (up->event.timer_set) {
        ngx_del_timer(&up->event);
    }

    PQclear(up->row);
    up->row = NULL;

    ngx_http_trifecta_file_turn_end(&up->turn);

    if (!up->begun || up->whole) {
        return;
    }

    up->begun = 0;

    ctx = ngx_http_trifecta_get_ctx(up->op.request);
    mcf = ngx_http_get_module_main_conf(up->op.request,
                                        ngx_http_trifecta_module);

    if (ctx == NULL || mcf->worker == NULL) {
        return;
    }

    id.data = up->id;
    id.len = TF_ID_TEXT_LEN;

    ngx_memzero(&store, sizeof(ngx_http_trifecta_store_t));

    store.statements = ngx_http_trifecta_upload_drop_query;
    store.params = &id;
    store.nparams = 1;

    (void) ngx_http_trifecta_store_run(mcf, &ctx->tenant, &ctx->owner, &store,
                                       ngx_http_trifecta_upload_dropped,
                                       NULL);
}


/* Bytes of the body, from the temporary file into the piece. */

static ngx_int_t
ngx_http_trifecta_upload_read(ngx_http_trifecta_upload_t *up, off_t offset,
    size_t len)
{
    ngx_file_t  *file;

    file = &up->op.request->request_body->temp_file->file;

    return ngx_read_file(file, up->piece, len, offset) == (ssize_t) len
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_trifecta_upload_ask(ngx_http_trifecta_upload_t *up,
    const ngx_http_trifecta_pg_statement_t *statements, ngx_str_t *params,
    ngx_uint_t nparams, ngx_uint_t binary,
    ngx_http_trifecta_pg_handler_pt handler)
{
    ngx_http_trifecta_store_t  store;

    ngx_memzero(&store, sizeof(ngx_http_trifecta_store_t));

    store.statements = statements;
    store.params = params;
    store.nparams = nparams;
    store.binary = binary;

    params[0].data = up->id;
    params[0].len = TF_ID_TEXT_LEN;

    if (ngx_http_trifecta_store_op(&up->op, &store, handler) != NGX_OK) {
        return ngx_http_trifecta_file_no_store(up->op.request);
    }

    return NGX_DONE;
}


static void
ngx_http_trifecta_upload_ended(void *data, PGresult *res)
{
    ngx_http_trifecta_upload_t *up = data;

    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_trifecta_json_t   j;

    r = up->op.request;
    up->op.query = NULL;

    if (res == NULL || PQntuples(res) != 1) {
        rc = ngx_http_trifecta_file_no_store(r);

    } else {
        up->whole = 1;

        ngx_http_trifecta_json_init(&j, r->pool, 512);
        ngx_http_trifecta_file_object(&j, up->row, 0);

        rc = ngx_http_trifecta_reply(r, NGX_HTTP_OK, "application/json", &j);
    }

    ngx_http_trifecta_finalize(r, rc);
}


static void
ngx_http_trifecta_upload_wrote(void *data, PGresult *res)
{
    ngx_http_trifecta_upload_t *up = data;

    up->op.query = NULL;

    if (res == NULL) {
        ngx_http_trifecta_finalize(up->op.request,
                              ngx_http_trifecta_file_no_store(up->op.request));
        return;
    }

    ngx_http_trifecta_upload_next(up);
}


/* One part more, or the end. */

static void
ngx_http_trifecta_upload_next(ngx_http_trifecta_upload_t *up)
{
    size_t     len;
    u_char     number[NGX_INT_T_LEN];
    ngx_int_t  rc;
    ngx_str_t  params[3];

    if (up->offset == up->wanted.bytes) {
        rc = ngx_http_trifecta_upload_ask(up,
                                          ngx_http_trifecta_upload_end_query,
                                          params, 1, 0,
                                          ngx_http_trifecta_upload_ended);
        goto done;
    }

    len = (size_t) ngx_min(up->wanted.bytes - up->offset,
                           NGX_HTTP_TRIFECTA_FILE_PIECE);

    if (ngx_http_trifecta_upload_read(up, up->wanted.start + up->offset, len)
        != NGX_OK)
    {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        goto done;
    }

    params[1].data = number;
    params[1].len = ngx_sprintf(number, "%ui", up->part) - number;
    params[2].data = up->piece;
    params[2].len = len;

    up->offset += len;
    up->part++;

    rc = ngx_http_trifecta_upload_ask(up, ngx_http_trifecta_upload_part_query,
                                      params, 3, 1 << 2,
                                      ngx_http_trifecta_upload_wrote);

done:

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(up->op.request, rc);
    }
}


static ngx_int_t
ngx_http_trifecta_upload_full(ngx_http_trifecta_upload_t *up, PGresult *res)
{
    ngx_http_request_t             *r;
    ngx_http_trifecta_main_conf_t  *mcf;

    r = up->op.request;
    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);

    if (PQgetvalue(res, 0, NGX_HTTP_TRIFECTA_FILE_NCOLUMNS)[0] == 't') {
        return ngx_http_trifecta_error(r, TF_E_FILES_FULL, "file",
                                       "your files may have %O bytes "
                                       "together: delete some first",
                                       mcf->files_bytes);
    }

    return ngx_http_trifecta_error(r, TF_E_FILES_FULL, "file",
                                   "you may have %i files: delete some first",
                                   mcf->files);
}


static void
ngx_http_trifecta_upload_began(void *data, PGresult *res)
{
    ngx_http_trifecta_upload_t *up = data;

    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = up->op.request;
    up->op.query = NULL;

    if (res == NULL || PQntuples(res) != 1
        || PQnfields(res) != NGX_HTTP_TRIFECTA_FILE_NCOLUMNS + 1)
    {
        ngx_http_trifecta_finalize(r, ngx_http_trifecta_file_no_store(r));
        return;
    }

    if (PQgetisnull(res, 0, NGX_HTTP_TRIFECTA_FILE_ID)) {
        up->begun = 0;
        rc = ngx_http_trifecta_upload_full(up, res);
        ngx_http_trifecta_finalize(r, rc);
        return;
    }

    up->row = PQcopyResult(res, PG_COPYRES_ATTRS|PG_COPYRES_TUPLES);
    if (up->row == NULL) {
        ngx_http_trifecta_finalize(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    up->offset = 0;

    ngx_http_trifecta_upload_next(up);
}


static ngx_int_t
ngx_http_trifecta_upload_piece(ngx_http_trifecta_upload_t *up)
{
    up->piece = ngx_palloc(up->op.request->pool, NGX_HTTP_TRIFECTA_FILE_PIECE);

    return up->piece ? NGX_OK : NGX_ERROR;
}


/* There is a place among those that write: the row. */

static ngx_int_t
ngx_http_trifecta_upload_begin(ngx_http_trifecta_upload_t *up)
{
    u_char                          bytes[NGX_OFF_T_LEN];
    u_char                          ttl[NGX_TIME_T_LEN];
    u_char                          files[NGX_INT_T_LEN];
    u_char                          all[NGX_OFF_T_LEN];
    ngx_str_t                       params[7];
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(up->op.request,
                                        ngx_http_trifecta_module);

    if ((up->piece == NULL && ngx_http_trifecta_upload_piece(up) != NGX_OK)
        || ngx_http_trifecta_file_new_id(up->op.request, up->id) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    up->begun = 1;

    params[1] = up->wanted.name;
    params[2] = up->wanted.purpose;
    params[3].data = bytes;
    params[3].len = ngx_sprintf(bytes, "%O", up->wanted.bytes) - bytes;
    ngx_str_null(&params[4]);

    if (up->wanted.ttl) {
        params[4].data = ttl;
        params[4].len = ngx_sprintf(ttl, "%T", up->wanted.ttl) - ttl;
    }

    params[5].data = files;
    params[5].len = ngx_sprintf(files, "%i", mcf->files) - files;
    params[6].data = all;
    params[6].len = ngx_sprintf(all, "%O", mcf->files_bytes) - all;

    return ngx_http_trifecta_upload_ask(up,
                                        ngx_http_trifecta_upload_begin_query,
                                        params, 7, 0,
                                        ngx_http_trifecta_upload_began);
}


/* The form was read: it writes, or waits without the piece. */

static ngx_int_t
ngx_http_trifecta_upload_turn(ngx_http_trifecta_upload_t *up)
{
    ngx_int_t  rc;

    rc = ngx_http_trifecta_file_turn(&up->turn);

    if (rc == NGX_OK) {
        return ngx_http_trifecta_upload_begin(up);
    }

    if (rc == NGX_BUSY) {
        return ngx_http_trifecta_file_many(up->op.request);
    }

    if (up->piece) {
        (void) ngx_pfree(up->op.request->pool, up->piece);
        up->piece = NULL;
    }

    return NGX_DONE;
}


/* One piece of the form a turn of the event loop. */

static ngx_int_t
ngx_http_trifecta_upload_scan(ngx_http_trifecta_upload_t *up)
{
    size_t     len;
    ngx_int_t  rc;

    if (up->offset < up->size) {
        len = (size_t) ngx_min(up->size - up->offset,
                               NGX_HTTP_TRIFECTA_FILE_PIECE);

        if (ngx_http_trifecta_upload_read(up, up->offset, len) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        up->offset += len;

        rc = ngx_http_trifecta_file_form_feed(up->form, up->piece, len);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        ngx_post_event(&up->event, &ngx_posted_next_events);

        return NGX_DONE;
    }

    rc = ngx_http_trifecta_file_form_end(up->form, &up->wanted);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    up->read = 1;

    return ngx_http_trifecta_upload_turn(up);
}


static void
ngx_http_trifecta_upload_handler(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_upload_t  *up;

    up = ev->data;

    rc = up->read ? ngx_http_trifecta_upload_turn(up)
                  : ngx_http_trifecta_upload_scan(up);

    if (rc != NGX_DONE) {
        ngx_http_trifecta_finalize(up->op.request, rc);
    }
}


static ngx_int_t
ngx_http_trifecta_upload_start(ngx_http_request_t *r,
    ngx_http_trifecta_upload_t *up)
{
    if (ngx_http_trifecta_upload_piece(up) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->request_body->temp_file) {       /* an empty body has none */
        up->size = r->request_body->temp_file->offset;
    }

    if (ngx_http_trifecta_wait(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_post_event(&up->event, &ngx_posted_next_events);

    return NGX_DONE;
}


static void
ngx_http_trifecta_upload_body(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_trifecta_ctx_t     *ctx;
    ngx_http_trifecta_upload_t  *up;

    ctx = ngx_http_trifecta_get_ctx(r);

    up = ctx->body;
    ctx->body = NULL;

    rc = ngx_http_trifecta_upload_start(r, up);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


ngx_int_t
ngx_http_trifecta_file_create(ngx_http_request_t *r, ngx_str_t *id)
{
    off_t                           length;
    ngx_int_t                       rc;
    ngx_http_cleanup_t             *cln;
    ngx_http_trifecta_ctx_t        *ctx;
    ngx_http_trifecta_upload_t     *up;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    ctx = ngx_http_trifecta_get_ctx(r);
    length = r->headers_in.content_length_n;

    if (length < 0) {
        r->keepalive = 0;

        return ngx_http_trifecta_error(r, TF_E_LENGTH_REQUIRED, NULL,
                                       "the body needs a Content-Length");
    }

    if (length - NGX_HTTP_TRIFECTA_FILE_FORM > mcf->file_size) {
        return ngx_http_trifecta_error(r, TF_E_BODY_TOO_LARGE, "file",
                                       "the file is larger than %O bytes",
                                       mcf->file_size);
    }

    up = ngx_http_trifecta_op_create(r, sizeof(ngx_http_trifecta_upload_t));
    if (up == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    up->turn.worker = mcf->worker;
    up->turn.event = &up->event;
    up->event.handler = ngx_http_trifecta_upload_handler;
    up->event.data = up;
    up->event.log = r->connection->log;

    cln = ngx_http_cleanup_add(r, 0);
    up->form = ngx_http_trifecta_file_form_create(r);

    if (cln == NULL || up->form == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_trifecta_upload_cleanup;
    cln->data = up;

    /* what is no form is not worth a body */

    rc = ngx_http_trifecta_file_form_start(up->form);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ctx->body = up;

    r->request_body_in_file_only = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_trifecta_upload_body);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}
