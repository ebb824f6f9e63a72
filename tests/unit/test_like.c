/* SQL LIKE over bytes, against a plain recursive matcher, and what a pattern says about a walk. */
#include "index/like.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Straight from the definition. */
static bool matches_by_definition(const uint8_t *p, size_t p_size, const uint8_t *k, size_t k_size, uint8_t escape) {
    if (p_size == 0) return k_size == 0;
    if (*p == escape)
        return k_size > 0 && p[1] == *k && matches_by_definition(p + 2, p_size - 2, k + 1, k_size - 1, escape);
    if (*p == '%') {
        for (size_t skip = 0; skip <= k_size; skip++) {
            if (matches_by_definition(p + 1, p_size - 1, k + skip, k_size - skip, escape)) return true;
        }
        return false;
    }
    return k_size > 0 && (*p == '_' || *p == *k) && matches_by_definition(p + 1, p_size - 1, k + 1, k_size - 1, escape);
}

static bool ends_in_escape(const uint8_t *p, size_t size, uint8_t escape) {
    size_t i = 0;
    while (i < size)
        i += p[i] == escape ? 2 : 1;
    return i > size;
}

static like *compiled(const char *pattern) {
    like *p = NULL;
    assert_int_equal(like_compile(&p, pattern, strlen(pattern), '\\', NULL), CAIRN_OK);
    return p;
}

static bool matches(const char *pattern, const char *key) {
    like *p = compiled(pattern);
    bool yes = like_matches(p, key, strlen(key));
    like_free(p);
    return yes;
}

static void check_against_definition(const uint8_t *pattern, size_t size, const uint8_t *key, size_t key_size,
                                     const like *p) {
    assert_int_equal(like_matches(p, key, key_size), matches_by_definition(pattern, size, key, key_size, '\\'));
}

static void wildcards_and_escapes_mean_what_sql_says(void **state) {
    (void)state;
    assert_true(matches("a%z", "az") && matches("a%z", "a---z") && !matches("a%z", "azb"));
    assert_true(matches("a_z", "abz") && !matches("a_z", "az") && !matches("a_z", "abbz"));
    assert_true(matches("\\%\\_\\\\", "%_\\") && !matches("\\%", "x"));
    assert_true(matches("\\a", "a"));
    assert_true(!matches("A", "a"));
    assert_true(matches("", "") && !matches("", "a") && matches("%", "") && matches("%%", "abc"));
}

static void a_zero_byte_and_high_bytes_are_bytes_like_others(void **state) {
    (void)state;
    like *p;
    assert_int_equal(like_compile(&p, "\0_\xff%", 4, '\\', NULL), CAIRN_OK);
    assert_true(like_matches(p, "\0\0\xff\0", 4));
    assert_false(like_matches(p, "\0\0\xfe\0", 4));
    like_free(p);
}

static void the_escape_may_be_a_wildcard_itself(void **state) {
    (void)state;
    like *p;
    assert_int_equal(like_compile(&p, "a%%%_", 5, '%', NULL), CAIRN_OK);
    assert_true(like_matches(p, "a%_", 3));
    assert_false(like_matches(p, "ab_", 3));
    assert_true(like_is_literal(p));
    like_free(p);
}

static void an_escape_at_the_end_is_invalid(void **state) {
    (void)state;
    like *p = NULL;
    cairn_error error = {0};
    assert_int_equal(like_compile(&p, "ab\\", 3, '\\', &error), CAIRN_INVALID);
    assert_int_equal(error.code, CAIRN_INVALID);
    assert_int_equal(like_compile(&p, "\\\\\\", 3, '\\', NULL), CAIRN_INVALID);
    assert_null(p);
}

static void check_narrowing(const char *pattern, const char *prefix, bool is_prefix, bool is_literal) {
    size_t size;
    like *p = compiled(pattern);
    const void *bytes = like_prefix(p, &size);
    assert_int_equal(size, strlen(prefix));
    assert_memory_equal(bytes, prefix, size);
    assert_int_equal(like_is_prefix(p), is_prefix);
    assert_int_equal(like_is_literal(p), is_literal);
    like_free(p);
}

static void a_pattern_tells_what_narrows_a_walk(void **state) {
    (void)state;
    check_narrowing("", "", false, true);
    check_narrowing("abc", "abc", false, true);
    check_narrowing("a\\%c", "a%c", false, true);
    check_narrowing("abc%", "abc", true, false);
    check_narrowing("abc%%", "abc", true, false);
    check_narrowing("a\\%\\%%", "a%%", true, false);
    check_narrowing("%", "", true, false);
    check_narrowing("abc_", "abc", false, false);
    check_narrowing("a%b%", "a", false, false);
    check_narrowing("abc%_", "abc", false, false);
    check_narrowing("_abc", "", false, false);
}

