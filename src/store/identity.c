#include "src/store/identity.h"

#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"

#include <errno.h>
#include <string.h>

#define IDENTITY_BYTES 256u
#define MAJOR 1u

static const uint8_t magic[8] = {0x89, 'C', 'A', 'I', 'R', 'N', '\r', '\n'};

int identity_load(store_identity *identity, os_dir *dir, cairn_error *error) {
    uint8_t bytes[IDENTITY_BYTES + 1];
    size_t got = 0;
    os_file *file = NULL;
    int rc = os_file_open(dir, IDENTITY_NAME, OS_READ_ONLY, &file);
    if (rc == -ENOENT) return status_set(error, CAIRN_NO_STORE, "the directory holds no store");
    if (rc == -EINVAL) return status_set(error, CAIRN_NO_STORE, "%s is not a regular file", IDENTITY_NAME);
    if (rc != 0) return status_os(error, rc, "cannot open %s", IDENTITY_NAME);
    rc = os_file_read(file, bytes, sizeof bytes, 0, &got);
    os_file_close(file);
    if (rc != 0) return status_os(error, rc, "cannot read %s", IDENTITY_NAME);
    if (got < 12 || memcmp(bytes, magic, sizeof magic) != 0) {
        return status_set(error, CAIRN_NO_STORE, "%s is not a cairn store's: its first bytes differ", IDENTITY_NAME);
    }
    unsigned major = le16_get(bytes + 8);
    if (major > MAJOR) {
        return status_set(error, CAIRN_UNSUPPORTED,
                          "%s: the store has format version %u.%u, newer than this build's %u", IDENTITY_NAME, major,
                          (unsigned)le16_get(bytes + 10), MAJOR);
    }
    if (got != IDENTITY_BYTES || major != MAJOR || le64_get(bytes + 248) != checksum(bytes, 248, 0)) {
        return status_set(error, CAIRN_CORRUPT, "%s is damaged", IDENTITY_NAME);
    }
    identity->flags = le32_get(bytes + 12);
    memcpy(identity->store_id, bytes + 16, 16);
    memcpy(identity->secret.bytes, bytes + 32, 16);
    identity->salt = le64_get(bytes + 48);
    identity->created_ms = le64_get(bytes + 56);
    return CAIRN_OK;
}

int identity_make(store_identity *identity, os *system, uint32_t flags, cairn_error *error) {
    *identity = (store_identity){.flags = flags, .created_ms = system->clock_ms(system)};
    int rc = system->random(system, identity->store_id, sizeof identity->store_id);
    if (rc == 0) rc = system->random(system, identity->secret.bytes, sizeof identity->secret.bytes);
    if (rc == 0) rc = system->random(system, &identity->salt, sizeof identity->salt);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "no random bytes");
}

int identity_store(const store_identity *identity, os_dir *dir, cairn_error *error) {
    uint8_t bytes[IDENTITY_BYTES] = {0};
    os_file *file = NULL;
    memcpy(bytes, magic, sizeof magic);
    le16_put(bytes + 8, MAJOR);
    le32_put(bytes + 12, identity->flags);
    memcpy(bytes + 16, identity->store_id, 16);
    memcpy(bytes + 32, identity->secret.bytes, 16);
    le64_put(bytes + 48, identity->salt);
    le64_put(bytes + 56, identity->created_ms);
    le64_put(bytes + 248, checksum(bytes, 248, 0));
    int rc = os_file_open(dir, IDENTITY_NEW_NAME, OS_CREATE, &file);
    if (rc != 0) return status_os(error, rc, "cannot create %s", IDENTITY_NEW_NAME);
    rc = os_file_truncate(file, 0);
    if (rc == 0) rc = os_file_write(file, bytes, sizeof bytes, 0);
    if (rc == 0) rc = os_file_sync(file);
    os_file_close(file);
    if (rc == 0) rc = os_rename(dir, IDENTITY_NEW_NAME, IDENTITY_NAME);
    if (rc == 0) rc = os_dir_sync(dir);
    return rc == 0 ? CAIRN_OK : status_os(error, rc, "cannot write %s", IDENTITY_NAME);
}
