#include "jobs/webhook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <trifecta/id.h>


#define TF_WEBHOOK_LABEL  "trifecta webhook"


int
tf_webhook_secrets(tf_webhook_secrets_t *secrets, const char *file,
    const char *tenant, char *err, size_t errlen)
{
    char          *data;
    size_t         len;
    unsigned       i;
    tf_buf_t       label = TF_BUF_INIT;
    const char    *why;
    tf_id_keys_t   keys;

    memset(secrets, 0, sizeof(tf_webhook_secrets_t));

    if (file[0] == '\0') {
        (void) snprintf(err, errlen, "webhook_key_file is not set");
        return -1;
    }

    data = tf_read_file(file, 4096, &len);
    if (data == NULL) {
        (void) snprintf(err, errlen, "cannot read webhook_key_file \"%s\": "
                        "%s", file, strerror(errno));
        return -1;
    }

    why = tf_id_keys_parse(&keys, data, len);
    OPENSSL_cleanse(data, len);
    free(data);

    tf_buf_append(&label, TF_WEBHOOK_LABEL, sizeof(TF_WEBHOOK_LABEL));
    tf_buf_puts(&label, tenant);

    if (label.failed) {
        why = "out of memory";
    }

    for (i = 0; why == NULL && i < keys.n; i++) {
        if (HMAC(EVP_sha256(), keys.key[i], (int) keys.len[i],
                 (unsigned char *) label.data, label.len, secrets->secret[i],
                 NULL)
            == NULL)
        {
            why = "OpenSSL makes no HMAC-SHA256";
            break;
        }

        secrets->n++;
    }

    OPENSSL_cleanse(&keys, sizeof(keys));
    tf_buf_free(&label);

    if (why != NULL) {
        (void) snprintf(err, errlen, "webhook_key_file \"%s\": %s", file,
                        why);
        return -1;
    }

    return 0;
}


void
tf_webhook_secret_text(const unsigned char *secret,
    char text[TF_WEBHOOK_SECRET_TEXT])
{
    memcpy(text, "whsec_", 6);
    (void) EVP_EncodeBlock((unsigned char *) text + 6, secret,
                           TF_WEBHOOK_SECRET_LEN);
}


int
tf_webhook_sign(const tf_webhook_secrets_t *secrets, const char *id,
    const char *timestamp, const tf_buf_t *body, tf_buf_t *out)
{
    unsigned        i, n;
    tf_buf_t        text = TF_BUF_INIT;
    unsigned char   mac[EVP_MAX_MD_SIZE], base64[EVP_MAX_MD_SIZE * 2];

    tf_buf_printf(&text, "%s.%s.", id, timestamp);
    tf_buf_append(&text, body->data, body->len);

    for (i = 0; !text.failed && i < secrets->n; i++) {
        if (HMAC(EVP_sha256(), secrets->secret[i], TF_WEBHOOK_SECRET_LEN,
                 (unsigned char *) text.data, text.len, mac, &n)
            == NULL)
        {
            text.failed = 1;
            break;
        }

        (void) EVP_EncodeBlock(base64, mac, (int) n);
        tf_buf_printf(out, "%sv1,%s", i ? " " : "", (char *) base64);
    }

    i = text.failed || out->failed;
    tf_buf_free(&text);

    return i ? -1 : 0;
}
