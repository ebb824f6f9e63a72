#include "tests/support/small_puts.h"

#include "tests/support/bulk.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void put_small(sim_box *b, unsigned from, unsigned to) {
    char key[16];
    for (unsigned i = from; i < to; i++) {
        bulk_key(key, "small", i);
        put_text(b->store, key, random_pool() + i, SMALL_BYTES);
    }
}

void expect_small(sim_box *b, unsigned from, unsigned to) {
    char key[16];
    for (unsigned i = from; i < to; i++) {
        bulk_key(key, "small", i);
        expect_get(b->store, key, strlen(key), random_pool() + i, SMALL_BYTES);
    }
}

size_t newest_segment(const sim_box *b, size_t *zeros) {
    char names[64][SIM_NAME_SIZE];
    size_t count = sim_names(b->disk, SIM_BOX_STORE, names, 64), size = 0, last = 64;
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], ".seg") != NULL && (last == 64 || strcmp(names[i], names[last]) > 0)) last = i;
    }
    assert_true(last < 64);
    uint8_t *content = sim_file_read(b->disk, SIM_BOX_STORE, names[last], &size);
    size_t used = size;
    while (used > 0 && content[used - 1] == 0)
        used--;
    *zeros = size - used;
    free(content);
    return size;
}

size_t zeros_ahead(const sim_box *b) {
    size_t zeros;
    (void)newest_segment(b, &zeros);
    return zeros;
}
