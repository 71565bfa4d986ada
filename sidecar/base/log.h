#ifndef TF_BASE_LOG_H
#define TF_BASE_LOG_H


/*
 * The log: one JSON object a line on stderr,
 *   {"time":"...Z","level":"info","msg":"...","request_id":"req_..."}
 *
 * An error is logged once, where its cause is known, with what to do about
 * it.  Text from outside is a string value and is escaped; secrets are never
 * passed here.  Each thread may set the request id, the job and the trace
 * that it works for; they are then part of each of its lines.
 */

typedef enum {
    TF_LOG_ERROR,
    TF_LOG_WARN,
    TF_LOG_INFO,
    TF_LOG_DEBUG
} tf_log_level_t;


/* 0, or -1 for an unknown word (error, warn, info, debug). */
int tf_log_set_level(const char *word);

/* The strings are copied; NULL removes. */
void tf_log_context(const char *request_id, const char *job,
    const char *trace_id);

void tf_log(tf_log_level_t level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


#endif /* TF_BASE_LOG_H */
