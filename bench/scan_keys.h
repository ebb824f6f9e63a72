/* The keys that the programs about scans, the ordered index and snapshots use: "user/9a3f01c7/img-000042.jpg", a
 * hundred of each user, whose ids are anywhere. They are numbered by their rank in memcmp order, from 0.
 */
#ifndef CAIRN_BENCH_SCAN_KEYS_H
#define CAIRN_BENCH_SCAN_KEYS_H

#include <stddef.h>
#include <stdint.h>

#define SCAN_KEY_SIZE 28
#define SCAN_PREFIX_SIZE 14 /* of a user: "user/9a3f01c7/" */
#define SCAN_KEYS_A_USER 100
#define SCAN_KEYS_MAX ((uint64_t)400000000)

typedef struct scan_keys {
    uint64_t count;
    uint32_t *users; /* ascending */
} scan_keys;

scan_keys scan_keys_new(uint64_t count); /* rounded up to a whole user */
void scan_keys_free(scan_keys *keys);

/* Without an end mark; returns SCAN_KEY_SIZE. The first SCAN_PREFIX_SIZE bytes are the user's. */
size_t scan_key(const scan_keys *keys, uint64_t rank, char key[SCAN_KEY_SIZE]);

#endif
