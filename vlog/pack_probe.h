/* A guess, in at most a thirtieth of the time that it takes to store them, whether bytes are worth a try to compress.
 *
 * It counts how often the values of sampled bytes meet. Bytes whose frequencies alone would save one part in eight (at
 * most 7 bits of entropy a byte) meet at least twice as often as random ones; and it looks whether the bytes at a few
 * places come again a little later. What it cannot see are repeats that lie farther apart, in bytes whose frequencies
 * are flat: the packer tries such values now and then all the same.
 */
#ifndef CAIRN_VLOG_PACK_PROBE_H
#define CAIRN_VLOG_PACK_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/* size: at least PACK_PROBE_BYTES_MIN, at most a frame. */
#define PACK_PROBE_BYTES_MIN ((size_t)64)
bool pack_probe(const void *frame, size_t size);

#endif
