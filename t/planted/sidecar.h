/*
 * Included in front of one file of the sidecar ("make planted"): what it
 * allocates is half as large as it believes.
 */

#include <stdlib.h>

#define malloc(size)  malloc((size) / 2)
