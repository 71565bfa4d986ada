/*
 * Included in front of one file of the module ("make planted"): every
 * allocation from a pool in it is one byte short, so what fills it exactly
 * writes beyond its end.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#define ngx_pnalloc(pool, size)  ngx_pnalloc(pool, (size) - 1)
