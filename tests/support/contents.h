/* What a store holds, as its public API tells it: for tests, wherever the store lies. Keys are C strings, unless a size
 * is given. A failing step fails the test. */
#ifndef CAIRN_TESTS_CONTENTS_H
#define CAIRN_TESTS_CONTENTS_H

#include "include/cairn.h"

void put_text(cairn *store, const char *key, const void *value, size_t size);
void put_for(cairn *store, const char *key, const void *value, size_t size, uint64_t ttl_ms);
void delete_text(cairn *store, const char *key); /* present or not */

cairn_stats stats_of(cairn *store);
cairn_entry entry_of(cairn *store, const char *key);
uint64_t version_of(cairn *store, const char *key);
size_t keys_by_scan(cairn *store, cairn_snapshot *snapshot); /* snapshot: NULL for none */
uint64_t verify_damage(cairn *store);                        /* how much it finds */

void expect_get(cairn *store, const void *key, size_t key_size, const void *value, size_t size);
void expect_text(cairn *store, const char *key, const char *value);
/* So says every call that reads. */
void expect_absent(cairn *store, const char *key);
/* Every call that reads gives these bytes: whole, in parts, mapped, listed. */
void expect_everywhere(cairn *store, const char *key, const void *value, size_t size);

/* A snapshot, to be closed; and what it has. */
cairn_snapshot *snapshot_of(cairn *store);
void expect_in(cairn_snapshot *s, const char *key, const void *value, size_t size);

#endif
