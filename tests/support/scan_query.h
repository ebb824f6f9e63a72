/* What a scan is asked for, chosen at random, and which keys that means, straight from the definition in cairn.h. */
#ifndef CAIRN_TESTS_SCAN_QUERY_H
#define CAIRN_TESTS_SCAN_QUERY_H

#include "include/cairn.h"
#include "tests/support/sorted_model.h"

#define SCAN_QUERY_PARTS 4u

typedef struct scan_query {
    cairn_scan_options options;       /* but for the snapshot */
    uint8_t *parts[SCAN_QUERY_PARTS]; /* malloc'ed: bounds, prefix, pattern */
} scan_query;

/* Mostly bounds, prefixes and patterns that some of these keys have. */
void scan_query_make(scan_query *q, const sorted_keys *keys, uint64_t *rng);
void scan_query_free(scan_query *q);

bool scan_query_needs_order(const cairn_scan_options *o);
bool scan_query_asks_for(const cairn_scan_options *o, const void *key, size_t size); /* the limit aside */
/* For a message: `text` holds it, cut short. */
void scan_query_write(const cairn_scan_options *o, char *text, size_t size);

#endif
