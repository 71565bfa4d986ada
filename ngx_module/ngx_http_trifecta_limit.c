#include "ngx_http_trifecta_limit.h"
#include "ngx_http_trifecta_reply.h"

#include <trifecta/text.h>


#define NGX_HTTP_TRIFECTA_LIMIT_SAYS  5     /* elements a policy */


typedef enum {
    ngx_http_trifecta_limit_user = 0,
    ngx_http_trifecta_limit_tenant,
    ngx_http_trifecta_limit_route
} ngx_http_trifecta_limit_key_e;

typedef struct {
    ngx_str_t                        name;
    ngx_http_trifecta_limit_key_e    key;
    ngx_uint_t                       quota;
    ngx_uint_t                       window;    /* ms */
} ngx_http_trifecta_limit_t;


static const char *const  ngx_http_trifecta_limit_keys[] = {
    "user", "tenant", "route", NULL
};


ngx_int_t
ngx_http_trifecta_rate_param(ngx_http_trifecta_rate_t *rate, ngx_str_t *param)
{
    u_char     *p, *end;
    ngx_int_t   n;

    end = param->data + param->len;

    if (ngx_strncmp(param->data, "burst=", 6) == 0) {
        p = param->data + 6;
        n = ngx_atoi(p, end - p);

        if (n < 1 || n > NGX_HTTP_TRIFECTA_RATE_MAX || rate->burst) {
            return NGX_ERROR;
        }

        rate->burst = n;

        return NGX_OK;
    }

    if (ngx_strncmp(param->data, "rate=", 5) != 0) {
        return NGX_DECLINED;
    }

    p = param->data + 5;

    if (end - p < 4 || end[-3] != 'r' || end[-2] != '/' || rate->n) {
        return NGX_ERROR;
    }

    switch (end[-1]) {

    case 's':
        rate->unit = 1000;
        break;

    case 'm':
        rate->unit = 60 * 1000;
        break;

    case 'h':
        rate->unit = 60 * 60 * 1000;
        break;

    case 'd':
        rate->unit = 24 * 60 * 60 * 1000;
        break;

    default:
        return NGX_ERROR;
    }

    n = ngx_atoi(p, end - 3 - p);

    if (n < 1 || n > NGX_HTTP_TRIFECTA_RATE_MAX) {
        return NGX_ERROR;
    }

    rate->n = n;
    rate->letter = end[-1];

    return NGX_OK;
}


char *
ngx_http_trifecta_rate_check(ngx_http_trifecta_rate_t *rate)
{
    if (rate->n == 0) {
        return "has no \"rate=\"";
    }

    if (rate->burst == 0) {
        rate->burst = rate->n;
    }

    if ((uint64_t) rate->unit * rate->burst / rate->n / 1000
        > NGX_HTTP_TRIFECTA_WINDOW_MAX)
    {
        return "has a \"burst=\" that its rate needs more than a year for";
    }

    return NULL;
}


ngx_uint_t
ngx_http_trifecta_limit_name(ngx_str_t *name)
{
    u_char  c;
    size_t  i;

    if (name->len == 0 || name->len > NGX_HTTP_TRIFECTA_LIMIT_NAME) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
        {
            return 0;
        }
    }

    return 1;
}


/* off, or name=policy key=user|tenant|route rate=60r/m [burst=n] */