/* The `number`-th string over an alphabet of four. */
static void spell(uint8_t *out, size_t size, uint64_t number, const char *alphabet) {
    for (size_t i = 0; i < size; i++, number /= 4)
        out[i] = (uint8_t)alphabet[number % 4];
}

static void every_short_pattern_matches_every_short_key_as_defined(void **state) {
    (void)state;
    const size_t pattern_max = (size_t)rung_choose(5, 4, 6), key_max = (size_t)rung_choose(5, 4, 6);
    for (size_t size = 0; size <= pattern_max; size++) {
        for (uint64_t number = 0; number < (uint64_t)1 << 2 * size; number++) {
            uint8_t pattern[8];
            like *p;
            spell(pattern, size, number, "a%_\\");
            int code = like_compile(&p, pattern, size, '\\', NULL);
            assert_int_equal(code, ends_in_escape(pattern, size, '\\') ? CAIRN_INVALID : CAIRN_OK);
            if (code != CAIRN_OK) continue;
            for (size_t key_size = 0; key_size <= key_max; key_size++) {
                /* Two letters would do, were it not for escaped wildcards. */
                for (uint64_t key_number = 0; key_number < (uint64_t)1 << 2 * key_size; key_number++) {
                    uint8_t key[8];
                    spell(key, key_size, key_number, "ab%_");
                    check_against_definition(pattern, size, key, key_size, p);
                }
            }
            like_free(p);
        }
    }
}

static void random_patterns_match_random_keys_as_defined(void **state) {
    (void)state;
    uint64_t rng = 1, hits = 0, cases = rung_choose(200000, 30000, 20000000);
    (void)rung_seed(&rng);
    for (uint64_t i = 0; i < cases; i++) {
        uint8_t pattern[16], key[24];
        size_t size = random_below(&rng, 13), key_size = random_below(&rng, 21), prefix_size;
        like *p;
        spell(pattern, size, random_next(&rng), random_one_in(&rng, 4) ? "ab%\\" : "ab%_");
        spell(key, key_size, random_next(&rng), random_one_in(&rng, 4) ? "ab%_" : "abab");
        if (like_compile(&p, pattern, size, '\\', NULL) != CAIRN_OK) continue;
        check_against_definition(pattern, size, key, key_size, p);
        bool yes = like_matches(p, key, key_size);
        const void *prefix = like_prefix(p, &prefix_size);
        bool begins = key_size >= prefix_size && memcmp(key, prefix, prefix_size) == 0;
        hits += yes;
        assert_true(begins || !yes);
        if (like_is_prefix(p)) assert_int_equal(yes, begins);
        if (like_is_literal(p)) assert_int_equal(yes, begins && key_size == prefix_size);
        like_free(p);
    }
    assert_true(hits > cases / 50);
}

static void no_pattern_takes_more_steps_than_pattern_times_key(void **state) {
    (void)state;
    enum { PAIRS = 200, KEY = 5000 };
    char pattern[2 * PAIRS + 2];
    uint8_t *key = malloc(KEY);
    assert_non_null(key);
    memset(key, 'a', KEY);
    const char *pairs[] = {"%a", "%_", "_%", "a%", "aa"};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        uint64_t steps = 0;
        for (size_t pair = 0; pair < PAIRS; pair++)
            memcpy(pattern + 2 * pair, pairs[i], 2);
        if (i == 4) pattern[0] = '%';
        memcpy(pattern + 2 * PAIRS, "b", 2);
        like *p = compiled(pattern);
        assert_false(like_matches_counting(p, key, KEY, &steps));
        assert_true(steps <= (uint64_t)(2 * PAIRS + 2) * (KEY + 1));
        like_free(p);
    }
    free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wildcards_and_escapes_mean_what_sql_says),
        cmocka_unit_test(a_zero_byte_and_high_bytes_are_bytes_like_others),
        cmocka_unit_test(the_escape_may_be_a_wildcard_itself),
        cmocka_unit_test(an_escape_at_the_end_is_invalid),
        cmocka_unit_test(a_pattern_tells_what_narrows_a_walk),
        cmocka_unit_test(every_short_pattern_matches_every_short_key_as_defined),
        cmocka_unit_test(random_patterns_match_random_keys_as_defined),
        cmocka_unit_test(no_pattern_takes_more_steps_than_pattern_times_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
