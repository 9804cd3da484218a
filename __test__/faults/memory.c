/*
 * A process to be measured: it writes each page of the first half of its memory again and again, another value each time, and never the
 * other half. Arguments: "private" or "shared", a file for the count of its rounds, and the size in pages. It prints where the memory is,
 * and ends with its standard input. Where KVM is there, it has two vCPUs and keeps their files of statistics open, as QEMU does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void make_vcpus(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	for (int i = 0; vm >= 0 && i < 2; i++) {
		int vcpu = ioctl(vm, KVM_CREATE_VCPU, i);
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
		/* There is no memory, so that each run ends at once; but the statistics are no longer all 0. */
		for (int run = 0; run <= i; run++)
			ioctl(vcpu, KVM_RUN, 0);
		ioctl(vcpu, KVM_GET_STATS_FD, 0);
	}
}

int main(int count, char **arguments)
{
	if (count != 4)
		return 2;
	int shared = !strcmp(arguments[1], "shared"), file = open(arguments[2], O_RDWR | O_CREAT, 0600);
	size_t page = sysconf(_SC_PAGESIZE), pages = strtoul(arguments[3], NULL, 10), size = page * pages;
	int memory = shared ? memfd_create("ram", MFD_CLOEXEC) : -1;
	if (file < 0 || ftruncate(file, 8) || (shared && ftruncate(memory, size)))
		return 1;
	volatile uint64_t *rounds = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, memory, 0);
	if ((void *)rounds == MAP_FAILED || start == MAP_FAILED)
		return 1;
	/* A huge page has one soft-dirty bit for all of it. A kernel that has none refuses. */
	madvise(start, size, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < pages; i++)
		*(volatile uint64_t *)(start + i * page + page - 8) = i + 1;
	make_vcpus();
	printf("%lx-%lx\n", (unsigned long)start, (unsigned long)(start + size));
	fflush(stdout);
	for (;;) {
		uint64_t value = *rounds + 1;
		for (size_t i = 0; i < pages / 2; i++)
			*(volatile uint64_t *)(start + i * page + page - 8) = value << 32 | i;
		*rounds = value;
		struct pollfd input = { .fd = 0, .events = POLLIN };
		if (poll(&input, 1, 1) > 0)
			return 0;
	}
}
