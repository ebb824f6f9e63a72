/* The opened index, shared by ordered.c and ordered_cursor.c. */
#ifndef CAIRN_INDEX_ORDERED_STATE_H
#define CAIRN_INDEX_ORDERED_STATE_H

#include "index/ordered.h"
#include "index/ordered_env.h"
#include "src/os/os_thread.h"

#include <stdatomic.h>

struct ordered {
    ordered_env env; /* the map: changed only with `growing` set and nobody inside */
    bool read_only;
    os_mutex writing;  /* guards `failed` and is held through an absorb */
    bool failed;       /* a commit failed for a reason that may be final */
    os_mutex gate;     /* guards what follows */
    os_cond gate_open; /* `inside` or `growing` went down */
    unsigned inside;   /* read transactions */
    bool growing;
    bool map_lost;     /* by a growth that failed: LMDB may only be closed */
    ordered_meta meta; /* as committed; changed under `writing` as well */
    os_mutex checking; /* held through the check of the file, and guards `damage` */
    atomic_bool sound; /* the file was checked: nobody writes or walks before that */
    cairn_error damage;
};

/* Whether the file is sound: who comes first checks it, the others wait. CAIRN_OK; CAIRN_CORRUPT from then on;
 * CAIRN_IO, CAIRN_NO_MEMORY. */
int ordered_check(ordered *o, cairn_error *error);
/* Inside, a read transaction may be open, and no other one of this thread. CAIRN_OK, or CAIRN_FAILED. */
int ordered_enter(ordered *o, cairn_error *error);
void ordered_leave(ordered *o);

#endif
