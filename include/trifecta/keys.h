#ifndef TRIFECTA_KEYS_H
#define TRIFECTA_KEYS_H


#include <stddef.h>
#include <stdint.h>

#include "version.h"


/*
 * Names in Redis.
 *
 * Every key of a shard starts with its prefix P = "{trifecta:<shard>}".  The
 * braces are a hash tag, so that all keys of a shard share one slot.  Every
 * function of the library takes one key, P itself, and derives the others.
 *
 *   P:r:0..2            stream, group "w"  ready work by priority
 *   P:j:<id>            hash               the job
 *   P:ev:<id>           stream             what the job says while it runs
 *   P:live              zset id -> ms      every open job of the shard
 *   P:t:<tenant>:live   zset id -> ms      every open job of the tenant
 *   P:t:<tenant>:ready  zset id -> ms      in a stream, not claimed (<= 16)
 *   P:t:<tenant>:run    zset id -> ms      claimed
 *   P:t:<tenant>:park   zset id -> order   waiting for a place in a stream
 *   P:dly               zset id -> due ms  delayed, and to be tried again
 *   P:idem:<tenant>:<hash>  string         id and fingerprint, for 24 h
 *   P:lim:<policy>:<key>    string         rate limits
 *   P:acc               stream, group "l"  accept log, read by the ledger
 *   P:dead              stream, bounded    jobs that died, for operators
 *   P:wk                zset worker -> ms  last sign of life of each worker
 *   P:meta              hash               epoch, schema, paused, reclaim,
 *                                          install, server, store, rebuild
 *   P:aside             list               keys of another type that were
 *                                          moved, which nobody has said yet
 *   P:aside:<ms>:<key>  any, for a week    such a key
 *
 * and the sharded channels
 *
 *   P:c:<id>            doorbell of a job: rings with each new state, and with
 *                       "event" when there is something new in P:ev:<id> that
 *                       nobody has heard on
 *   P:e:<id>            what is new in P:ev:<id>: "<attempt>-<n> <type> <data>"
 *   P:w:<worker>        "cancel <id> <lease>", to the worker that holds it
 *   P:inv               for caches: the id of a deleted job, or "<" and an id:
 *                       all jobs with a smaller one have left PostgreSQL
 *   P:ack               for nobody: nginx sends to it before WAIT, so that it
 *                       covers what others have written (trifecta_replicas)
 *
 * Only the function library writes keys (migrations/redis/trifecta_v1/
 * documents each function's arguments and answers).
 */

#define TF_SHARDS_MAX       32

#define TF_KEY_PREFIX_FMT   "{trifecta:%u}"
#define TF_KEY_PREFIX_MAX   sizeof("{trifecta:255}")

#define TF_GROUP_WORK       "w"
#define TF_GROUP_LEDGER     "l"

#define TF_FN(verb)         "trifecta_" verb "_v" TF_REDIS_SCHEMA_STR

#define TF_FN_SUBMIT        TF_FN("submit")
#define TF_FN_LIMIT         TF_FN("limit")
#define TF_FN_LOOK          TF_FN("look")
#define TF_FN_CLAIM         TF_FN("claim")
#define TF_FN_STARTED       TF_FN("started")
#define TF_FN_HEARTBEAT     TF_FN("heartbeat")
#define TF_FN_PROGRESS      TF_FN("progress")
#define TF_FN_EMIT          TF_FN("emit")
#define TF_FN_EVENTS        TF_FN("events")
#define TF_FN_SAID          TF_FN("said")
#define TF_FN_FINISH        TF_FN("finish")
#define TF_FN_RELEASE       TF_FN("release")
#define TF_FN_RELET         TF_FN("relet")
#define TF_FN_RETRY         TF_FN("retry")
#define TF_FN_PUMP          TF_FN("pump")
#define TF_FN_CANCEL        TF_FN("cancel")
#define TF_FN_DELETE        TF_FN("delete")
#define TF_FN_RECLAIM       TF_FN("reclaim")
#define TF_FN_DUE           TF_FN("due")
#define TF_FN_LEDGERED      TF_FN("ledgered")
#define TF_FN_STATS         TF_FN("stats")
#define TF_FN_MEND          TF_FN("mend")
#define TF_FN_INSTALL       TF_FN("install")
#define TF_FN_REBUILD       TF_FN("rebuild")
#define TF_FN_ADOPT         TF_FN("adopt")
#define TF_FN_RESTORE       TF_FN("restore")
#define TF_FN_RESTORE_IDEM  TF_FN("restore_idem")
#define TF_FN_CHECK         TF_FN("check")
#define TF_FN_SETTLE        TF_FN("settle")
#define TF_FN_RELOG         TF_FN("relog")
#define TF_FN_FORGET        TF_FN("forget")
#define TF_FN_STRAYS        TF_FN("strays")
#define TF_FN_DROP          TF_FN("drop")


/*
 * The shard of a tenant: CRC-16/XMODEM (the one of Redis Cluster) of its
 * name modulo the number of configured shards.  Only submit asks this;
 * whatever has an id reads the shard from the id.
 */

static inline unsigned
tf_shard_of(const char *tenant, size_t len, unsigned nshards)
{
    size_t    i;
    unsigned  crc, bit;

    crc = 0;

    for (i = 0; i < len; i++) {
        crc ^= (unsigned) (unsigned char) tenant[i] << 8;

        for (bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) ? (crc << 1) ^ 0x1021 : crc << 1;
            crc &= 0xffff;
        }
    }

    return nshards ? crc % nshards : 0;
}


#endif /* TRIFECTA_KEYS_H */
