/* What a test with very many cases says when one of them kills the process, hangs, or asks for too much memory. */
#ifndef CAIRN_TESTS_WATCH_H
#define CAIRN_TESTS_WATCH_H

#include <stdint.h>

/* From here on a signal that ends the process prints the case first; one case may take a minute, and address space is
 * limited (not under sanitizers, which need it). */
void watch_begin(void);
void watch_end(void);

void watch_case(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *watch_text(void); /* of the case under way */

#endif
