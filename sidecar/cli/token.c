#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <jwt.h>
#include <openssl/crypto.h>

#include <trifecta/job.h>

#include "base/buf.h"
#include "cli/cli.h"


/*
 * Makes a bearer token, signed with the HS256 secret that nginx verifies
 * with (trifecta_jwt_issuer ... key=FILE).
 */

#define TF_TOKEN_KEY_MIN  32            /* RFC 7518, 3.2 */
#define TF_TOKEN_KEY_MAX  65536
#define TF_TOKEN_TTL_MAX  (366LL * 24 * 60 * 60)

typedef struct {
    const char  *sub;
    const char  *tenant;
    const char  *groups;
    const char  *scopes;
    int64_t      ttl;               /* s */
} tf_token_t;

static const tf_cli_option_t  tf_token_options[] = {
    { "sub", 's', "SUBJECT", "whose token it is (required)" },
    { "tenant", 't', "TENANT",
      "claim \"tenant\" (default: tenant of the configuration)" },
    { "ttl", 'l', "TIME", "how long it is good: 15m, 12h, 30d (default 12h)" },
    { "groups", 'g', "A,B", "claim \"groups\": whose documents it may see" },
    { "scopes", 'c', "A,B", "claim \"scope\"" },
    { NULL, 0, NULL, NULL }
};

static const tf_cli_usage_t  tf_token_usage = {
    "token", "",
    "Prints a bearer token (JWT, HS256) for one subject. It is signed with\n"
    "the secret in jwt_key_file, the file that nginx verifies with, and says\n"
    "jwt_issuer and jwt_audience. Whoever can read that file can be anybody.\n",
    tf_token_options, NULL,
    "  trifecta token --sub alice\n"
    "  trifecta token --sub alice --groups staff,hr --ttl 30d\n"
    "  curl -H \"Authorization: Bearer $(trifecta token --sub alice)\" ...\n"
};


/* nginx takes the file's bytes as the secret, without its last newline. */

static char *
tf_token_secret(const tf_cli_t *cli, const tf_conf_t *conf, size_t *len)
{
    char        *key;
    const char  *file;

    file = conf->jwt_key_file;

    if (file[0] == '\0') {
        (void) tf_cli_error(cli, "jwt_key_file is not set: it names the file "
                            "with the secret that nginx verifies with");
        return NULL;
    }

    key = tf_read_file(file, TF_TOKEN_KEY_MAX, len);
    if (key == NULL) {
        (void) tf_cli_error(cli, "cannot read jwt_key_file \"%s\": %m", file);
        return NULL;
    }

    if (*len > 0 && key[*len - 1] == '\n') {
        (*len)--;
        if (*len > 0 && key[*len - 1] == '\r') {
            (*len)--;
        }
    }

    if (*len < TF_TOKEN_KEY_MIN) {
        (void) tf_cli_error(cli, "the secret in jwt_key_file \"%s\" is "
                            "shorter than %d bytes; make one with: "
                            "openssl rand -hex 32", file, TF_TOKEN_KEY_MIN);
        OPENSSL_cleanse(key, *len);
        free(key);
        return NULL;
    }

    return key;
}


/* "a,b" as a JSON array; empty names are left out. */

static json_t *
tf_token_list(const char *names)
{
    size_t   len;
    json_t  *list;

    list = json_array();

    for ( /* void */ ; list != NULL && *names; names += len + !!names[len]) {
        len = strcspn(names, ",");

        if (len && json_array_append_new(list, json_stringn(names, len))
                   != 0)
        {
            json_decref(list);
            return NULL;
        }
    }

    return list;
}


static json_t *
tf_token_claims(const tf_token_t *token, const tf_conf_t *conf)
{
    char    *scope, *p;
    json_t  *claims, *groups;
    time_t   now;

    now = time(NULL);

    claims = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}",
                       "iss", conf->jwt_issuer, "aud", conf->jwt_audience,
                       "sub", token->sub, "tenant", token->tenant,
                       "iat", (json_int_t) now, "nbf", (json_int_t) now,
                       "exp", (json_int_t) (now + token->ttl));

    if (claims == NULL) {
        return NULL;
    }

    if (conf->jwt_audience[0] == '\0') {
        (void) json_object_del(claims, "aud");
    }

    if (token->groups != NULL) {
        groups = tf_token_list(token->groups);

        if (groups == NULL || json_object_set_new(claims, "groups", groups)) {
            goto failed;
        }
    }

    if (token->scopes != NULL) {

        /* words between spaces, RFC 8693 */

        scope = strdup(token->scopes);
        if (scope == NULL) {
            goto failed;
        }

        for (p = scope; *p; p++) {
            if (*p == ',') {
                *p = ' ';
            }
        }

        if (json_object_set_new(claims, "scope", json_string(scope)) != 0) {
            free(scope);
            goto failed;
        }

        free(scope);
    }

    return claims;

