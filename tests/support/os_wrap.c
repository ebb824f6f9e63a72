#include "tests/support/os_wrap.h"

#include "tests/support/os_sim_disk.h"

#include <string.h>

/* The table holds pointers to functions and nothing else. */
typedef void (*any_call)(void);
#define CALLS (sizeof(os) / sizeof(any_call))

void os_override(os *table, const os *calls) {
    any_call to[CALLS], from[CALLS];
    _Static_assert(sizeof to == sizeof *table, "an OS table is made of calls");
    if (calls == NULL) return;
    memcpy(to, table, sizeof to);
    memcpy(from, calls, sizeof from);
    for (size_t i = 0; i < CALLS; i++) {
        if (from[i] != NULL) to[i] = from[i];
    }
    memcpy(table, to, sizeof to);
}

os os_posix_with(const os *calls) {
    os table = *os_posix();
    os_override(&table, calls);
    return table;
}

const os *sim_calls(void) {
    static os table;
    if (table.dir_open == NULL) sim_os_table(&table);
    return &table;
}
