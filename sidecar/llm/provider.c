#include <string.h>

#include "llm/provider.h"


const tf_llm_provider_t  tf_llm_providers[] = {

    { "extractive", "quotes the sentences that match best; no model",
      tf_llm_extractive },

#ifdef TF_TEST_PROVIDER
    { "test", "does what the question says (test builds only)", tf_llm_test },
#endif

    { NULL, NULL, NULL }
};


const tf_llm_provider_t *
tf_llm_find(const char *name)
{
    const tf_llm_provider_t  *provider;

    if (name == NULL || name[0] == '\0') {
        return tf_llm_providers;
    }

    for (provider = tf_llm_providers; provider->name != NULL; provider++) {
        if (strcmp(provider->name, name) == 0) {
            return provider;
        }
    }

    return NULL;
}
