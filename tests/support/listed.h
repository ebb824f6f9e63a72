/* The keys that scans list, written as text with a space between two. A failing step fails the test. Options may be
 * NULL. */
#ifndef CAIRN_TESTS_LISTED_H
#define CAIRN_TESTS_LISTED_H

#include "include/cairn.h"

#include <string.h>

/* Options of a scan, as SCAN(LOWER("a"), .reverse = true). */
#define SCAN(...)                                                                                                      \
    &(cairn_scan_options) { .struct_size = sizeof(cairn_scan_options), __VA_ARGS__ }
#define LOWER(text) .lower = (text), .lower_size = strlen(text)
#define UPPER(text) .upper = (text), .upper_size = strlen(text)
#define PREFIX(text) .prefix = (text), .prefix_size = strlen(text)
#define LIKE(text) .like = (text), .like_size = strlen(text)

void put_keys(cairn *store, const char *keys); /* each with itself as its value */

void expect_keys(cairn *store, const cairn_scan_options *options, const char *keys);
uint64_t count_keys(cairn *store, const cairn_scan_options *options);

/* An open scan; its next key; the rest of them, after which it is closed. */
cairn_scan *scan_of(cairn *store, const cairn_scan_options *options);
void expect_next(cairn_scan *scan, const char *key);
void expect_rest(cairn_scan *scan, const char *keys);

#endif
