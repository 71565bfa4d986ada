#ifndef TF_LLM_MODELS_H
#define TF_LLM_MODELS_H


#include <stdio.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/keys.h"
#include "llm/breaker.h"
#include "llm/limits.h"
#include "net/stream.h"


/*
 * The models by name: what clients may ask for, and who answers then.
 *
 * The file that the key "models" of the configuration names has a section a
 * model:
 *
 *   [gpt]
 *   provider = openai
 *   base_url = https://api.openai.com/v1
 *   upstream = gpt-4o-mini
 *   key_file = /etc/trifecta/secrets/openai.keys
 *   fallback = extractive
 *
 * A model answers questions (chat), or makes vectors of text (embedding), or
 * orders passages (rerank); clients can only ask for the first kind.
 *
 * The first of them that is enabled is the default.  "extractive" is always
 * there, after those of the file, unless a section of that name says
 * otherwise.  Files of keys are read once, at the start.
 *
 * What a model must not see, no model of its fallbacks sees for it: each of
 * them has at least its collections.
 *
 * X(type, key, default, what it means), as in base/conf.h.
 */

#define TF_LLM_MODEL_KEYS(X)                                                  \
    X(STR,  provider,            "extractive",                                \
      "who answers: extractive, openai (any compatible server) or ollama")    \
    X(STR,  kind,                "chat",                                      \
      "chat answers, embedding makes vectors, rerank orders passages")        \
    X(BOOL, enabled,             "on",                                        \
      "off: as if it were not in the file")                                   \
    X(STR,  base_url,            "",                                          \
      "where the server is; for openai with its /v1")                         \
    X(STR,  upstream,            "",                                          \
      "the model's name there; empty: the same")                              \
    X(STR,  key_file,            "",                                          \
      "file with API keys, one a line; another is taken when one is refused") \
    X(STR,  ca,                  "",                                          \
      "CA file for the server; empty: the system's")                          \
    X(BOOL, retrieval,           "on",                                        \
      "off: it answers without documents")                                    \
    X(STR,  collections,         "",                                          \
      "names, with commas between: it answers from these only; empty: all")   \
    X(STR,  groups,              "",                                          \
      "names, with commas between: who has one of them may use it; empty: "   \
      "everybody")                                                            \
    X(STR,  fallback,            "",                                          \
      "model that answers when this one cannot")                              \
    X(NUM,  context,             "8192",                                      \
      "tokens that the model can take in all")                                \
    X(NUM,  max_output,          "1024",                                      \
      "tokens of an answer")                                                  \
    X(NUM,  history,             "1500",                                      \
      "tokens of a conversation that are told with its next question")        \
    X(STR,  output_field,        "max_tokens",                                \
      "what the openai provider calls max_output (max_completion_tokens)")    \
    X(STR,  temperature,         "",                                          \
      "0 to 2; empty: the server's own")                                      \
    X(REAL, input_price,         "0",                                         \
      "of a million tokens, for the cost in usage")                           \
    X(REAL, output_price,        "0",                                         \
      "of a million tokens")                                                  \
    X(NUM,  parallel_requests,   "0",                                         \
      "requests at once, of each sidecar; 0: as many as it has threads")      \
    X(NUM,  requests_per_minute, "0",                                         \
      "what providers call RPM, of each sidecar; 0: no limit")                \
    X(NUM,  tokens_per_minute,   "0",                                         \
      "what providers call TPM, of each sidecar; 0: no limit")                \
    X(MS,   limit_wait,          "2s",                                        \
      "how long a request waits for these before a fallback is asked, or "    \
      "the job is done later")                                                \
    X(MS,   connect_timeout,     "5s",                                        \
      "until the connection stands")                                          \
    X(MS,   first_token_timeout, "60s",                                       \
      "until the answer begins")                                              \
    X(MS,   idle_timeout,        "30s",                                       \
      "from one piece of the answer to the next")                             \
    X(MS,   total_timeout,       "5m",                                        \
      "until the answer is whole")                                            \
    X(MS,   talk_timeout,        "10s",                                       \
      "for a summary, and for a question put so that it stands alone; 0: "    \
      "neither")                                                              \
    X(MS,   cache,               "1h",                                        \
      "how long an answer is given again to the same question; 0: never")     \
    X(MS,   query_timeout,       "3s",                                        \
      "embedding and rerank: how long a question waits for it")               \
    X(NUM,  dimensions,          "0",                                         \
      "embedding: numbers in a vector; must be set")                          \
    X(BOOL, shorten,             "off",                                       \
      "embedding, on: the server is asked for that many")                     \
    X(STR,  encoding,            "base64",                                    \
      "embedding: how openai servers send vectors, base64 or float")          \
    X(NUM,  batch,               "128",                                       \
      "embedding: texts in one request, at most 2048")                        \
    X(STR,  query_prefix,        "",                                          \
      "embedding: what stands before a question")                             \
    X(STR,  document_prefix,     "",                                          \
      "embedding: what stands before a passage")

