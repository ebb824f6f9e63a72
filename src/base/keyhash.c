#include "src/base/keyhash.h"

#include "src/base/codec.h"

#include <sodium/crypto_shorthash_siphash24.h>

_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == sizeof(key_secret), "secret size");
_Static_assert(crypto_shorthash_siphashx24_BYTES == sizeof(key_hash), "hash size");

key_hash key_hash_of(const key_secret *secret, const void *key, size_t key_size, uint64_t index_mask) {
    uint8_t out[crypto_shorthash_siphashx24_BYTES];
    crypto_shorthash_siphashx24(out, key, key_size, secret->bytes);
    return (key_hash){.index = le64_get(out) & index_mask, .check = le64_get(out + 8)};
}
