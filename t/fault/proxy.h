#ifndef TF_FAULT_PROXY_H
#define TF_FAULT_PROXY_H


#include <stddef.h>


/*
 * A TCP connection that misbehaves: proxy PORT TARGET, both on 127.0.0.1.
 *
 * Everything that is accepted at PORT is passed on to TARGET.  Commands come
 * as lines on standard input, each is answered by "ok" or "what?"; at the end
 * of the input the process ends.  "up" is from the client to the target,
 * "down" back; without a direction both are meant.
 *
 *   latency MS [up|down]   each piece is passed on that much later
 *   rate N [up|down]       N bytes a second, a connection
 *   slice [up|down]        one byte at a time
 *   stall [up|down]        nothing is passed on, nothing is lost: a network
 *                          that is cut, and whose TCP sends it all again when
 *                          it is healed; a new connection waits likewise
 *   hole [up|down]         what comes is swallowed and never seen again: a
 *                          peer that is gone without a word; heal resets
 *                          what lost bytes
 *   reset                  resets (RST) the connections there are
 *   cut                    closes (FIN) the connections there are
 *   refuse                 no new connection is accepted, the connect fails
 *   target PORT            new connections go there
 *   heal                   none of all that any more
 *   count                  "ok", how many connections there are, and how many
 *                          bytes were passed on up and down
 *
 * One thread, one poll(); bytes that wait are kept for each direction with
 * the time when they may go on, and no more is read than fits.
 *
 * proxy.c accepts, connects and polls, proxy_way.c passes bytes on as the
 * faults say, proxy_command.c reads commands.
 */

#define TF_PROXY_LINKS   512
#define TF_PROXY_BUF     65536
#define TF_PROXY_PIECES  256

#define TF_UP            0
#define TF_DOWN          1


typedef struct {
    long long     due;              /* ms, of the bytes up to end */
    size_t        end;              /* counted from the first byte ever */
} tf_piece_t;

typedef struct {
    char          buf[TF_PROXY_BUF];
    size_t        start;            /* first byte in buf that waits */
    size_t        last;             /* after the last one */
    size_t        in;               /* bytes ever */
    size_t        out;
    tf_piece_t    pieces[TF_PROXY_PIECES];
    size_t        first;            /* of pieces, a ring */
    size_t        npieces;
    long long     budget_at;        /* when the rate was reckoned last, ms */
    double        budget;           /* bytes that may go now */
    int           eof;              /* the source has ended */
    int           shut;             /* and the sink was told */
} tf_way_t;

typedef struct {
    int           fd[2];            /* [TF_UP]: the client's, whose bytes go
                                     * up; [TF_DOWN]: the target's */
    int           connected;
    int           lost;             /* a hole took bytes of it */
    tf_way_t      way[2];
} tf_link_t;

typedef struct {
    long          latency;
    long          rate;
    int           slice;
    int           stall;
    int           hole;
} tf_fault_t;

typedef struct {
    int           port;
    int           target;
    int           listen;           /* -1: refused */
    tf_fault_t    fault[2];
    tf_link_t    *links[TF_PROXY_LINKS];
    size_t        nlinks;
    unsigned long long  passed[2];
} tf_proxy_t;


int tf_listen(int port);

/* Closes the connection number n, by a reset or politely. */
void tf_link_close(tf_proxy_t *proxy, size_t n, int reset);

/* Commands that have come; at the end of the input there is no return. */
void tf_commands(tf_proxy_t *proxy);

long long tf_now(void);

/* Whether more can be taken in; what waits is moved to the front. */
int tf_room(tf_way_t *way);

/* Takes what came; -1 is an error of the source. */
int tf_take(tf_proxy_t *proxy, tf_link_t *link, int dir);

/* How many bytes may go now; if none, *wait is lowered to when some may. */
size_t tf_may_go(const tf_fault_t *fault, tf_way_t *way, long long now,
    long *wait);

/* Passes on what may go; -1 is an error of the sink. */
int tf_give(tf_proxy_t *proxy, tf_link_t *link, int dir, long *wait);


#endif /* TF_FAULT_PROXY_H */
