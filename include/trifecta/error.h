#ifndef TRIFECTA_ERROR_H
#define TRIFECTA_ERROR_H


/*
 * Every error that a client can see, in one table.
 *
 * X(name, HTTP status, code, OpenAI type, slug, title)
 *
 * The body is RFC 9457 (application/problem+json) and OpenAI's at once:
 *   {"type":"/problems/<slug>","title":<title>,"status":<status>,
 *    "detail":<what happened here>,"instance":<request path>,
 *    "request_id":"req_...",
 *    "error":{"message":<detail>,"type":<OpenAI type>,"param":<member>|null,
 *             "code":<code>}}
 */

#define TF_ERRORS(X)                                                          \
    X(INVALID_JSON,       400, "invalid_json",       "invalid_request_error", \
      "invalid-json",     "The body is not valid JSON")                       \
    X(MISSING_FIELD,      400, "missing_field",      "invalid_request_error", \
      "missing-field",    "A required member is missing")                     \
    X(INVALID_VALUE,      400, "invalid_value",      "invalid_request_error", \
      "invalid-value",    "A value is not acceptable")                        \
    X(MISSING_TOKEN,      401, "missing_token",      "authentication_error",  \
      "missing-token",    "No bearer token")                                  \
    X(INVALID_TOKEN,      401, "invalid_token",      "authentication_error",  \
      "invalid-token",    "The token was refused")                            \
    X(TOKEN_EXPIRED,      401, "token_expired",      "authentication_error",  \
      "token-expired",    "The token has expired")                            \
    X(FORBIDDEN,          403, "forbidden",          "permission_error",      \
      "forbidden",        "Not allowed")                                      \
    X(USER_MISMATCH,      403, "user_mismatch",      "permission_error",      \
      "user-mismatch",    "The user is not the token's")                      \
    X(FILES_FULL,         403, "too_many_files",     "invalid_request_error", \
      "too-many-files",   "There is no room for another file")                \
    X(MODEL_NOT_ALLOWED,  403, "model_not_allowed",  "permission_error",      \
      "model-not-allowed", "Not allowed to use the model")                    \
    X(NOT_FOUND,          404, "not_found",          "invalid_request_error", \
      "not-found",        "Not found")                                        \
    X(MODEL_NOT_FOUND,    404, "model_not_found",    "invalid_request_error", \
      "model-not-found",  "No such model")                                    \
    X(METHOD_NOT_ALLOWED, 405, "method_not_allowed", "invalid_request_error", \
      "method-not-allowed", "Method not allowed")                             \
    X(NOT_ACCEPTABLE,     406, "not_acceptable",     "invalid_request_error", \
      "not-acceptable",   "Not acceptable")                                   \
    X(JOB_CANCELLED,      409, "job_cancelled",      "invalid_request_error", \
      "job-cancelled",    "The job was cancelled")                            \
    X(CONFLICT,           409, "conflict",           "invalid_request_error", \
      "conflict",         "Not possible as it stands")                        \
    X(GONE,               410, "gone",               "invalid_request_error", \
      "gone",             "The job is no longer known")                       \
    X(LENGTH_REQUIRED,    411, "length_required",    "invalid_request_error", \
      "length-required",  "The body needs a Content-Length")                  \
    X(BODY_TOO_LARGE,     413, "body_too_large",     "invalid_request_error", \
      "body-too-large",   "The body is too large")                            \
    X(UNSUPPORTED_MEDIA,  415, "unsupported_media_type",                      \
      "invalid_request_error", "unsupported-media-type",                      \
      "Unsupported media type")                                               \
    X(IDEMPOTENCY_KEY_REUSED, 422, "idempotency_key_reused",                  \
      "invalid_request_error", "idempotency-key-reused",                      \
      "The Idempotency-Key was used before")                                  \
    X(RATE_LIMITED,       429, "rate_limit_exceeded", "rate_limit_error",     \
      "rate-limited",     "Rate limit exceeded")                              \
    X(TENANT_QUEUE_FULL,  429, "tenant_queue_full",  "rate_limit_error",      \
      "tenant-queue-full", "The tenant has too many open jobs")               \
    X(INTERNAL,           500, "internal_error",     "server_error",          \
      "internal-error",   "Internal error")                                   \
    X(JOB_FAILED,         502, "job_failed",         "server_error",          \
      "job-failed",       "The job failed")                                   \
    X(QUEUE_FULL,         503, "queue_full",         "server_error",          \
      "queue-full",       "The queue is full")                                \
    X(QUEUE_UNAVAILABLE,  503, "queue_unavailable",  "server_error",          \
      "queue-unavailable", "The queue is not available")                      \
    X(STORE_UNAVAILABLE,  503, "store_unavailable",  "server_error",          \
      "store-unavailable", "The store is not available")                      \
    X(SUBMIT_UNCONFIRMED, 504, "submit_unconfirmed", "server_error",          \
      "submit-unconfirmed", "The queue did not confirm the job")              \
    X(RESPONSE_TIMEOUT,   504, "response_timeout",   "server_error",          \
      "response-timeout", "The job did not end in time")

typedef enum {
#define TF_ERROR_ENUM(name, status, code, type, slug, title)  TF_E_##name,
    TF_ERRORS(TF_ERROR_ENUM)
#undef TF_ERROR_ENUM
    TF_E_COUNT
} tf_error_t;


#endif /* TRIFECTA_ERROR_H */
