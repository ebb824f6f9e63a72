/* SQL LIKE over bytes: `%` stands for any run of bytes, `_` for exactly one, the escape byte makes the next one literal
 * whatever it is. Case-sensitive, no encoding. A compiled pattern never changes: any number of threads may match.
 */
#ifndef CAIRN_INDEX_LIKE_H
#define CAIRN_INDEX_LIKE_H

#include "include/cairn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct like like;

/* The pattern is copied. CAIRN_INVALID: it ends in an escape; CAIRN_NO_MEMORY. */
int like_compile(like **out, const void *pattern, size_t size, uint8_t escape, cairn_error *error);
void like_free(like *pattern);

/* The whole key against the whole pattern, in at most (pattern + 1) x (key + 1) steps and no memory. */
bool like_matches(const like *pattern, const void *key, size_t size);
/* The same, adding the steps that it took to *steps. */
bool like_matches_counting(const like *pattern, const void *key, size_t size, uint64_t *steps);

/* What narrows a walk: the bytes before the first wildcard, with which every key that matches begins. */
const void *like_prefix(const like *pattern, size_t *size);
/* Nothing but the prefix and `%` behind it: every key that begins with the prefix matches. */
bool like_is_prefix(const like *pattern);
/* No wildcard: the prefix is the only key that matches. */
bool like_is_literal(const like *pattern);

#endif
