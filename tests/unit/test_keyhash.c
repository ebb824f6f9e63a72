/* The hash of keys: SipHash-2-4-128 as published, keyed, and narrowed by the tests' mask. */
#include "src/base/keyhash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const key_secret secret = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

/* From vectors.h of the authors' reference code (vectors_sip128: input of 0, 1 and 2 bytes 00 01 ...). Pinned: a
 * store's footers and checkpoints hold these hashes. */
static void it_is_siphash_2_4_with_128_bits(void **state) {
    (void)state;
    const uint8_t input[] = {0, 1};
    const uint64_t expected[3][2] = {
        {0xe6a825ba047f81a3, 0x930255c71472f66d},
        {0x44af996bd8c187da, 0x45fc229b11597634},
        {0xc75da4a48d227781, 0xe4ff0af6de8ba3fc},
    };
    for (size_t size = 0; size < 3; size++) {
        key_hash h = key_hash_of(&secret, input, size, UINT64_MAX);
        assert_int_equal(h.index, expected[size][0]);
        assert_int_equal(h.check, expected[size][1]);
    }
}

static void the_secret_decides(void **state) {
    (void)state;
    key_secret other = secret;
    other.bytes[15] ^= 1;
    key_hash a = key_hash_of(&secret, "key", 3, UINT64_MAX), b = key_hash_of(&other, "key", 3, UINT64_MAX);
    assert_true(a.index != b.index && a.check != b.check);
}

static void the_mask_narrows_the_index_half_only(void **state) {
    (void)state;
    key_hash whole = key_hash_of(&secret, "key", 3, UINT64_MAX), narrow = key_hash_of(&secret, "key", 3, 0xff);
    assert_int_equal(narrow.index, whole.index & 0xff);
    assert_int_equal(narrow.check, whole.check);
}

static void keys_that_differ_in_one_bit_or_in_length_hash_apart(void **state) {
    (void)state;
    uint8_t *key = calloc(1, 65536);
    assert_non_null(key);
    uint64_t longest = key_hash_of(&secret, key, 65536, UINT64_MAX).index;
    uint64_t shorter = key_hash_of(&secret, key, 65535, UINT64_MAX).index;
    assert_true(longest != shorter);
    key[65535] ^= 1;
    assert_true(key_hash_of(&secret, key, 65536, UINT64_MAX).index != longest);
    assert_int_equal(key_hash_of(&secret, key, 65535, UINT64_MAX).index, shorter);
    free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_siphash_2_4_with_128_bits),
        cmocka_unit_test(the_secret_decides),
        cmocka_unit_test(the_mask_narrows_the_index_half_only),
        cmocka_unit_test(keys_that_differ_in_one_bit_or_in_length_hash_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
