#include <string.h>

#include "ngx_http_trifecta_claims.h"


typedef struct {
    json_t           *list;         /* of strings */
    int               split;        /* a string is words between spaces */
    tf_jwt_reason_t   malformed;
} tf_claims_list_t;


static tf_jwt_reason_t tf_claims_sub(tf_jwt_identity_t *id);
static tf_jwt_reason_t tf_claims_aud(const tf_jwt_identity_t *id);
static tf_jwt_reason_t tf_claims_dates(tf_jwt_identity_t *id);
static int tf_claims_date(const json_t *value, int64_t *date);
static tf_jwt_reason_t tf_claims_groups(tf_jwt_identity_t *id);
static tf_jwt_reason_t tf_claims_scopes(tf_jwt_identity_t *id);
static tf_jwt_reason_t tf_claims_append(tf_claims_list_t *list,
    const json_t *value);
static tf_jwt_reason_t tf_claims_append_string(tf_claims_list_t *list,
    const json_t *value);
static tf_jwt_reason_t tf_claims_tenant(tf_jwt_identity_t *id, int *none);


tf_jwt_reason_t
tf_claims_check(tf_jwt_identity_t *id, int64_t now, int64_t leeway)
{
    int              none;
    tf_jwt_reason_t  reason, timely;

    none = 0;
    timely = TF_JWT_R_GOOD;

    reason = tf_claims_sub(id);

    if (reason == TF_JWT_R_GOOD) {
        reason = tf_claims_aud(id);
    }

    if (reason == TF_JWT_R_GOOD) {
        reason = tf_claims_dates(id);
    }

    if (reason == TF_JWT_R_GOOD) {
        timely = tf_jwt_in_time(&id->dates, now, leeway);

        if (timely != TF_JWT_R_EXPIRED) {
            reason = timely;
        }
    }

    if (reason == TF_JWT_R_GOOD) {
        reason = tf_claims_groups(id);
    }

    if (reason == TF_JWT_R_GOOD) {
        reason = tf_claims_scopes(id);
    }

    if (reason == TF_JWT_R_GOOD) {
        reason = tf_claims_tenant(id, &none);
    }

    if (reason == TF_JWT_R_GOOD) {
        reason = timely;
    }

    if (reason == TF_JWT_R_GOOD && none) {
        reason = TF_JWT_R_NO_TENANT;
    }

    return reason;
}


static tf_jwt_reason_t
tf_claims_sub(tf_jwt_identity_t *id)
{
    char          *p;
    size_t         len;
    const json_t  *sub;

    sub = json_object_get(id->claims, "sub");

    id->sub.data = json_string_value(sub);
    id->sub.len = json_string_length(sub);

    len = id->issuer->name.len + 1 + id->sub.len;

    if (id->sub.len == 0 || len > TF_OWNER_MAX
        || !tf_claims_plain(id->sub.data, id->sub.len))
    {
        return TF_JWT_R_SUB;
    }

    p = id->owner;

    memcpy(p, id->issuer->name.data, id->issuer->name.len);
    p += id->issuer->name.len;

    *p++ = ':';

    memcpy(p, id->sub.data, id->sub.len);

    id->owner_len = len;

    return TF_JWT_R_GOOD;
}


static tf_jwt_reason_t
tf_claims_aud(const tf_jwt_identity_t *id)
{
    int            found;
    size_t         i;
    tf_jwt_str_t   ours;
    const json_t  *aud, *one;

    ours = id->issuer->aud;
    aud = json_object_get(id->claims, "aud");

    if (aud == NULL) {
        return ours.len ? TF_JWT_R_AUD : TF_JWT_R_GOOD;
    }

    if (json_is_string(aud)) {
        found = tf_claims_equal(aud, ours);

    } else if (json_is_array(aud)) {
        found = 0;

        for (i = 0; i < json_array_size(aud); i++) {
            one = json_array_get(aud, i);

            if (!json_is_string(one)) {
                return TF_JWT_R_AUD;
            }

            found |= tf_claims_equal(one, ours);
        }

    } else {
        return TF_JWT_R_AUD;
    }

    return found ? TF_JWT_R_GOOD : TF_JWT_R_AUDIENCE;
}


static tf_jwt_reason_t
tf_claims_dates(tf_jwt_identity_t *id)
{
    const json_t    *value;
    tf_jwt_dates_t  *dates;

    dates = &id->dates;

    if (tf_claims_date(json_object_get(id->claims, "exp"), &dates->exp) != 0)
    {
        return TF_JWT_R_EXP;
    }

    value = json_object_get(id->claims, "nbf");

    if (value != NULL && tf_claims_date(value, &dates->nbf) != 0) {
        return TF_JWT_R_NBF;
    }

    value = json_object_get(id->claims, "iat");

    if (value != NULL && tf_claims_date(value, &dates->iat) != 0) {
        return TF_JWT_R_IAT;
    }

    return TF_JWT_R_GOOD;
}


tf_jwt_reason_t
tf_jwt_in_time(const tf_jwt_dates_t *dates, int64_t now, int64_t leeway)
{
    if (dates->nbf > now + leeway) {
        return TF_JWT_R_NOT_YET;
    }

    if (dates->iat > now + leeway) {
        return TF_JWT_R_FUTURE;
    }

    return now >= dates->exp + leeway ? TF_JWT_R_EXPIRED : TF_JWT_R_GOOD;
}


