/*
 * Preloaded into a process under test: makes a call of the native binding fail as the kernel or the C library could. What fails is in a
 * file that is mapped here, so that the process itself can change it between two cases. Only calls of the binding count: of other parts
 * of the process, only ioctls of KVM would, and there are none.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define KVMIO 0xae
/* The call does not fail, but transfers less than it was asked for. Also in process-cases.ts. */
#define SHORT -1

/* The layout is also in plan.mjs. */
struct plan {
	char call[32];              /* "ioctl" with `number`, or the name of a function, with a kind of file; empty: nothing fails */
	_Atomic uint32_t number;    /* of the ioctl: its lowest byte */
	_Atomic int32_t error;      /* errno, or SHORT */
	_Atomic uint32_t at;        /* the first call that fails, from 1 */
	_Atomic uint32_t times;     /* how many fail; 0: all from there on */
	_Atomic uint32_t seen;      /* calls so far */
	_Atomic uint32_t failed;    /* how many of the calls failed */
	_Atomic uint32_t ioctls[256]; /* how often each ioctl of KVM was made, whatever fails */
};

static struct plan *plan;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("DIRTYRATE_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *at = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED)
		plan = at;
}

/* Whether the code at `caller` is the binding's. */
static int is_ours(void *caller)
{
	Dl_info info;
	if (!plan || !dladdr(caller, &info) || !info.dli_fname)
		return 0;
	const char *end = strrchr(info.dli_fname, '.');
	return end && !strcmp(end, ".node") && strstr(info.dli_fname, "dirtyrate");
}

/* The errno that this call fails with, or 0. */
static int fault(const char *call, uint32_t number)
{
	if (!plan || strcmp(plan->call, call) || plan->number != number)
		return 0;
	uint32_t seen = atomic_fetch_add(&plan->seen, 1) + 1, at = plan->at, times = plan->times;
	if (seen < at || (times && seen >= at + times))
		return 0;
	atomic_fetch_add(&plan->failed, 1);
	return plan->error;
}

#define REAL(name) \
	static __typeof__(name) *real; \
	if (!real) \
		real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* What fails with -1 and errno. */
#define FAIL(name, otherwise) \
	do { \
		int error = is_ours(__builtin_return_address(0)) ? fault(name, 0) : 0; \
		if (error) { \
			errno = error; \
			return otherwise; \
		} \
	} while (0)

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, void *);
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	if (!real)
		real = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
	if (plan && ((request >> 8) & 0xff) == KVMIO) {
		atomic_fetch_add(&plan->ioctls[request & 0xff], 1);
		int error = fault("ioctl", request & 0xff);
		if (error) {
			errno = error;
			return -1;
		}
	}
	if (((request >> 8) & 0xff) == 'f')
		FAIL("ioctl pagemap", -1);
	return real(fd, request, argument);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	REAL(pthread_create);
	int error = is_ours(__builtin_return_address(0)) ? fault("pthread_create", 0) : 0;
	return error ? error : real(thread, attributes, run, argument);
}

int pthread_kill(pthread_t thread, int signal)
{
	REAL(pthread_kill);
	int error = is_ours(__builtin_return_address(0)) ? fault("pthread_kill", 0) : 0;
	return error ? error : real(thread, signal);
}

/* Of a mapping: those of KVM's files, and guest memory. A thread of Rust's that gets no signal stack ends the process by design. */
static int is_mapping_of_a_vm(size_t length, int flags, int fd)
{
	return fd >= 0 || (flags & MAP_NORESERVE && length >= 1 << 20);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	REAL(mmap);
	if (is_mapping_of_a_vm(length, flags, fd))
		FAIL("mmap", MAP_FAILED);
	return real(address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	REAL(mmap64);
	if (is_mapping_of_a_vm(length, flags, fd))
		FAIL("mmap", MAP_FAILED);
	return real(address, length, protection, flags, fd, offset);
}

int eventfd(unsigned int value, int flags)
{
	REAL(eventfd);
	FAIL("eventfd", -1);
	return real(value, flags);
}

int timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
	REAL(timer_create);
	FAIL("timer_create", -1);
	return real(clock, event, timer);
}

int timer_settime(timer_t timer, int flags, const struct itimerspec *value, struct itimerspec *old)
{
	REAL(timer_settime);
	FAIL("timer_settime", -1);
	return real(timer, flags, value, old);
}

int madvise(void *address, size_t length, int advice)
{
	REAL(madvise);
	FAIL("madvise", -1);
	return real(address, length, advice);
}

