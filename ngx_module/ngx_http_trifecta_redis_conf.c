#include "ngx_http_trifecta_conf.h"


#define NGX_HTTP_TRIFECTA_REDIS_PORT     6379
#define NGX_HTTP_TRIFECTA_SENTINEL_PORT  26379


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


/*
 * Adds the addresses of a host.  A name that is not known is a warning; if it
 * is the only one, the shard has no address.
 */

static char *
ngx_http_trifecta_server_host(ngx_conf_t *cf,
    ngx_http_trifecta_server_t *server, ngx_str_t *host, in_port_t port)
{
    ngx_url_t    u;
    ngx_addr_t  *addrs;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *host;
    u.default_port = port;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"",
                           u.err ? u.err : "error", &server->url);
        return NGX_CONF_ERROR;
    }

    if (u.naddrs == 0 && ngx_inet_resolve_host(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "%s in \"%V\": it is not used until the name is "
                           "known and nginx is reloaded",
                           u.err ? u.err : "error", &server->url);
        return NGX_CONF_OK;
    }

    addrs = ngx_palloc(cf->pool, (server->naddrs + u.naddrs)
                                 * sizeof(ngx_addr_t));
    if (addrs == NULL) {
        return NGX_CONF_ERROR;
    }

    if (server->naddrs) {
        ngx_memcpy(addrs, server->addrs, server->naddrs * sizeof(ngx_addr_t));
    }

    ngx_memcpy(addrs + server->naddrs, u.addrs,
               u.naddrs * sizeof(ngx_addr_t));

    server->addrs = addrs;
    server->naddrs += u.naddrs;

    return NGX_CONF_OK;
}


/* host[:port],host[:port],.../master */

static char *
ngx_http_trifecta_server_sentinels(ngx_conf_t *cf,
    ngx_http_trifecta_server_t *server, ngx_str_t *rest)
{
    char       *rv;
    u_char     *p, *end, *comma, *slash;
    ngx_str_t   host;

    end = rest->data + rest->len;
    slash = ngx_strlchr(rest->data, end, '/');

    if (slash == NULL || slash + 1 == end
        || ngx_strlchr(slash + 1, end, '/'))
    {
        return "has no name of the master: "
               "\"sentinel://host,host,host/master\"";
    }

    server->master.len = end - slash - 1;
    server->master.data = ngx_pnalloc(cf->pool, server->master.len + 1);
    if (server->master.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(server->master.data, slash + 1, server->master.len + 1);

    for (p = rest->data; p <= slash; p = comma + 1) {
        comma = ngx_strlchr(p, slash, ',');

        if (comma == NULL) {
            comma = slash;
        }

        host.data = p;
        host.len = comma - p;

        if (host.len == 0) {
            return "has a sentinel without a host";
        }

        rv = ngx_http_trifecta_server_host(cf, server, &host,
                                           NGX_HTTP_TRIFECTA_SENTINEL_PORT);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


/*
 * host:port, unix:/path, redis://[user@]host[:port] or
 * sentinel://[user@]host[:port],host[:port],.../master
 */

static char *
ngx_http_trifecta_server_url(ngx_conf_t *cf,
    ngx_http_trifecta_server_t *server)
{
    char        *rv;
    size_t       scheme;
    ngx_str_t    rest;
    ngx_uint_t   sentinels;

    rest = server->url;

    if (ngx_strncasecmp(rest.data, (u_char *) "rediss://", 9) == 0) {
        return "has the scheme \"rediss\": TLS to Redis is not supported, "
               "use a local or tunnelled Redis";
    }

    sentinels = (ngx_strncasecmp(rest.data, (u_char *) "sentinel://", 11)
                 == 0);

    scheme = sentinels ? 11
             : ngx_strncasecmp(rest.data, (u_char *) "redis://", 8) == 0 ? 8
             : 0;

    if (scheme == 0) {
        return ngx_http_trifecta_server_host(cf, server, &rest,
                                             NGX_HTTP_TRIFECTA_REDIS_PORT);
    }

    rest.data += scheme;
    rest.len -= scheme;

    rv = ngx_http_trifecta_server_user(cf, server, &rest);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (sentinels) {
        return ngx_http_trifecta_server_sentinels(cf, server, &rest);
    }

    if (rest.len && rest.data[rest.len - 1] == '/') {
        rest.len--;
    }

    if (ngx_strlchr(rest.data, rest.data + rest.len, '/')) {
        return "selects a database: only database 0 is used";
    }

    return ngx_http_trifecta_server_host(cf, server, &rest,
                                         NGX_HTTP_TRIFECTA_REDIS_PORT);
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
