#ifndef NGX_HTTP_TRIFECTA_CHANNELS_H_INCLUDED
#define NGX_HTTP_TRIFECTA_CHANNELS_H_INCLUDED


#include "ngx_http_trifecta_redis_cmd.h"
#include "ngx_http_trifecta_subscriber.h"


/*
 * What the two files of the subscriber share: subscriber.c is what happens on
 * its connection and at the worker's end, channels.c are the channels and
 * their waiters.
 */

/*
 * A confirmation may be that of a channel of the same name that was left
 * before; then its waiters read too early, and again when theirs comes.
 */

struct ngx_http_trifecta_channel_s {
    ngx_str_node_t                   node;
    ngx_queue_t                      waiters;
    ngx_uint_t                       nevents;   /* of them with events */
    unsigned                         asked:1;   /* on this connection */
    unsigned                         heard:1;   /* Redis has confirmed it */
    unsigned                         follows:1; /* asked for P:e, too */
    u_char                           name[1];
};


/* of a name, with a NUL */
#define NGX_HTTP_TRIFECTA_CHANNEL_MAX                                         \
    (TF_KEY_PREFIX_MAX + 3 + TF_ID_TEXT_LEN)


/* A debug build of nginx takes the data of an event for a connection. */

struct ngx_http_trifecta_subscriber_s {
    ngx_http_trifecta_main_conf_t   *mcf;
    ngx_http_trifecta_redis_t       *redis;
    ngx_log_t                       *log;
    ngx_socket_t                     fd;        /* -1 */

    ngx_rbtree_t                     channels;
    ngx_rbtree_node_t                sentinel;
    ngx_queue_t                      waiters;
    ngx_queue_t                      streams;   /* those that stay */
    ngx_queue_t                      due;
    ngx_event_t                      call;

    ngx_http_trifecta_shard_t       *shard;
    ngx_str_t                        inv;       /* name of the channel */
    u_char                           inv_name[TF_KEY_PREFIX_MAX + 4];
    ngx_http_trifecta_deletions_t   *deletions;

    ngx_connection_t                *bell;      /* rings when nginx leaves */
    unsigned                         up:1;
    unsigned                         leaving:1;
};


/* Sends SSUBSCRIBE or, without a handler, SUNSUBSCRIBE. */
ngx_int_t ngx_http_trifecta_subscriber_send(
    ngx_http_trifecta_subscriber_t *sub, const char *command, ngx_str_t *name,
    ngx_http_trifecta_redis_handler_pt handler);
void ngx_http_trifecta_subscriber_confirmed(void *data,
    ngx_http_trifecta_redis_answer_t *answer);

/* The handler of the event that calls those who are due. */
void ngx_http_trifecta_subscriber_call(ngx_event_t *ev);
void ngx_http_trifecta_waiter_due(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_waiter_t *waiter);

/* What rings, and so whom it wakes: all of a channel, or fewer. */

typedef enum {
    ngx_http_trifecta_rings_event = 0,
    ngx_http_trifecta_rings_state,
    ngx_http_trifecta_rings_end,            /* all of them */
    ngx_http_trifecta_rings_ended           /* all, with a state that ends */
} ngx_http_trifecta_rings_e;

void ngx_http_trifecta_channel_due(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_channel_t *channel, ngx_http_trifecta_rings_e rings);

ngx_http_trifecta_channel_t *ngx_http_trifecta_channel_find(
    ngx_http_trifecta_subscriber_t *sub, ngx_str_t *name);

/*
 * The other name of a channel, P:c:<id> of P:e:<id> and the reverse, in the
 * buffer, with a NUL behind it.  NGX_DECLINED: it is no name of that kind.
 */
ngx_int_t ngx_http_trifecta_channel_other(ngx_http_trifecta_subscriber_t *sub,
    ngx_str_t *name, u_char kind, u_char *buf, ngx_str_t *other);

/* An event of the job of this doorbell was said. */
void ngx_http_trifecta_channel_said(ngx_http_trifecta_subscriber_t *sub,
    ngx_str_t *name, ngx_str_t *text);
ngx_http_trifecta_channel_t *ngx_http_trifecta_channel_next(
    ngx_http_trifecta_subscriber_t *sub, ngx_http_trifecta_channel_t *channel);
void ngx_http_trifecta_channel_ask(ngx_http_trifecta_subscriber_t *sub,
    ngx_http_trifecta_channel_t *channel);


#endif /* NGX_HTTP_TRIFECTA_CHANNELS_H_INCLUDED */
