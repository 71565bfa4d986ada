#ifndef TF_EXTRACT_LIMITS_H
#define TF_EXTRACT_LIMITS_H


#include <stddef.h>
#include <stdint.h>


/*
 * What a file may cost: one table.
 *
 * A file that reaches beyond a limit is refused, and the reason names the
 * limit.  "key = value" of the configuration (ingest_limits) and --limit of
 * "trifecta ingest" change them by name: "pages=5000,text=32m".  Nobody waits
 * for a size that a file only claims: what counts is what was really read.
 *
 * X(name, default, greatest, unit, what it bounds, what else helps)
 * Units: B (bytes: 64k, 16m, 1g), N (a number), S (seconds).
 */

#define TF_MB  (1024 * 1024LL)

#define TF_LIMITS(X)                                                          \
    X(file,     64 * TF_MB,   1024 * TF_MB,       B,                          \
      "size of a file, also of one in an archive",                            \
      "split the file")                                                       \
    X(text,     16 * TF_MB,   256 * TF_MB,        B,                          \
      "size of the text of a file",                                           \
      "split the file")                                                       \
    X(unpacked, 1024 * TF_MB, 1024 * 1024 * TF_MB, B,                         \
      "what an archive or an office file unpacks to",                         \
      "split the file")                                                       \
    X(ratio,    200,          1000000,            N,                          \
      "how many times as big as packed, beyond 1 MB",                         \
      "unpack it yourself if you trust it")                                   \
    X(members,  10000,        10000000,           N,                          \
      "files in an archive, parts of a mail",                                 \
      "split the file")                                                       \
    X(nesting,  3,            16,                 N,                          \
      "archives in archives, files in mails",                                 \
      "unpack it yourself if you trust it")                                   \
    X(depth,    200,          TF_DEPTH_MAX,       N,                          \
      "elements within elements of HTML, XML and JSON",                       \
      "flatten the file")                                                     \
    X(pages,    2000,         1000000,            N,                          \
      "pages of a PDF",                                                       \
      "split the file")                                                       \
    X(line,     1 * TF_MB,    256 * TF_MB,        B,                          \
      "a line of text, a row of a table, a header of a mail",                 \
      "divide it into lines")                                                 \
    X(memory,   1024 * TF_MB, 64 * 1024 * TF_MB,  B,                          \
      "memory of pdftotext",                                                  \
      "split the file")                                                       \
    X(seconds,  60,           86400,              S,                          \
      "time of a file",                                                       \
      "split the file")                                                       \
    X(archive,  256 * TF_MB,  1024 * TF_MB,       B,                          \
      "an archive of a job",                                                  \
      "unpack it, or ingest it without --queue")                              \
    X(files,    10000,        1000000,            N,                          \
      "files of a job",                                                       \
      "name its folders one by one, or leave out --queue")                    \
    X(total,    1024 * TF_MB, 1024 * 1024 * TF_MB, B,                         \
      "the files of a job together",                                          \
      "name its folders one by one, or leave out --queue")

/* the arrays of the parsers; libxml2 itself has 256 */
#define TF_DEPTH_MAX  250

typedef enum {
#define TF_LIMIT_NUMBER(name, def, max, unit, what, help)  TF_LIMIT_##name,
    TF_LIMITS(TF_LIMIT_NUMBER)
#undef TF_LIMIT_NUMBER
    TF_LIMIT_MAX
} tf_limit_t;

typedef struct {
    int64_t  v[TF_LIMIT_MAX];
} tf_limits_t;


void tf_limits_default(tf_limits_t *limits);

/*
 * Changes limits by "name=value,name=value" (or blanks between them).
 * Returns 0, or -1 with the reason in err.
 */
int tf_limits_parse(tf_limits_t *limits, const char *s, char *err,
    size_t errlen);

/* "pages=2000", "text=16m"; and what else helps against it. */
const char *tf_limit_print(const tf_limits_t *limits, tf_limit_t limit,
    char *buf, size_t len);
const char *tf_limit_name(tf_limit_t limit);
const char *tf_limit_help(tf_limit_t limit);


#endif /* TF_EXTRACT_LIMITS_H */
