#include "queue/born.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include <trifecta/keys.h>


int
tf_born_wanted(const char *payload)
{
    return payload != NULL && strstr(payload, "\"webhook_url\"") != NULL;
}


int
tf_born_id(const char *job, char *text)
{
    int            i;
    char           in[sizeof("webhook ") + TF_ID_TEXT_LEN];
    tf_id_t        id;
    unsigned       n;
    unsigned char  digest[EVP_MAX_MD_SIZE];

    if (tf_id_parse(&id, job, strlen(job)) != 0) {
        return -1;
    }

    (void) snprintf(in, sizeof(in), "webhook %s", job);

    if (EVP_Digest(in, strlen(in), digest, &n, EVP_sha256(), NULL) != 1) {
        return -1;
    }

    /* "8", then the first 15 digits of the digest */

    id.octets[8] = (unsigned char) (0x80 | digest[0] >> 4);

    for (i = 0; i < 7; i++) {
        id.octets[9 + i] = (unsigned char) (digest[i] << 4
                                            | digest[i + 1] >> 4);
    }

    tf_id_format(text, &id);
    text[TF_ID_TEXT_LEN] = '\0';

    return 0;
}


int
tf_born_cmd(const tf_born_t *job, const char *prefix, tf_cmd_t *cmd)
{
    char      id[TF_ID_TEXT_LEN + 1], payload[TF_ID_TEXT_LEN + 16];
    size_t    i;

    enum {
#define TF_BORN_PRIO(name, word, prio, ...)  TF_BORN_PRIO_##name = prio,
        TF_JOB_KINDS(TF_BORN_PRIO)
#undef TF_BORN_PRIO
        TF_BORN_END
    };

    if (tf_born_id(job->id, id) != 0) {
        return -1;
    }

    (void) snprintf(payload, sizeof(payload), "{\"job\":\"%s\"}", job->id);

    tf_cmd_fcall(cmd, TF_FN_RESTORE, prefix);

    {
        const char *const  pairs[][2] = {
            { "id", id }, { "tenant", job->tenant }, { "owner", job->owner },
            { "groups", "[]" }, { "scopes", "[]" }, { "kind", "webhook" },
            { "model", "" }, { "payload", payload }, { "fp", "" },
            { "request_id", job->request_id }, { "lease", "0" }
        };

        for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
            tf_cmd_str(cmd, pairs[i][0]);
            tf_cmd_str(cmd, pairs[i][1]);
        }
    }

    tf_cmd_str(cmd, "prio");
    tf_cmd_num(cmd, TF_BORN_PRIO_WEBHOOK);
    tf_cmd_str(cmd, "acc");
    tf_cmd_num(cmd, job->now);
    tf_cmd_str(cmd, "dl");
    tf_cmd_num(cmd, job->now + tf_job_kind("webhook")->limit);

    return 0;
}
