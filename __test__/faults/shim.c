/*
 * Preloaded into a process under test: makes a call of the native binding fail as the kernel or the C library could. What fails is in a
 * file that is mapped here, so that the process itself can change it between two cases. Only calls of the binding count: of other parts
 * of the process, only ioctls of KVM would, and there are none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KVMIO 0xae

/* The layout is also in driver.mjs. */
struct plan {
	char call[32];              /* "ioctl" with `number`, or the name of a function; empty: nothing fails */
	_Atomic uint32_t number;    /* of the ioctl: its lowest byte */
	_Atomic int32_t error;
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
