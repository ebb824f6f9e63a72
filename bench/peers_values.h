/* The cell that fills a store and reads it, from the page cache and from the disk. */
#ifndef CAIRN_BENCH_PEERS_VALUES_H
#define CAIRN_BENCH_PEERS_VALUES_H

#include "bench/peers.h"
#include "bench/stamped.h"
#include "src/base/checksum.h"

/* Figures. */
enum {
    FILL,
    FILL_SYNCED,
    FILL_SPACE,
    WARM,
    WARM_2,
    VIEW,
    VIEW_READ,
    COLD,
    COLD_MANY,
    SCAN,
    SCAN_KEYS,
    SCAN_COLD,
    VALUES_FIGURES
};

typedef struct values {
    cell *c;
    void *store, *session; /* NULL: closed */
    stamped bytes;
    size_t *order;
    char *buffer;            /* of a value */
    double returned, synced; /* seconds that the filling took until then */
} values;

/* Reads every byte once. */
static inline void values_read_once(const void *data, size_t size) {
    uint64_t sum = checksum(data, size, 0);
    __asm__ volatile("" : : "r"(sum)); /* so that it is taken */
}

void values_open(values *v); /* the store of the cell; makes it when it is not there */
void values_close(values *v);
void values_must_be(values *v, uint64_t i, const void *value, size_t size); /* key i's, byte by byte */
void values_warm(values *v);                                                /* the store is open */
void values_cold(values *v);                                                /* it is closed, before and after */
void values_scan_warm(values *v);                                           /* open */
void values_scan_cold(values *v);                                           /* closed, before and after */

/* A store on whose files nothing is cached. False: that is not permitted, and it is closed. */
bool values_open_cold(values *v);

#endif
