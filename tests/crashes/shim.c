// Ends the process, or fails, at the n-th call that changes files: `arm` says at which. Preloaded; see run.py.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static long countdown;    // calls until it strikes; 0: it does not, or it has
static int error_number;  // 0: the process ends

void arm(long calls, int error) {
    countdown = calls;
    error_number = error;
}

long remaining(void) {
    return countdown;
}

static int counts_down(void) {
    return countdown > 0 && --countdown == 0;
}

static void end(void) {
    syscall(SYS_exit_group, 99);
}

// Whether this call fails; where the process is to end, it does not return.
static int strikes(void) {
    if (!counts_down())
        return 0;
    if (!error_number)
        end();
    errno = error_number;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(result, name, parameters, arguments)          \
    result name parameters {                               \
        return strikes() ? -1 : REAL(name) arguments;      \
    }
#define WRAP_OPEN(name)                                    \
    int name(const char* path, int flags, ...) {           \
        va_list more;                                      \
        va_start(more, flags);                             \
        mode_t mode = va_arg(more, mode_t);                \
        va_end(more);                                      \
        return strikes() ? -1 : REAL(name)(path, flags, mode); \
    }
#define WRAP_OPENAT(name)                                  \
    int name(int folder, const char* path, int flags, ...) { \
        va_list more;                                      \
        va_start(more, flags);                             \
        mode_t mode = va_arg(more, mode_t);                \
        va_end(more);                                      \
        return strikes() ? -1 : REAL(name)(folder, path, flags, mode); \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
WRAP(int, rename, (const char* from, const char* to), (from, to))
WRAP(int, renameat, (int a, const char* from, int b, const char* to), (a, from, b, to))
WRAP(int, link, (const char* from, const char* to), (from, to))
WRAP(int, unlink, (const char* path), (path))
WRAP(int, unlinkat, (int folder, const char* path, int flags), (folder, path, flags))
WRAP(int, mkdir, (const char* path, mode_t mode), (path, mode))
WRAP(int, mkdirat, (int folder, const char* path, mode_t mode), (folder, path, mode))
WRAP(int, rmdir, (const char* path), (path))
WRAP(int, ftruncate, (int file, off_t size), (file, size))
WRAP(int, ftruncate64, (int file, off64_t size), (file, size))
WRAP(int, chmod, (const char* path, mode_t mode), (path, mode))
WRAP(int, fchmod, (int file, mode_t mode), (file, mode))
WRAP(int, chown, (const char* path, uid_t user, gid_t group), (path, user, group))
WRAP(int, fchown, (int file, uid_t user, gid_t group), (file, user, group))
WRAP(int, flock, (int file, int operation), (file, operation))
WRAP(int, setxattr, (const char* path, const char* name, const void* value, size_t size, int flags),
     (path, name, value, size, flags))
WRAP(int, removexattr, (const char* path, const char* name), (path, name))
WRAP(ssize_t, pwrite64, (int file, const void* data, size_t size, off64_t at), (file, data, size, at))

// A kill interrupts a write in its middle.
ssize_t write(int file, const void* data, size_t size) {
    if (!counts_down())
        return REAL(write)(file, data, size);
    if (!error_number) {
        REAL(write)(file, data, size / 2);
        end();
    }
    errno = error_number;
    return -1;
}

// The file is closed even where that fails.
int close(int file) {
    int failed = strikes(), error = errno, result = REAL(close)(file);
    if (failed)
        errno = error;
    return failed ? -1 : result;
}

// What a process wrote outlives it without the disk, which would only be slow.
int fsync(int file) {
    (void)file;
    return strikes() ? -1 : 0;
}
