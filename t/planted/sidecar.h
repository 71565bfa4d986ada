/*
 * Included in front of one file of the sidecar ("make planted"): what it
 * allocates is half as large as it believes.
 */

#include <stdlib.h>

#define calloc(n, size)  calloc(n, (size) / 2)
