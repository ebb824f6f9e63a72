/* Damage to value files: what may be read all the same, and what must be refused, whatever the frames are like. The
 * file is VALUE_NAME in a box, and whole again afterwards unless the call says otherwise. */
#ifndef CAIRN_TESTS_VALUE_DAMAGE_H
#define CAIRN_TESTS_VALUE_DAMAGE_H

#include "tests/support/value_box.h"

/* assert_value_reads where it may be damaged: gives the right bytes or is refused. Returns whether it can be read. */
bool value_is_right_or_refused(value_box *b, const value_descriptor *d, const uint8_t *value, bool *verified);
/* The same after one bit was flipped, which is flipped back. */
bool value_is_right_or_refused_with(value_box *b, const value_descriptor *d, const uint8_t *value, uint64_t bit,
                                    bool *verified);

/* Damages frame number `frame`, which is stored from `at` on, while `file` is open on it. Every call that reads the
 * frame is refused with that offset, what lies before it is still read. */
void assert_damaged_frame_is_named(value_box *b, const value_descriptor *d, value_file *file, uint64_t frame,
                                   uint64_t at);
/* Every other length than its own, up to 64 bytes more, is refused at the opening. */
void assert_other_lengths_are_refused(value_box *b, const value_descriptor *d);
/* Exchanges the first two pages of the table, of so many frames each, and leaves them so. */
void assert_exchanged_pages_are_refused(value_box *b, const value_descriptor *d, uint64_t frames_a_page);
/* Writes the value, without a file there yet, and damages the table that was spilled meanwhile: nothing is left.
 * `packing` as for value_writer_open. */
void assert_damaged_spill_fails(value_box *b, const uint8_t *value, size_t size, const pack_options *packing);

#endif
