#include "ngx_http_trifecta_conf.h"


#define NGX_HTTP_TRIFECTA_REDIS_PORT  6379


/* The part before "@", which is no password. */

static char *
ngx_http_trifecta_server_user(ngx_conf_t *cf,
    ngx_http_trifecta_server_t *server, ngx_str_t *rest)
{
    u_char  *at;

    at = ngx_strlchr(rest->data, rest->data + rest->len, '@');

    if (at == NULL) {
        return NGX_CONF_OK;
    }

    if (ngx_strlchr(rest->data, at, ':')) {
        return "has a password in its URL: put it into a file, see "
               "trifecta_redis_password_file";
    }

    server->user.len = at - rest->data;
    server->user.data = ngx_pnalloc(cf->pool, server->user.len + 1);
    if (server->user.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(server->user.data, rest->data, server->user.len + 1);

    rest->len -= at + 1 - rest->data;
    rest->data = at + 1;

    return NGX_CONF_OK;
}


/* A name that is not known leaves the shard without an address. */

static char *
ngx_http_trifecta_server_host(ngx_conf_t *cf,
    ngx_http_trifecta_server_t *server, ngx_str_t *host)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *host;
    u.default_port = NGX_HTTP_TRIFECTA_REDIS_PORT;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"",
                           u.err ? u.err : "error", &server->url);
        return NGX_CONF_ERROR;
    }

    if (u.naddrs == 0 && ngx_inet_resolve_host(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "%s in \"%V\": there is no queue until the name "
                           "is known and nginx is reloaded",
                           u.err ? u.err : "error", &server->url);
        return NGX_CONF_OK;
    }

    server->addrs = u.addrs;
    server->naddrs = u.naddrs;

    return NGX_CONF_OK;
}


/* host:port, unix:/path or redis://[user@]host[:port] */

static char *
ngx_http_trifecta_server_url(ngx_conf_t *cf,
    ngx_http_trifecta_server_t *server)
{
    char       *rv;
    ngx_str_t   rest;

    rest = server->url;

    if (ngx_strncasecmp(rest.data, (u_char *) "rediss://", 9) == 0) {
        return "has the scheme \"rediss\": TLS to Redis is not supported, "
               "use a local or tunnelled Redis";
    }

    if (ngx_strncasecmp(rest.data, (u_char *) "redis://", 8) == 0) {
        rest.data += 8;
        rest.len -= 8;

        rv = ngx_http_trifecta_server_user(cf, server, &rest);

        if (rv != NGX_CONF_OK) {
            return rv;
        }

        if (rest.len && rest.data[rest.len - 1] == '/') {
            rest.len--;
        }

        if (ngx_strlchr(rest.data, rest.data + rest.len, '/')) {
            return "selects a database: only database 0 is used";
        }
    }

    return ngx_http_trifecta_server_host(cf, server, &rest);
}


char *
ngx_http_trifecta_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    char                        *rv;
    ngx_str_t                   *value;
    ngx_uint_t                   i;
    ngx_http_trifecta_server_t  *server;

    if (mcf->servers) {
        return "is duplicate";
    }

    if (cf->args->nelts - 1 > TF_SHARDS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "trifecta_redis has %ui "
                           "servers, one a shard: %d shards are possible",
                           cf->args->nelts - 1, TF_SHARDS_MAX);
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    mcf->servers = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                    sizeof(ngx_http_trifecta_server_t));
    if (mcf->servers == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        server = ngx_array_push(mcf->servers);
        if (server == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(server, sizeof(ngx_http_trifecta_server_t));
        server->url = value[i];

        rv = ngx_http_trifecta_server_url(cf, server);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}
