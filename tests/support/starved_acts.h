/* Inside tests/support/starved.h: what the acts share. */
#ifndef CAIRN_TESTS_STARVED_ACTS_H
#define CAIRN_TESTS_STARVED_ACTS_H

#include "tests/support/starved.h"

#define MEGABYTE ((size_t)1 << 20)

/* ---- starved.c ---- */

void starved_compare(starved *b, const char *when); /* whether the open store holds what the model says */
void starved_close(starved *b);
void starved_kill(starved *b); /* the process dies and comes again */

/* ---- starved_values.c: values written and read ---- */

void starved_learn(starved *b, int rc, unsigned k, const void *bytes, size_t size); /* after a change that gave rc */
unsigned starved_any_key(starved *b);
int starved_wrong(starved *b, const char *what); /* notes it; CAIRN_OK */

int act_put_small(starved *b);
int act_put_new(starved *b);
int act_put_long_key(starved *b);
int act_put_bulk(starved *b);
int act_put_in_file(starved *b);
int act_put_synced(starved *b);
int act_put_expiring(starved *b);
int act_delete_any(starved *b);
int act_commit_small(starved *b);
int act_commit_expiring(starved *b);
int act_commit_large(starved *b);
int act_write_short(starved *b);
int act_write_long(starved *b);
int act_get(starved *b);
int act_get_into(starved *b);
int act_get_many(starved *b);
int act_read_part(starved *b);
int act_stat_key(starved *b);
int act_read_stream(starved *b);
int act_view(starved *b);
int act_scan(starved *b);
int act_use_snapshot(starved *b);

#endif
