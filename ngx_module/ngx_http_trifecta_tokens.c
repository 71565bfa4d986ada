#include "ngx_http_trifecta_tokens.h"
#include "ngx_http_trifecta_crypto.h"
#include "ngx_http_trifecta_metrics.h"
#include "ngx_http_trifecta_worker.h"


struct ngx_http_trifecta_tokens_s {
    ngx_queue_t                    queue;       /* the last used is first */
    size_t                         bytes;
    size_t                         max;
    ngx_uint_t                     mask;
    ngx_http_trifecta_token_t    **buckets;
    ngx_http_trifecta_main_conf_t *mcf;
};


char *
ngx_http_trifecta_conf_tokens(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_trifecta_main_conf_t *mcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (mcf->token_memory != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        mcf->token_memory = 0;
        return NGX_CONF_OK;
    }

    size = ngx_parse_size(&value[1]);

    if (size < NGX_HTTP_TRIFECTA_TOKENS_MIN
        || size > NGX_HTTP_TRIFECTA_TOKENS_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "trifecta_jwt_memory must "
                           "be \"off\" or from 64k to 1g, not \"%V\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    mcf->token_memory = (size_t) size;

    return NGX_CONF_OK;
}


ngx_http_trifecta_tokens_t *
ngx_http_trifecta_tokens_create(ngx_cycle_t *cycle,
    ngx_http_trifecta_main_conf_t *mcf)
{
    size_t                       n;
    ngx_http_trifecta_tokens_t  *tokens;

    tokens = ngx_pcalloc(cycle->pool, sizeof(ngx_http_trifecta_tokens_t));
    if (tokens == NULL) {
        return NULL;
    }

    /* as many as there can be entries, or up to twice that */

    for (n = 1; n * NGX_HTTP_TRIFECTA_TOKEN_WEIGHT < mcf->token_memory;
         n *= 2)
    {
        /* void */
    }

    tokens->buckets = ngx_pcalloc(cycle->pool,
                                  n * sizeof(ngx_http_trifecta_token_t *));
    if (tokens->buckets == NULL) {
        return NULL;
    }

    ngx_queue_init(&tokens->queue);

    tokens->mask = n - 1;
    tokens->max = mcf->token_memory;
    tokens->mcf = mcf;

    return tokens;
}


/* The digest is even by itself, and nobody can choose that of a good token. */

static ngx_http_trifecta_token_t **
ngx_http_trifecta_tokens_bucket(ngx_http_trifecta_tokens_t *tokens,
    const u_char *digest)
{
    uint32_t  hash;

    ngx_memcpy(&hash, digest, sizeof(hash));

    return &tokens->buckets[hash & tokens->mask];
}


static void
ngx_http_trifecta_tokens_tell(ngx_http_trifecta_tokens_t *tokens,
    ngx_int_t entries)
{
    ngx_http_trifecta_slot_t  *slot;

    slot = ngx_http_trifecta_slot(tokens->mcf);

    slot->tokens += entries;
    slot->token_bytes = tokens->bytes;
}


static void
ngx_http_trifecta_tokens_forget(ngx_http_trifecta_tokens_t *tokens,
    ngx_http_trifecta_token_t *token)
{
    ngx_http_trifecta_token_t  **p;

    for (p = ngx_http_trifecta_tokens_bucket(tokens, token->digest);
         *p != token;
         p = &(*p)->next)
    {
        /* void */
    }

    *p = token->next;

    ngx_queue_remove(&token->queue);

    tokens->bytes -= token->weight;
    ngx_http_trifecta_tokens_tell(tokens, -1);

    ngx_http_trifecta_token_release(token);
}


void
ngx_http_trifecta_tokens_destroy(ngx_http_trifecta_tokens_t *tokens)
{
    ngx_queue_t  *q;

    if (tokens == NULL) {
        return;
    }

    while (!ngx_queue_empty(&tokens->queue)) {
        q = ngx_queue_head(&tokens->queue);

        ngx_http_trifecta_tokens_forget(tokens,
                                        ngx_queue_data(q,
                                                 ngx_http_trifecta_token_t,
                                                 queue));
    }
}


static ngx_http_trifecta_token_t *
ngx_http_trifecta_tokens_find(ngx_http_trifecta_tokens_t *tokens,
    const u_char *digest)
{
    int64_t                         leeway;
    ngx_http_trifecta_token_t      *token;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = tokens->mcf;

    for (token = *ngx_http_trifecta_tokens_bucket(tokens, digest);
         token;
         token = token->next)
    {
        if (token->issuers == mcf->issuers.elts
            && ngx_memcmp(token->digest, digest,
                          NGX_HTTP_TRIFECTA_TOKEN_DIGEST)
               == 0)
        {
            break;
        }
    }

    if (token == NULL) {
        return NULL;
    }

    leeway = (int64_t) (mcf->leeway / 1000);

    if (tf_jwt_in_time(&token->id.dates, ngx_time(), leeway)
        != TF_JWT_R_GOOD)
    {
        ngx_http_trifecta_tokens_forget(tokens, token);
        return NULL;
    }

    ngx_queue_remove(&token->queue);
    ngx_queue_insert_head(&tokens->queue, &token->queue);

    token->refs++;

    return token;
}


/* Rather too much than too little of what jansson takes for a value. */

static size_t
ngx_http_trifecta_tokens_weigh(json_t *json)
{
    size_t       i, n;
    json_t      *value;
    const char  *name;

    switch (json_typeof(json)) {

    case JSON_STRING:
        return 64 + json_string_length(json);

    case JSON_ARRAY:
        n = 128 + 2 * sizeof(void *) * json_array_size(json);

        json_array_foreach(json, i, value) {
            n += ngx_http_trifecta_tokens_weigh(value);
        }

        return n;

    case JSON_OBJECT:
        n = 320;

        json_object_foreach(json, name, value) {
            n += 128 + ngx_strlen(name)
                 + ngx_http_trifecta_tokens_weigh(value);
        }

        return n;

    default:
        return 32;
    }
}


static void
ngx_http_trifecta_tokens_keep(ngx_http_trifecta_tokens_t *tokens,
    ngx_http_trifecta_token_t *token)
{
    ngx_queue_t                 *q;
    ngx_http_trifecta_token_t  **bucket;

    token->weight = sizeof(ngx_http_trifecta_token_t)
                    + token->groups.len + token->scopes.len
                    + ngx_http_trifecta_tokens_weigh(token->id.claims)
                    + ngx_http_trifecta_tokens_weigh(token->id.groups)
                    + ngx_http_trifecta_tokens_weigh(token->id.scopes);

    token->weight = ngx_max(token->weight, NGX_HTTP_TRIFECTA_TOKEN_WEIGHT);

    if (token->weight > tokens->max / 16) {
        return;
    }

    while (tokens->bytes + token->weight > tokens->max) {
        q = ngx_queue_last(&tokens->queue);

        ngx_http_trifecta_count(tokens->mcf,
                                NGX_HTTP_TRIFECTA_M_TOKEN_EVICTED);
        ngx_http_trifecta_tokens_forget(tokens,
                                        ngx_queue_data(q,
                                                 ngx_http_trifecta_token_t,
                                                 queue));
    }

    bucket = ngx_http_trifecta_tokens_bucket(tokens, token->digest);

    token->issuers = tokens->mcf->issuers.elts;
    token->next = *bucket;
    *bucket = token;
    token->refs++;

    ngx_queue_insert_head(&tokens->queue, &token->queue);

    tokens->bytes += token->weight;
    ngx_http_trifecta_tokens_tell(tokens, 1);
}


/* Takes over what the identity holds, also when there is no memory. */

static ngx_http_trifecta_token_t *
ngx_http_trifecta_token_create(ngx_http_request_t *r, tf_jwt_identity_t *id)
{
    size_t                      groups, scopes;
    ngx_http_trifecta_token_t  *token;

    groups = json_dumpb(id->groups, NULL, 0, JSON_COMPACT);
    scopes = json_dumpb(id->scopes, NULL, 0, JSON_COMPACT);

    token = NULL;

    if (groups && scopes) {
        token = ngx_alloc(sizeof(ngx_http_trifecta_token_t) + groups + scopes,
                          r->connection->log);
    }

    if (token == NULL) {
        tf_jwt_release(id);
        return NULL;
    }

    ngx_memzero(token, sizeof(ngx_http_trifecta_token_t));

    token->id = *id;
    token->refs = 1;

    token->groups.len = groups;
    token->groups.data = (u_char *) token + sizeof(ngx_http_trifecta_token_t);
    token->scopes.len = scopes;
    token->scopes.data = token->groups.data + groups;

    if (json_dumpb(id->groups, (char *) token->groups.data, groups,
                   JSON_COMPACT)
        != groups
        || json_dumpb(id->scopes, (char *) token->scopes.data, scopes,
                      JSON_COMPACT)
           != scopes)
    {
        ngx_http_trifecta_token_release(token);
        return NULL;
    }

    return token;
}


void
ngx_http_trifecta_token_release(ngx_http_trifecta_token_t *token)
{
    if (--token->refs == 0) {
        tf_jwt_release(&token->id);
        ngx_free(token);
    }
}


tf_jwt_verdict_t
ngx_http_trifecta_token_check(ngx_http_request_t *r, ngx_str_t *text,
    ngx_http_trifecta_token_t **token, tf_jwt_reason_t *reason)
{
    u_char                          digest[NGX_HTTP_TRIFECTA_TOKEN_DIGEST];
    tf_jwt_verdict_t                verdict;
    tf_jwt_identity_t               id;
    ngx_http_trifecta_tokens_t     *tokens;
    ngx_http_trifecta_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_trifecta_module);
    tokens = mcf->worker ? mcf->worker->tokens : NULL;

    if (tokens && (text->len > TF_JWT_MAX
                   || ngx_http_trifecta_sha256(r, text->data, text->len,
                                               digest)
                      != NGX_OK))
    {
        tokens = NULL;
    }

    if (tokens) {
        *token = ngx_http_trifecta_tokens_find(tokens, digest);

        if (*token) {
            ngx_http_trifecta_count(mcf, NGX_HTTP_TRIFECTA_M_TOKEN_KNOWN);
            return TF_JWT_OK;
        }
    }

    verdict = tf_jwt_check(&id, text->data, text->len, mcf->issuers.elts,
                           mcf->issuers.nelts, ngx_time(),
                           (int64_t) (mcf->leeway / 1000));
    *reason = id.reason;

    if (verdict != TF_JWT_OK) {
        return verdict;
    }

    *token = ngx_http_trifecta_token_create(r, &id);

    if (*token == NULL) {
        *reason = TF_JWT_R_MEMORY;
        return TF_JWT_FAILED;
    }

    ngx_http_trifecta_count(mcf, NGX_HTTP_TRIFECTA_M_TOKEN_VERIFIED);

    if (tokens) {
        ngx_memcpy((*token)->digest, digest, NGX_HTTP_TRIFECTA_TOKEN_DIGEST);
        ngx_http_trifecta_tokens_keep(tokens, *token);
    }

    return TF_JWT_OK;
}
