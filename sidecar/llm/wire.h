#ifndef TF_LLM_WIRE_H
#define TF_LLM_WIRE_H


#include <stddef.h>

#include <jansson.h>

#include "base/buf.h"
#include "llm/options.h"
#include "net/sse.h"


/*
 * What a model server speaks: how a request is written, and how the pieces of
 * its answer are read.  Adding a protocol is one file and one tf_llm_wire_t.
 *
 * A protocol is a row of columns: chat, embeddings, and the order of passages
 * by a reranker.  A column that it does not have is NULL.
 *
 * The readers are pure.  That of chat is fed with what came, and gathers text,
 * calls of tools, usage and how it ended.  Nothing that a server sends is
 * trusted: unknown members are skipped, wrong types are a broken answer, the
 * text is bounded.
 */

#define TF_LLM_TEXT_MAX   (256 * 1024)      /* bytes of an answer */
#define TF_LLM_TOOLS_MAX  64                /* calls in one answer */

typedef struct {
    tf_buf_t    text;
    json_t     *tools;          /* array of {id, name, arguments}, or NULL */
    int         ended;          /* the server said that this was all */
    char        finish[32];     /* why, in its words */
    long long   input_tokens;
    long long   output_tokens;

    int         broken;         /* this is no answer in this protocol */
    int         failed;         /* the server says so, in what it sent */
    char        code[64];       /* its word for the failure, or "" */
    char        message[256];   /* for the log, printable */
} tf_llm_reading_t;

struct tf_llm_model_s;

/*
 * What came instead of text: numbers in rows.  A row is a text's vector, or
 * all of the scores.  Whoever reads one has made room for as many as it may
 * have, and finds out afterwards whether all of them came.
 */

typedef struct {
    float           *of;        /* rows * width */
    size_t           rows;
    size_t           width;
    unsigned char   *seen;      /* a row; of scores, each of them */
    size_t           nseen;
    long long        tokens;    /* that the server counted; 0: it did not */
    const char      *broken;    /* what is wrong with it, or NULL */
} tf_llm_numbers_t;

typedef struct {
    const char      *path;      /* behind base_url */
    tf_sse_kind_t    kind;      /* of its streams */

    /* the request for these messages; NULL: no memory */
    json_t        *(*request)(const struct tf_llm_model_s *model,
                      json_t *messages, const tf_llm_options_t *options);

    /* one event of a stream, or a whole answer: 0 to go on */
    int            (*read)(tf_llm_reading_t *reading, const char *data,
                      size_t len);

    /* vectors for an array of texts */
    const char      *embed_path;
    json_t        *(*embed)(const struct tf_llm_model_s *model,
                      json_t *texts);
    void           (*embedded)(tf_llm_numbers_t *numbers,
                      const json_t *root);

    /* how well each of an array of documents answers a question */
    const char      *rerank_path;
    json_t        *(*rerank)(const struct tf_llm_model_s *model,
                      const char *question, json_t *documents);
    void           (*reranked)(tf_llm_numbers_t *numbers,
                      const json_t *root);
} tf_llm_wire_t;

extern const tf_llm_wire_t  tf_llm_wire_openai;
extern const tf_llm_wire_t  tf_llm_wire_ollama;


void tf_llm_reading_free(tf_llm_reading_t *reading);

/* Each takes an element of what a server sent, of whatever type. */
void tf_llm_read_text(tf_llm_reading_t *reading, const json_t *text);
void tf_llm_read_tokens(long long *tokens, const json_t *number);
void tf_llm_read_finish(tf_llm_reading_t *reading, const json_t *why);

/* An error object {"message", "type", "code"}, or a string. */
void tf_llm_read_error(tf_llm_reading_t *reading, const json_t *error);

/*
 * A call of a tool, or a part of one: name and id come once, arguments may
 * come in pieces of text, or as an object.
 */
void tf_llm_read_tool(tf_llm_reading_t *reading, size_t index,
    const json_t *id, const json_t *function);

/*
 * A row of numbers, from an array or from base64 (32 bits each, the least
 * significant byte first).  Too few, too many, or one that is none makes it
 * broken.
 */
void tf_llm_read_row(tf_llm_numbers_t *numbers, size_t row,
    const json_t *data);

/* Whatever a server said, as text for a log line. */
void tf_llm_printable(char *out, size_t size, const char *text, size_t len);


#endif /* TF_LLM_WIRE_H */