int open(const char *path, int flags, ...)
{
	static int (*real)(const char *, int, ...);
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = va_arg(arguments, mode_t);
	va_end(arguments);
	if (!real)
		real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
	if (!strcmp(path, "/dev/kvm"))
		FAIL("open", -1);
	return real(path, flags, mode);
}

/* The kind of a file of /proc/PID that the measurement of another process needs, or NULL. */
static const char *kind_of(const char *path)
{
	static const char *const ends[] = { "maps", "pagemap", "stat", "smaps", "clear_refs", "fd" };
	if (strncmp(path, "/proc/", 6))
		return strstr(path, "memfd:") ? "memory" : NULL;
	if (strstr(path, "/fdinfo/"))
		return "fdinfo";
	if (strstr(path, "/map_files/") || strstr(path, "/fd/"))
		return "memory";
	const char *name = strrchr(path, '/') + 1;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (!strcmp(name, ends[i]))
			return ends[i];
	return NULL;
}

/* What fails of a call on a file: errno, SHORT, or 0. The plan names the call and the kind of file. */
static int file_fault(const char *call, const char *path)
{
	const char *kind = path ? kind_of(path) : NULL;
	char name[64];
	if (!kind)
		return 0;
	snprintf(name, sizeof(name), "%s %s", call, kind);
	return fault(name, 0);
}

/* The same for a file that is open. */
static int descriptor_fault(const char *call, int fd)
{
	char link[64], path[4096];
	if (!plan || strncmp(plan->call, call, strlen(call)))
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return file_fault(call, path);
}

#define FAIL_BY(expression, otherwise) \
	do { \
		if (is_ours(__builtin_return_address(0))) \
			error = (expression); \
		if (error > 0) { \
			errno = error; \
			return otherwise; \
		} \
	} while (0)

int open64(const char *path, int flags, ...)
{
	static int (*real)(const char *, int, ...);
	int error = 0;
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = va_arg(arguments, mode_t);
	va_end(arguments);
	if (!real)
		real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
	FAIL_BY(file_fault("open", path), -1);
	return real(path, flags, mode);
}

ssize_t read(int fd, void *bytes, size_t count)
{
	REAL(read);
	int error = 0;
	FAIL_BY(descriptor_fault("read", fd), -1);
	return real(fd, bytes, error == SHORT && count > 1 ? count / 2 : count);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset)
{
	REAL(pread64);
	int error = 0;
	FAIL_BY(descriptor_fault("pread", fd), -1);
	return real(fd, bytes, error == SHORT && count > 1 ? count / 2 : count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
	REAL(pwrite64);
	int error = 0;
	FAIL_BY(descriptor_fault("pwrite", fd), -1);
	return real(fd, bytes, error == SHORT ? count / 2 : count, offset);
}

DIR *opendir(const char *path)
{
	REAL(opendir);
	int error = 0;
	FAIL_BY(file_fault("opendir", path), NULL);
	return real(path);
}

ssize_t readlink(const char *restrict path, char *restrict bytes, size_t size)
{
	REAL(readlink);
	FAIL("readlink", -1);
	return real(path, bytes, size);
}

int flock(int fd, int operation)
{
	REAL(flock);
	FAIL("flock", -1);
	return real(fd, operation);
}

int statx(int folder, const char *restrict path, int flags, unsigned int mask, struct statx *restrict found)
{
	REAL(statx);
	int error = 0;
	FAIL_BY(*path ? file_fault("stat", path) : descriptor_fault("stat", folder), -1);
	return real(folder, path, flags, mask, found);
}

int mincore(void *address, size_t length, unsigned char *found)
{
	REAL(mincore);
	FAIL("mincore", -1);
	return real(address, length, found);
}

off_t lseek(int fd, off_t offset, int whence)
{
	REAL(lseek);
	if (whence == SEEK_DATA)
		FAIL("lseek", -1);
	return real(fd, offset, whence);
}

ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals, const struct iovec *remote,
			 unsigned long remotes, unsigned long flags)
{
	REAL(process_vm_readv);
	int error = 0;
	FAIL_BY(fault("process_vm_readv", 0), -1);
	return real(pid, local, locals, remote, error == SHORT ? remotes / 2 : remotes, flags);
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	int error = 0;
	long a[6];
	va_list arguments;
	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_pidfd_open || number == SYS_pidfd_getfd)
		FAIL_BY(fault(number == SYS_pidfd_open ? "pidfd_open" : "pidfd_getfd", 0), -1);
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int fcntl(int fd, int command, ...)
{
	static int (*real)(int, int, ...);
	va_list arguments;
	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	if (!real)
		real = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl");
	if (command == F_DUPFD_CLOEXEC)
		FAIL("fcntl", -1);
	return real(fd, command, argument);
}
