#include "ngx_http_trifecta_conf.h"
#include "ngx_http_trifecta_fault.h"
#include "ngx_http_trifecta_files.h"
#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_models.h"
#include "ngx_http_trifecta_tokens.h"

#include <libpq-fe.h>


#define NGX_HTTP_TRIFECTA_PASSWORD_MAX  4096


ngx_int_t
ngx_http_trifecta_read_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *content, size_t max)
{
    size_t           size;
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_t       file;
    ngx_file_info_t  fi;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    ngx_memzero(&file, sizeof(ngx_file_t));

    file.fd = fd;
    file.name = *name;
    file.log = cf->log;

    n = NGX_ERROR;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", name);
        goto done;
    }

    if (!ngx_is_file(&fi) || ngx_file_size(&fi) > (off_t) max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is no file, or larger than %uz bytes",
                           name, max);
        goto done;
    }

    size = (size_t) ngx_file_size(&fi);

    content->data = ngx_pnalloc(cf->pool, size + 1);
    if (content->data == NULL) {
        goto done;
    }

    n = ngx_read_file(&file, content->data, size, 0);

    if (n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_file_n " \"%V\" failed", name);
        goto done;
    }

    content->data[n] = '\0';
    content->len = n;

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", name);
    }

    return n == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/*
 * libpq would resolve a name while the worker waits, so a host is resolved
 * here and handed over as an address; the name stays for TLS.
 */