char *
ngx_http_trifecta_conf_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_loc_conf_t *lcf = conf;

    char                       *err;
    ngx_int_t                   rc;
    ngx_str_t                  *value, name, key;
    ngx_uint_t                  i, k;
    ngx_http_trifecta_rate_t    rate;
    ngx_http_trifecta_limit_t  *limit;

    ngx_str_null(&name);
    ngx_str_null(&key);
    ngx_memzero(&rate, sizeof(ngx_http_trifecta_rate_t));

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {

        if (lcf->limits) {
            return "off stands beside a policy";
        }

        lcf->limits = ngx_array_create(cf->pool, 1,
                                       sizeof(ngx_http_trifecta_limit_t));

        return lcf->limits ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    if (lcf->limits && lcf->limits->nelts == 0) {
        return "stands beside \"trifecta_limit off\"";
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "name=", 5) == 0 && name.len == 0) {
            name.data = value[i].data + 5;
            name.len = value[i].len - 5;

            if (ngx_http_trifecta_limit_name(&name)) {
                continue;
            }

        } else if (ngx_strncmp(value[i].data, "key=", 4) == 0
                   && key.len == 0)
        {
            key.data = value[i].data + 4;
            key.len = value[i].len - 4;
            continue;

        } else {
            rc = ngx_http_trifecta_rate_param(&rate, &value[i]);

            if (rc == NGX_OK) {
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of trifecta_limit",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    for (k = 0; ngx_http_trifecta_limit_keys[k]; k++) {
        if (key.len == ngx_strlen(ngx_http_trifecta_limit_keys[k])
            && ngx_strncmp(ngx_http_trifecta_limit_keys[k], key.data, key.len)
               == 0)
        {
            break;
        }
    }

    if (name.len == 0) {
        return "has no \"name=\"";
    }

    if (ngx_http_trifecta_limit_keys[k] == NULL) {
        return "needs \"key=user\", \"key=tenant\" or \"key=route\"";
    }

    err = ngx_http_trifecta_rate_check(&rate);

    if (err) {
        return err;
    }

    if (lcf->limits == NULL) {
        lcf->limits = ngx_array_create(cf->pool, 2,
                                       sizeof(ngx_http_trifecta_limit_t));
        if (lcf->limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (lcf->limits->nelts == NGX_HTTP_TRIFECTA_LIMITS_MAX) {
        return "is the ninth policy: eight are possible";
    }

    limit = lcf->limits->elts;

    for (i = 0; i < lcf->limits->nelts; i++) {
        if (limit[i].name.len == name.len
            && ngx_memcmp(limit[i].name.data, name.data, name.len) == 0)
        {
            return "has the same name as another policy here";
        }
    }

    limit = ngx_array_push(lcf->limits);
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    limit->name = name;
    limit->key = k;
    limit->quota = rate.burst;
    limit->window = ((uint64_t) rate.unit * rate.burst + rate.n / 2) / rate.n;

    if (limit->window == 0) {
        limit->window = 1;
    }

    return NGX_CONF_OK;
}


/*
 * Whom a policy counts.  A sub may be in several tenants, so a user is both;
 * neither has control characters, so the separator is one.
 */

static size_t
ngx_http_trifecta_limit_who(ngx_http_request_t *r,
    ngx_http_trifecta_limit_t *limit, ngx_str_t *route, u_char *p)
{
    u_char                   *start;
    ngx_http_trifecta_ctx_t  *ctx;

    ctx = ngx_http_trifecta_get_ctx(r);
    start = p;

    switch (limit->key) {

    case ngx_http_trifecta_limit_user:
        p = ngx_sprintf(p, "u:%V\x1f%V", &ctx->tenant, &ctx->owner);
        break;

    case ngx_http_trifecta_limit_tenant:
        p = ngx_sprintf(p, "t:%V", &ctx->tenant);
        break;

    default: /* ngx_http_trifecta_limit_route */
        p = ngx_sprintf(p, "r:%V", route);
        break;
    }

    return p - start;
}


/* The name of an argument of a policy: "lim1", "lim1k", ... */

static u_char *
ngx_http_trifecta_limit_word(u_char *p, ngx_uint_t i, const char *what)
{
    p = ngx_cpymem(p, "lim", 3);
    p = tf_text_number(p, (int64_t) i + 1);

    return ngx_cpymem(p, what, ngx_strlen(what));
}


ngx_int_t
ngx_http_trifecta_limit_args(ngx_http_request_t *r, ngx_str_t *route,
    const char **argv, size_t *argvlen)
{
    size_t                         size;
    u_char                        *p;
    ngx_int_t                      n;
    ngx_uint_t                     i;
    ngx_http_trifecta_ctx_t       *ctx;
    ngx_http_trifecta_limit_t     *limit;
    ngx_http_trifecta_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (lcf->limits == NULL || lcf->limits->nelts == 0) {
        return 0;
    }

    ctx = ngx_http_trifecta_get_ctx(r);

    size = ctx->tenant.len + ctx->owner.len + route->len
           + 4 * sizeof("lim8k") + 2 * NGX_INT_T_LEN + 16;

    p = ngx_pnalloc(r->pool, size * (lcf->limits->nelts + 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    n = 0;

#define ngx_http_trifecta_limit_arg(print)                                    \
    argv[n] = (const char *) p;                                               \
    p = print;                                                                \
    argvlen[n] = (const char *) p - argv[n];                                  \
    n++

    ngx_http_trifecta_limit_arg(ngx_cpymem(p, "nlim", 4));
    ngx_http_trifecta_limit_arg(tf_text_number(p,
                                              (int64_t) lcf->limits->nelts));

    limit = lcf->limits->elts;

    for (i = 0; i < lcf->limits->nelts; i++) {
        ngx_http_trifecta_limit_arg(ngx_http_trifecta_limit_word(p, i, ""));

        argv[n] = (const char *) limit[i].name.data;
        argvlen[n++] = limit[i].name.len;

        ngx_http_trifecta_limit_arg(ngx_http_trifecta_limit_word(p, i, "k"));
        ngx_http_trifecta_limit_arg(p + ngx_http_trifecta_limit_who(r,
                                                        &limit[i], route, p));
        ngx_http_trifecta_limit_arg(ngx_http_trifecta_limit_word(p, i, "q"));
        ngx_http_trifecta_limit_arg(tf_text_number(p,
                                                 (int64_t) limit[i].quota));
        ngx_http_trifecta_limit_arg(ngx_http_trifecta_limit_word(p, i, "w"));
        ngx_http_trifecta_limit_arg(tf_text_number(p,
                                                 (int64_t) limit[i].window));
    }

#undef ngx_http_trifecta_limit_arg

    return n;
}


static int64_t
ngx_http_trifecta_limit_seconds(int64_t ms)
{
    return ms > 0 ? (ms + 999) / 1000 : 0;
}


/* As api.openai.com writes it: 250ms, 17s, 2m3s, 1h0m3s. */

static u_char *
ngx_http_trifecta_limit_duration(u_char *p, int64_t ms)
{
    int64_t  s;

    if (ms < 1000) {
        p = tf_text_number(p, ngx_max(ms, 0));
        *p++ = 'm';
        *p++ = 's';

        return p;
    }

    s = ngx_http_trifecta_limit_seconds(ms);

    if (s >= 3600) {
        p = tf_text_number(p, s / 3600);
        *p++ = 'h';
    }

    if (s >= 60) {
        p = tf_text_number(p, s / 60 % 60);
        *p++ = 'm';
    }

    p = tf_text_number(p, s % 60);
    *p++ = 's';

    return p;
}


/* "name";a=1;b=2: one of a list, which has a comma in front of the others. */

static u_char *
ngx_http_trifecta_limit_item(u_char *p, size_t i, redisReply *name,
    const char *first, int64_t a, const char *second, int64_t b)
{
    if (i) {
        *p++ = ',';
        *p++ = ' ';
    }

    *p++ = '"';
    p = ngx_cpymem(p, name->str, name->len);
    *p++ = '"';

    p = ngx_cpymem(p, first, sizeof(";q=") - 1);
    p = tf_text_number(p, a);
    p = ngx_cpymem(p, second, sizeof(";w=") - 1);

    return tf_text_number(p, b);
}


ngx_int_t
ngx_http_trifecta_limit_headers(ngx_http_request_t *r, redisReply *reply,
    size_t from)
{
    size_t       i, n, size;
    u_char      *p, *policy, *state, *limit, *remaining, *reset, *end;
    int64_t      quota, window, left, wait, least, least_quota, least_wait;
    redisReply **e;

    if (reply->elements <= from) {
        return NGX_OK;
    }

    n = (reply->elements - from) / NGX_HTTP_TRIFECTA_LIMIT_SAYS;
    size = NGX_HTTP_TRIFECTA_LIMIT_NAME + 2 * NGX_INT64_LEN + 16;

    p = ngx_pnalloc(r->pool, 2 * n * size + 8 * NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    policy = p;
    state = p + n * size;
    limit = state + n * size;
    end = state;

    least = -1;
    least_quota = 0;
    least_wait = 0;

    for (i = 0; i < n; i++) {
        e = reply->element + from + i * NGX_HTTP_TRIFECTA_LIMIT_SAYS;

        if (e[0]->type != REDIS_REPLY_STRING
            || (size_t) e[0]->len > NGX_HTTP_TRIFECTA_LIMIT_NAME)
        {
            return NGX_OK;
        }

        quota = ngx_http_trifecta_resp_int(e[1]);
        window = ngx_http_trifecta_resp_int(e[2]);
        left = ngx_http_trifecta_resp_int(e[3]);
        wait = ngx_http_trifecta_resp_int(e[4]);

        p = ngx_http_trifecta_limit_item(p, i, e[0], ";q=", quota, ";w=",
                                    ngx_http_trifecta_limit_seconds(window));
        end = ngx_http_trifecta_limit_item(end, i, e[0], ";r=", left, ";t=",
                                      ngx_http_trifecta_limit_seconds(wait));

        if (least == -1 || left < least) {
            least = left;
            least_quota = quota;
            least_wait = wait;
        }
    }

    remaining = tf_text_number(limit, least_quota);
    reset = tf_text_number(remaining, least);

    if (ngx_http_trifecta_header(r, "RateLimit-Policy", policy, p - policy)
        != NGX_OK
        || ngx_http_trifecta_header(r, "RateLimit", state, end - state)
           != NGX_OK
        || ngx_http_trifecta_header(r, "X-RateLimit-Limit-Requests", limit,
                                    remaining - limit)
           != NGX_OK
        || ngx_http_trifecta_header(r, "X-RateLimit-Remaining-Requests",
                                    remaining, reset - remaining)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    end = ngx_http_trifecta_limit_duration(reset, least_wait);

    return ngx_http_trifecta_header(r, "X-RateLimit-Reset-Requests", reset,
                                    end - reset);
}


ngx_int_t
ngx_http_trifecta_limit_wait(ngx_http_request_t *r, int64_t ms)
{
    u_char  *p, *last, *end;

    if (ms < 1) {
        ms = 1;
    }

    p = ngx_pnalloc(r->pool, 2 * NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_sprintf(p, "%L", ngx_http_trifecta_limit_seconds(ms));
    end = ngx_sprintf(last, "%L", ms);

    if (ngx_http_trifecta_header(r, "Retry-After", p, last - p) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_trifecta_header(r, "Retry-After-Ms", last, end - last);
}


ngx_int_t
ngx_http_trifecta_limited(ngx_http_request_t *r, redisReply *reply)
{
    u_char                         period[64];
    ngx_str_t                      name;
    ngx_uint_t                     i;
    ngx_http_trifecta_limit_t     *limit;
    ngx_http_trifecta_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_trifecta_module);

    if (reply->elements < 3 || reply->element[2]->type != REDIS_REPLY_STRING
        || ngx_http_trifecta_limit_headers(r, reply, 3) != NGX_OK
        || ngx_http_trifecta_limit_wait(r,
                              ngx_http_trifecta_resp_int(reply->element[1]))
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    name.data = (u_char *) reply->element[2]->str;
    name.len = reply->element[2]->len;

    limit = lcf->limits ? lcf->limits->elts : NULL;

    for (i = 0; limit && i < lcf->limits->nelts; i++) {

        if (limit[i].name.len != name.len
            || ngx_memcmp(limit[i].name.data, name.data, name.len) != 0)
        {
            continue;
        }

        *ngx_http_trifecta_limit_duration(period, limit[i].window) = '\0';

        return ngx_http_trifecta_error(r, TF_E_RATE_LIMITED, NULL,
                                       "the limit \"%V\" allows %ui requests "
                                       "in %s for this %s", &name,
                                       limit[i].quota, period,
                                       ngx_http_trifecta_limit_keys[
                                                              limit[i].key]);
    }

    return ngx_http_trifecta_error(r, TF_E_RATE_LIMITED, NULL,
                                   "the limit \"%V\" is reached", &name);
}
