#ifndef TF_NET_HEADER_H
#define TF_NET_HEADER_H


#include <stddef.h>
#include <stdint.h>


/* Header lines of an HTTP answer, as libcurl hands them over. */


/* 1 and its value, trimmed and cut to size, if the line is this header. */
int tf_header(const char *line, size_t len, const char *name, char *value,
    size_t size);

/*
 * Retry-After in ms: seconds, or a date (RFC 9110, 10.2.3); a day at most.
 * -1 when it is neither.
 */
int64_t tf_header_retry_after(const char *value);


#endif /* TF_NET_HEADER_H */
