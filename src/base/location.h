/* Where a record lies, in 64 bits: what the hash index keeps beside a hash.
 *
 *   bits 0..39   address: 64-byte units in the store's address space (64 TiB); 0 is no location
 *   bits 40..59  length: 64-byte units as a 20-bit float, 6 bits of exponent above 14 of mantissa
 *   bits 60..63  kind
 *
 * A length below 2^15 units (2 MiB) is exact. Above, exponent e >= 1 and mantissa m stand for (2^14 + m) << (e - 1).
 * Records are padded to a representable length, so that the index knows each one's length exactly; the padding is less
 * than one part in 16,384.
 */
#ifndef CAIRN_BASE_LOCATION_H
#define CAIRN_BASE_LOCATION_H

#include <stdint.h>

#define UNIT_BYTES ((uint64_t)64)
#define ADDRESS_BITS 40
#define ADDRESS_MAX (((uint64_t)1 << ADDRESS_BITS) - 1)

typedef uint64_t location;
#define LOCATION_NONE ((location)0)

typedef enum location_kind {
    LOCATION_VALUE = 0,  /* a record that holds its value raw */
    LOCATION_STREAM = 1, /* a record that names a file with the value */
    LOCATION_PACKED = 2, /* a record that holds its value in compressed frames */
    LOCATION_EXPIRES = 8 /* added to any of them: the record has an expiry */
} location_kind;

/* The least representable length that is >= units; units <= 2^56. */
uint64_t length_round(uint64_t units);

location location_make(uint64_t address, uint64_t units, location_kind kind); /* units is representable */
static inline uint64_t location_address(location l) { return l & ADDRESS_MAX; }
uint64_t location_units(location l);
static inline location_kind location_kind_of(location l) { return (location_kind)(l >> 60); }
static inline int location_expires(location l) { return (location_kind_of(l) & LOCATION_EXPIRES) != 0; }
/* The kind but for the expiry. */
static inline location_kind location_holds(location l) {
    return (location_kind)(location_kind_of(l) & ~(unsigned)LOCATION_EXPIRES);
}

#endif
