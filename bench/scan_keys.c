#include "bench/scan_keys.h"

#include "bench/bench_common.h"

#include <stdlib.h>
#include <string.h>

static int by_id(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Another id for each number: every step can be undone. */
static uint32_t user_id(uint32_t number) {
    uint32_t id = number * 0x9e3779b1u;
    id ^= id >> 15;
    id *= 0x85ebca77u;
    return id ^ id >> 13;
}

scan_keys scan_keys_new(uint64_t count) {
    size_t users = (count + SCAN_KEYS_A_USER - 1) / SCAN_KEYS_A_USER;
    scan_keys keys = {.count = users * SCAN_KEYS_A_USER, .users = allocate(users * sizeof *keys.users)};
    for (size_t i = 0; i < users; i++) {
        keys.users[i] = user_id((uint32_t)i + 1);
    }
    qsort(keys.users, users, sizeof *keys.users, by_id);
    return keys;
}

void scan_keys_free(scan_keys *keys) {
    free(keys->users);
    *keys = (scan_keys){0};
}

size_t scan_key(const scan_keys *keys, uint64_t rank, char key[SCAN_KEY_SIZE]) {
    uint32_t user = keys->users[rank / SCAN_KEYS_A_USER], image = (uint32_t)(rank % SCAN_KEYS_A_USER);
    memcpy(key, "user/00000000/img-000000.jpg", SCAN_KEY_SIZE);
    for (int at = 12; at >= 5; at--, user >>= 4) {
        key[at] = "0123456789abcdef"[user & 15];
    }
    for (int at = 23; at >= 18; at--, image /= 10) {
        key[at] = (char)('0' + image % 10);
    }
    return SCAN_KEY_SIZE;
}