/* The range is checked before the cast, which is undefined beyond it. */

static int
tf_claims_date(const json_t *value, int64_t *date)
{
    double        real;
    json_int_t    whole;

    if (json_is_integer(value)) {
        whole = json_integer_value(value);

        if (whole < 0 || whole > TF_JWT_DATE_MAX) {
            return -1;
        }

        *date = (int64_t) whole;

        return 0;
    }

    if (json_is_real(value)) {
        real = json_real_value(value);

        if (!(real >= 0 && real <= (double) TF_JWT_DATE_MAX)) {
            return -1;
        }

        *date = (int64_t) real;

        return 0;
    }

    return -1;
}


static tf_jwt_reason_t
tf_claims_groups(tf_jwt_identity_t *id)
{
    tf_jwt_reason_t   reason;
    tf_claims_list_t  list;

    id->groups = json_array();

    list.list = id->groups;
    list.split = 0;
    list.malformed = TF_JWT_R_GROUPS;

    if (list.list == NULL) {
        return TF_JWT_R_MEMORY;
    }

    reason = tf_claims_append(&list, json_object_get(id->claims, "groups"));
    if (reason != TF_JWT_R_GOOD) {
        return reason;
    }

    return tf_claims_append(&list, json_object_get(id->claims, "roles"));
}


static tf_jwt_reason_t
tf_claims_scopes(tf_jwt_identity_t *id)
{
    const json_t      *scope;
    tf_jwt_reason_t    reason;
    tf_claims_list_t   list;

    id->scopes = json_array();

    list.list = id->scopes;
    list.split = 1;
    list.malformed = TF_JWT_R_SCOPES;

    if (list.list == NULL) {
        return TF_JWT_R_MEMORY;
    }

    scope = json_object_get(id->claims, "scope");

    if (scope != NULL && !json_is_string(scope)) {
        return TF_JWT_R_SCOPES;
    }

    reason = tf_claims_append(&list, scope);
    if (reason != TF_JWT_R_GOOD) {
        return reason;
    }

    return tf_claims_append(&list, json_object_get(id->claims, "scopes"));
}


/* Adds a claim that is missing, a string, or an array of strings. */

static tf_jwt_reason_t
tf_claims_append(tf_claims_list_t *list, const json_t *value)
{
    size_t           i;
    tf_jwt_reason_t  reason;

    if (value == NULL) {
        return TF_JWT_R_GOOD;
    }

    if (!json_is_array(value)) {
        return tf_claims_append_string(list, value);
    }

    list->split = 0;

    for (i = 0; i < json_array_size(value); i++) {
        reason = tf_claims_append_string(list, json_array_get(value, i));

        if (reason != TF_JWT_R_GOOD) {
            return reason;
        }
    }

    return TF_JWT_R_GOOD;
}


/* An empty name is nobody's group and no right: it is left out. */

static tf_jwt_reason_t
tf_claims_append_string(tf_claims_list_t *list, const json_t *value)
{
    size_t       n;
    const char  *p, *end, *word;

    if (!json_is_string(value)) {
        return list->malformed;
    }

    p = json_string_value(value);
    end = p + json_string_length(value);

    if (!tf_claims_plain(p, (size_t) (end - p))) {
        return list->malformed;
    }

    while (p < end) {
        word = p;

        while (p < end && !(list->split && *p == ' ')) {
            p++;
        }

        n = (size_t) (p - word);

        if (n > 0
            && json_array_append_new(list->list, json_stringn(word, n)) != 0)
        {
            return TF_JWT_R_MEMORY;
        }

        p++;
    }

    return TF_JWT_R_GOOD;
}


static tf_jwt_reason_t
tf_claims_tenant(tf_jwt_identity_t *id, int *none)
{
    size_t                  i;
    const json_t           *value;
    const tf_jwt_issuer_t  *issuer;

    issuer = id->issuer;
    value = NULL;

    if (issuer->tenant_claim.len) {

        /* the configuration gives names that end with a NUL */

        value = json_object_get(id->claims, issuer->tenant_claim.data);
    }

    if (value == NULL) {
        id->tenant = issuer->tenant;
        *none = issuer->tenant.len == 0;
        return TF_JWT_R_GOOD;
    }

    if (!json_is_string(value)) {
        return TF_JWT_R_TENANT_TYPE;
    }

    for (i = 0; i < issuer->ntenants; i++) {
        if (tf_claims_equal(value, issuer->tenants[i])) {
            id->tenant = issuer->tenants[i];
            return TF_JWT_R_GOOD;
        }
    }

    *none = 1;

    return TF_JWT_R_GOOD;
}


int
tf_claims_equal(const json_t *value, tf_jwt_str_t text)
{
    return text.len != 0
           && json_is_string(value) && json_string_length(value) == text.len
           && memcmp(json_string_value(value), text.data, text.len) == 0;
}


int
tf_claims_plain(const char *data, size_t len)
{
    size_t               i;
    const unsigned char  *p;

    p = (const unsigned char *) data;

    for (i = 0; i < len; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f) {
            return 0;
        }

        if (p[i] == 0xc2 && i + 1 < len && p[i + 1] < 0xa0) {
            return 0;
        }
    }

    return 1;
}
