#include "src/base/location.h"

#include "src/base/check.h"

#define MANTISSA_BITS 14
#define MANTISSA_COUNT ((uint64_t)1 << MANTISSA_BITS)

/* The shift at which units >> shift is below 2 * MANTISSA_COUNT: the exponent is one more, and 0 below that. */
static unsigned shift_of(uint64_t units) {
    unsigned bits = 64 - (unsigned)__builtin_clzll(units | 1);
    return bits > MANTISSA_BITS + 1 ? bits - (MANTISSA_BITS + 1) : 0;
}

uint64_t length_round(uint64_t units) {
    CHECK(units <= (uint64_t)1 << 56);
    return round_up(units, (uint64_t)1 << shift_of(units));
}

location location_make(uint64_t address, uint64_t units, location_kind kind) {
    CHECK(address != 0 && address <= ADDRESS_MAX && (unsigned)kind < 16);
    CHECK(length_round(units) == units);
    unsigned shift = shift_of(units);
    uint64_t length = units;
    if (units >= MANTISSA_COUNT)
        length = ((uint64_t)(shift + 1) << MANTISSA_BITS) | ((units >> shift) - MANTISSA_COUNT);
    return address | length << ADDRESS_BITS | (uint64_t)kind << 60;
}

uint64_t location_units(location l) {
    uint64_t length = (l >> ADDRESS_BITS) & 0xfffff;
    uint64_t exponent = length >> MANTISSA_BITS;
    uint64_t mantissa = length & (MANTISSA_COUNT - 1);
    return exponent == 0 ? mantissa : (MANTISSA_COUNT + mantissa) << (exponent - 1);
}
