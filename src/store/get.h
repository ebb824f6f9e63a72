/* Getting whole values: one key at a time, whatever the value is and wherever it lies. */
#ifndef CAIRN_STORE_GET_H
#define CAIRN_STORE_GET_H

#include "src/store/store.h"

/* A key, and where its value goes. */
typedef struct store_get {
    const void *key;
    size_t key_size;
    key_hash hash;
    bool into; /* into the caller's `cap` bytes at `value`; else into an allocation for cairn_free */
    size_t cap;
    void *value;       /* on success the value */
    size_t value_size; /* on success, and with CAIRN_TOO_SMALL */
} store_get;

/* All are inside the epoch; `stripe` is the guard's slot. Codes and errors as of cairn_get and cairn_get_into. */
int store_get_value(cairn *store, store_get *get, unsigned stripe, cairn_error *error);
int store_get_value_at(cairn *store, store_get *get, store_moment moment, cairn_error *error);

/* As store_get_value, without waiting for the device. STORE_GET_LATER: the record is not in memory, and the system was
 * told that it will be needed. STORE_GET_OTHERWISE: it is one that store_get_value reads in other ways, and lies at
 * *where, unless that is LOCATION_NONE. */
#define STORE_GET_LATER 1
#define STORE_GET_OTHERWISE 2
int store_get_now(cairn *store, store_get *get, unsigned stripe, location *where, cairn_error *error);

#endif
