/* The keys of a store as paths of files: collected, judged, and put in an order in which a file's key stands right
 * before those that would need it to be a directory. */
#ifndef CAIRN_CLI_TREEKEYS_H
#define CAIRN_CLI_TREEKEYS_H

#include "src/cli/keyenc.h"

typedef struct tree_key {
    size_t at;           /* of the key in tree_keys.bytes */
    uint32_t size;       /* bytes, the prefix included; at most 64 KiB */
    bool refused;        /* cannot be a file */
    uint64_t value_size; /* 0 where nobody asked */
} tree_key;

typedef struct tree_keys {
    size_t prefix_size; /* stripped off every key to make its path */
    uint8_t *bytes;     /* all keys, one behind the other */
    size_t bytes_size, bytes_capacity;
    tree_key *keys;
    size_t count, capacity;
} tree_keys;

void tree_keys_release(tree_keys *keys);

/* Copies the key, which begins with the prefix. False when there is no memory; the keys are then as they were. */
bool tree_keys_add(tree_keys *keys, byte_view key, uint64_t value_size);

byte_view tree_keys_key(const tree_keys *keys, size_t index);
byte_view tree_keys_path(const tree_keys *keys, size_t index);

/* Why a path cannot be that of a file below a directory; NULL when it can. */
const char *tree_path_refusal(byte_view path);

/* Puts the keys in order and marks those that are refused: for their path, or because one of them would have to be both
 * a file and a directory; then both are, and `other` is the one that it clashes with. Each is told once. */
typedef void (*tree_refusal)(void *ctx, byte_view key, const char *why, const byte_view *other);
void tree_keys_judge(tree_keys *keys, tree_refusal tell, void *ctx);

#endif