static char *
ngx_http_trifecta_conf_pg_host(ngx_conf_t *cf,
    ngx_http_trifecta_main_conf_t *mcf, const char *host)
{
    size_t     len;
    ngx_str_t  text;
    ngx_url_t  u;
    u_char     buf[NGX_SOCKADDR_STRLEN];

    if (ngx_strchr(host, ',')) {
        return "names several hosts: give one";
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    text.len = ngx_strlen(host);
    text.data = ngx_pnalloc(cf->pool, text.len + 1);
    if (text.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(text.data, (u_char *) host, text.len + 1);

    u.host = text;
    u.default_port = 5432;
    u.port = 5432;

    if (ngx_inet_resolve_host(cf->pool, &u) != NGX_OK || u.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the host \"%V\" of trifecta_pg was not found: "
                           "there is no store until the name is known and "
                           "nginx is reloaded", &text);
        mcf->pg_unresolved = 1;
        return NGX_CONF_OK;
    }

    len = ngx_sock_ntop(u.addrs[0].sockaddr, u.addrs[0].socklen, buf,
                        NGX_SOCKADDR_STRLEN, 0);

    /* nginx puts brackets around an IPv6 address, libpq wants none */

    if (len > 2 && buf[0] == '[') {
        len -= 2;
        ngx_memmove(buf, buf + 1, len);
    }

    mcf->pg_hostaddr.data = ngx_pnalloc(cf->pool, len + 1);
    if (mcf->pg_hostaddr.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(mcf->pg_hostaddr.data, buf, len + 1);
    mcf->pg_hostaddr.len = len;

    return NGX_CONF_OK;
}


char *
ngx_http_trifecta_conf_pg(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    char              *err, *rv;
    ngx_str_t         *value;
    const char        *host, *hostaddr;
    PQconninfoOption  *options, *o;

    if (mcf->pg.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    mcf->pg = value[1];

    /* libpq takes a string with "=" or a URI for a connection string */

    if (ngx_strlchr(value[1].data, value[1].data + value[1].len, '=') == NULL
        && ngx_strncmp(value[1].data, "postgres", 8) != 0)
    {
        return "is no connection string, \"hostaddr=... dbname=... user=...\"";
    }

    options = PQconninfoParse((char *) value[1].data, &err);

    if (options == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "trifecta_pg: %s",
                           err ? err : "no memory");
        PQfreemem(err);
        return NGX_CONF_ERROR;
    }

    rv = NGX_CONF_OK;
    host = NULL;
    hostaddr = NULL;

    for (o = options; o->keyword; o++) {
        if (o->val == NULL || o->val[0] == '\0') {
            continue;
        }

        if (ngx_strcmp(o->keyword, "host") == 0) {
            host = o->val;

        } else if (ngx_strcmp(o->keyword, "hostaddr") == 0) {
            hostaddr = o->val;

        } else if (ngx_strcmp(o->keyword, "password") == 0) {
            rv = "has a password: put it into a file, see "
                 "trifecta_pg_password_file";
        }
    }

    if (rv == NGX_CONF_OK && hostaddr == NULL) {
        if (host == NULL) {
            rv = "names no hostaddr and no host";

        } else if (host[0] != '/' && host[0] != '@') {
            rv = ngx_http_trifecta_conf_pg_host(cf, mcf, host);
        }
    }

    PQconninfoFree(options);

    return rv;
}


/* The first line of a file. */

char *
ngx_http_trifecta_conf_password(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *p = conf;

    ngx_str_t  *value, *password;

    password = (ngx_str_t *) (p + cmd->offset);

    if (password->data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_trifecta_read_file(cf, &value[1], password,
                                    NGX_HTTP_TRIFECTA_PASSWORD_MAX)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    password->len = strcspn((char *) password->data, "\r\n");
    password->data[password->len] = '\0';

    if (password->len == 0) {
        return "names an empty file";
    }

    return NGX_CONF_OK;
}


char *
ngx_http_trifecta_conf_id_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    ngx_str_t   *value, text;
    const char  *err;

    if (mcf->id_keys.n) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_trifecta_read_file(cf, &value[1], &text, 4096) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    err = tf_id_keys_parse(&mcf->id_keys, (char *) text.data, text.len);

    ngx_explicit_memzero(text.data, text.len);

    if (err) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the file \"%V\" of trifecta_id_key_file: %s",
                           &value[1], err);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* NUMBER [SIZE]: so many files of an owner, and so many bytes of them. */

char *
ngx_http_trifecta_conf_files(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    ngx_str_t  *value;

    if (mcf->files != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    mcf->files = ngx_atoi(value[1].data, value[1].len);

    if (mcf->files == NGX_ERROR) {
        return "names no number of files";
    }

    if (cf->args->nelts > 2) {
        mcf->files_bytes = ngx_parse_offset(&value[2]);

        if (mcf->files_bytes == NGX_ERROR) {
            return "names no size";
        }
    }

    return NGX_CONF_OK;
}


void *
ngx_http_trifecta_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_trifecta_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    mcf->leeway = NGX_CONF_UNSET_MSEC;
    mcf->token_memory = NGX_CONF_UNSET_SIZE;
    mcf->max_jobs = NGX_CONF_UNSET;
    mcf->max_jobs_per_tenant = NGX_CONF_UNSET;
    mcf->max_waiters = NGX_CONF_UNSET;
    mcf->file_size = NGX_CONF_UNSET;
    mcf->files = NGX_CONF_UNSET;
    mcf->files_bytes = NGX_CONF_UNSET;
    mcf->wait_fallback = NGX_CONF_UNSET_MSEC;
    mcf->replicas = NGX_CONF_UNSET;
    mcf->batch_lines = NGX_CONF_UNSET;

    return mcf;
}


char *
ngx_http_trifecta_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    ngx_conf_init_msec_value(mcf->leeway, 30000);
    ngx_conf_init_size_value(mcf->token_memory,
                             NGX_HTTP_TRIFECTA_TOKENS_SIZE);
    ngx_conf_init_value(mcf->max_jobs, 10000);
    ngx_conf_init_value(mcf->max_jobs_per_tenant, 1000);
    ngx_conf_init_value(mcf->max_waiters, 10000);
    ngx_conf_init_value(mcf->file_size, 100 * 1024 * 1024);
    ngx_conf_init_value(mcf->files, 100);
    ngx_conf_init_value(mcf->files_bytes, 1024 * 1024 * 1024);
    ngx_conf_init_msec_value(mcf->wait_fallback, 10000);
    ngx_conf_init_value(mcf->replicas, 0);
    ngx_conf_init_value(mcf->batch_lines, 50000);

    if (mcf->wait_fallback < 100) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "trifecta_wait_fallback must be 100ms or more");
        return NGX_CONF_ERROR;
    }

    if (ngx_http_trifecta_models_init(cf, mcf) != NGX_OK
        || ngx_http_trifecta_metrics_zone(cf, mcf) != NGX_OK
        || ngx_http_trifecta_fault_init(cf, mcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_trifecta_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                  i;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    /* nginx runs the handlers of a phase from the last to the first */

    static const ngx_http_handler_pt  handlers[] = {
        ngx_http_trifecta_limit_phase,
        ngx_http_trifecta_fence_subject,
        ngx_http_trifecta_auth_handler,
        ngx_http_trifecta_fence_address
    };

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    for (i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        *h = handlers[i];
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_trifecta_log_handler;

    return NGX_OK;
}