typedef enum {
    TF_LLM_CHAT,
    TF_LLM_EMBEDDING,
    TF_LLM_RERANK
} tf_llm_kind_t;

typedef struct tf_llm_model_s     tf_llm_model_t;
typedef struct tf_llm_provider_s  tf_llm_provider_t;

struct tf_llm_model_s {
    char                     *name;
    tf_llm_kind_t             is;       /* what kind says */
    const tf_llm_provider_t  *by;
    const tf_llm_model_t     *next;     /* of the fallback chain, or NULL */
    char                    **keys;
    size_t                    nkeys;
    json_t                   *only;     /* names of collections; or NULL: all */
    json_t                   *users;    /* groups; or NULL: everybody */
    tf_llm_breaker_t         *breaker;
    tf_llm_breaker_t         *side;     /* for calls that it can do without */
    tf_llm_limits_t          *limits;   /* NULL: none */
    tf_stream_pool_t         *pool;

#define TF_LLM_MODEL_FIELD(type, key, def, what)  tf_key_##type  key;
    TF_LLM_MODEL_KEYS(TF_LLM_MODEL_FIELD)
#undef TF_LLM_MODEL_FIELD
};

typedef struct {
    tf_llm_model_t           *list;     /* those that are enabled */
    size_t                    n;
    tf_stream_pool_t         *pool;
} tf_llm_models_t;

#define TF_LLM_MODELS_MAX  64
#define TF_LLM_KEYS_MAX    16
#define TF_LLM_INPUTS_MAX  2048     /* texts of one request */
#define TF_LLM_DIMS_MAX    4000     /* what an index of halfvec takes */


/*
 * file "": the built-in ones.  NULL with a message in err, which names file
 * and line and never a key.
 */
tf_llm_models_t *tf_llm_models_load(const char *file, char *err,
    size_t errlen);
void tf_llm_models_free(tf_llm_models_t *models);

/*
 * NULL: there is no such model that answers questions.  An empty name is the
 * default.
 */
const tf_llm_model_t *tf_llm_models_find(const tf_llm_models_t *models,
    const char *name);

/*
 * Whether who has these groups, a JSON array of strings, may ask for it.  A
 * fallback answers for the model that was asked for, and is not asked for.
 */
int tf_llm_models_allowed(const tf_llm_model_t *model, const char *groups);

/* Whether a may see no collection that b may not see. */
int tf_llm_models_within(const tf_llm_model_t *a, const tf_llm_model_t *b);

/* The model of that kind and name; NULL as name: the first of the kind. */
const tf_llm_model_t *tf_llm_models_of(const tf_llm_models_t *models,
    tf_llm_kind_t kind, const char *name);

/* Everything that was set, as text: whoever compares it sees a change. */
void tf_llm_models_settings(const tf_llm_model_t *model, tf_buf_t *out);

/* Prints the keys as a commented section (conf/models.conf). */
void tf_llm_models_print(FILE *out);


#endif /* TF_LLM_MODELS_H */
