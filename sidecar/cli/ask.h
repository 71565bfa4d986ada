#ifndef TF_CLI_ASK_H
#define TF_CLI_ASK_H


#include <stddef.h>

#include <jansson.h>


/*
 * What "ask" shows.  Answers, titles and errors were written by others:
 * control characters in them never reach the terminal.
 */

/* A job that ended (an object with a string "status"); the exit code. */
int tf_ask_print_answer(json_t *root);

/* Only why it failed, if it did; the exit code. */
int tf_ask_print_failure(json_t *root);

/* How to go on with the conversation of a job. */
void tf_ask_print_conversation(json_t *root);

/* An answer that is an error, and what to do about it; the exit code. */
int tf_ask_print_refusal(long status, const char *body, size_t len);


/* The body of a question gets a collection more: 0, or -1: it is no UTF-8. */
int tf_ask_collection(json_t *body, const char *name);

/* ... a filter "NAME=VALUE", "NAME>=VALUE" more: 0, or -1 with err. */
int tf_ask_filter(json_t *body, const char *filter, char *err, size_t errlen);


#endif /* TF_CLI_ASK_H */
