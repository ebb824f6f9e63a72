/* The identity of a store: the file CAIRN. Format: vlog/FORMAT.md. */
#ifndef CAIRN_STORE_IDENTITY_H
#define CAIRN_STORE_IDENTITY_H

#include "include/cairn.h"
#include "src/base/keyhash.h"
#include "src/os/os.h"

#define IDENTITY_NAME "CAIRN"
#define IDENTITY_NEW_NAME "CAIRN.NEW"
#define IDENTITY_ORDERED 1u

typedef struct store_identity {
    uint8_t store_id[16];
    key_secret secret;
    uint64_t salt, created_ms;
    uint32_t flags;
} store_identity;

/* CAIRN_OK; CAIRN_NO_STORE: there is no such file, or it is something else; CAIRN_UNSUPPORTED: newer; CAIRN_CORRUPT. */
int identity_load(store_identity *identity, os_dir *dir, cairn_error *error);
/* Random secrets, and the file, durably. */
int identity_make(store_identity *identity, os *system, uint32_t flags, cairn_error *error);
int identity_store(const store_identity *identity, os_dir *dir, cairn_error *error);

#endif