failed:

    json_decref(claims);

    return NULL;
}


/* The token, to be freed; NULL when memory is short or a name no UTF-8. */

static char *
tf_token_sign(const json_t *claims, const char *key, size_t len)
{
    char   *text, *token;
    jwt_t  *jwt;

    jwt = NULL;
    token = NULL;

    text = json_dumps(claims, JSON_COMPACT);

    if (text != NULL
        && jwt_new(&jwt) == 0
        && jwt_add_grants_json(jwt, text) == 0
        && jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *) key,
                       (int) len)
           == 0)
    {
        token = jwt_encode_str(jwt);
    }

    jwt_free(jwt);
    free(text);

    return token;
}


/* The bounds that the module holds a token against. */

static const char *
tf_token_check(const tf_token_t *token)
{
    const char           *s;
    const unsigned char  *p;

    s = token->sub;

    if (s == NULL || *s == '\0') {
        return "--sub SUBJECT is required";
    }

    if (strlen(s) > TF_OWNER_MAX - 1) {
        return "the subject is too long";
    }

    for (p = (const unsigned char *) s; *p; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            return "the subject has a control character in it";
        }
    }

    s = token->tenant;

    if (*s == '\0' || strlen(s) > TF_TENANT_MAX) {
        return "the tenant must have 1 to 64 bytes";
    }

    for (p = (const unsigned char *) s; *p; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            return "the tenant has a control character in it";
        }
    }

    return NULL;
}


int
tf_cli_token(int argc, char **argv)
{
    int          c, status;
    char        *key, *text;
    size_t       len;
    json_t      *claims;
    tf_cli_t     cli;
    tf_conf_t    conf;
    tf_token_t   token;
    const char  *why;

    memset(&token, 0, sizeof(tf_token_t));
    token.ttl = 12 * 60 * 60;

    tf_cli_begin(&cli, &tf_token_usage, argc, argv);

    while ((c = tf_cli_next(&cli)) > 0) {
        switch (c) {

        case 's':
            token.sub = cli.value;
            break;

        case 't':
            token.tenant = cli.value;
            break;

        case 'l':
            token.ttl = tf_key_parse_ms(cli.value) / 1000;
            if (token.ttl < 1 || token.ttl > TF_TOKEN_TTL_MAX) {
                return tf_cli_misuse(&cli, "--ttl %s: a time from 1s to "
                                     "366d is expected", cli.value);
            }
            break;

        case 'g':
            token.groups = cli.value;
            break;

        case 'c':
            token.scopes = cli.value;
            break;
        }
    }

    if (c < 0 || tf_cli_conf(&cli, &conf) != 0) {
        return cli.status;
    }

    if (token.tenant == NULL) {
        token.tenant = conf.tenant;
    }

    why = tf_token_check(&token);
    if (why != NULL) {
        status = tf_cli_misuse(&cli, "%s", why);
        goto done;
    }

    status = TF_CLI_FAILED;

    key = tf_token_secret(&cli, &conf, &len);
    if (key == NULL) {
        goto done;
    }

    claims = tf_token_claims(&token, &conf);
    text = claims ? tf_token_sign(claims, key, len) : NULL;

    json_decref(claims);
    OPENSSL_cleanse(key, len);
    free(key);

    if (text == NULL) {
        (void) tf_cli_error(&cli, "cannot make the token: a name that is not "
                            "UTF-8, or out of memory");
        goto done;
    }

    if (printf("%s\n", text) > 0 && fflush(stdout) == 0) {
        status = TF_CLI_OK;
    }

    free(text);

done:

    tf_conf_free(&conf);

    return status;
}
