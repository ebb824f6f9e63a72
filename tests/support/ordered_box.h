/* An ordered index in a real folder, and a sorted array of keys to hold against it. A step that fails is the test's own
 * misfortune and ends the program, unless it says otherwise. */
#ifndef CAIRN_TESTS_ORDERED_BOX_H
#define CAIRN_TESTS_ORDERED_BOX_H

#include "index/ordered.h"

typedef struct key_set {
    ordered_key *keys; /* sorted; each malloc'ed */
    size_t count, capacity;
} key_set;

int plain_key_compare(const void *a, size_t a_size, const void *b, size_t b_size);
size_t key_set_find(const key_set *set, const void *key, size_t size); /* the first that is not before it */
void key_set_apply(key_set *set, const ordered_change *change);
void key_set_free(key_set *set);

extern const uint8_t ordered_box_id[16]; /* of the store that it is of */

typedef struct ordered_box {
    const char *folder;
    os_dir *dir;
    ordered *index; /* NULL while it is closed */
    uint64_t map_bytes;
} ordered_box;

/* A box around a folder, in which an empty index is built when `make`; then it is opened. */
void ordered_box_open(ordered_box *b, const char *folder, bool make);
void ordered_box_close(ordered_box *b);
void ordered_box_build(ordered_box *b, const key_set *keys, uint64_t place); /* index closed; left closed */
int ordered_box_reopen(ordered_box *b, bool read_only);                      /* the code of ordered_open */
ordered_options ordered_box_options(const ordered_box *b);

/* Walks the range, in batches of at most `max`, and asserts (cmocka) that it gives those keys of the set. */
void ordered_box_check_walk(const ordered_box *b, const key_set *set, const key_range *range, size_t max);
/* Both ways, all of it, and the number of keys. */
void ordered_box_check(const ordered_box *b, const key_set *set);

#endif
