/*
 * The other side of process-sampling.mjs:
 *
 *   hold sparse|present GIB      has so much memory, says where ("START-END"), and ends with its standard input
 *   read PID START-END SAMPLES   asks twice, in order, about each of SAMPLES pages whether it is in memory (PAGEMAP_SCAN), reads it
 *                                (process_vm_readv, 64 in a call), adds its bytes up, and says how much CPU time that took, in us
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/types.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH 64
#define PAGE 4096UL
#define GIB (1UL << 30)

static int hold(const char *kind, size_t gib)
{
	char *start = mmap(NULL, gib * GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return 1;
	if (!strcmp(kind, "present")) {
		/* The same GiB again and again, so that every address has a page in memory, and 1 GiB of RAM is enough. */
		int file = memfd_create("ram", MFD_CLOEXEC);
		if (file < 0 || ftruncate(file, GIB))
			return 1;
		char *once = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		if (once == MAP_FAILED)
			return 1;
		for (size_t i = 0; i < GIB; i += PAGE)
			*(uint64_t *)(once + i) = i + 1;
		for (size_t i = 0; i < gib; i++)
			if (mmap(start + i * GIB, GIB, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, file, 0) == MAP_FAILED)
				return 1;
	}
	printf("%lx-%lx\n", (unsigned long)start, (unsigned long)(start + gib * GIB));
	fflush(stdout);
	char byte;
	return read(0, &byte, 1) < 0;
}

static double cpu(void)
{
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	return 1e6 * (used.ru_utime.tv_sec + used.ru_stime.tv_sec) + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

/* include/uapi/linux/fs.h, since Linux 6.7. */
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct scan)
#define PRESENT (1UL << 3)

/* Whether this page is in memory. */
static int is_present(int pagemap, unsigned long page)
{
	uint64_t region[3];
	struct scan scan = { .size = sizeof(scan), .start = page, .end = page + PAGE, .vec = (uintptr_t)region, .vec_len = 1, .max_pages = 1,
			     .category_anyof_mask = PRESENT, .return_mask = PRESENT };
	return ioctl(pagemap, SCAN, &scan) == 1;
}

static int read_pages(pid_t pid, const char *range, size_t samples)
{
	static uint64_t pages[BATCH * PAGE / sizeof(uint64_t)];
	uint64_t sums[8] = { 0 };
	unsigned long start, end;
	if (sscanf(range, "%lx-%lx", &start, &end) != 2)
		return 2;
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	int pagemap = open(path, O_RDONLY);
	size_t each = (end - start) / samples;
	double began = cpu();
	for (int pass = 0; pass < 2; pass++) {
		for (size_t first = 0; first < samples; first += BATCH) {
			struct iovec local = { pages, sizeof(pages) }, remote[BATCH];
			for (size_t i = 0; i < BATCH; i++) {
				/* Anywhere in its stratum, as a sample is: the same pages again and again would stay in the caches. */
				unsigned long drawn = (first + i) * 0x9e3779b97f4a7c15UL >> 32;
				unsigned long at = start + (first + i) * each + drawn % (each / PAGE) * PAGE;
				remote[i] = (struct iovec){ (void *)at, PAGE };
				if (!is_present(pagemap, at))
					return 1;
			}
			if (process_vm_readv(pid, &local, 1, remote, BATCH, 0) != sizeof(pages))
				return 1;
			/* The least that whoever compares pages does with them. */
			for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i += 8)
				for (size_t lane = 0; lane < 8; lane++)
					sums[lane] += pages[i + lane];
		}
	}
	double took = cpu() - began;
	uint64_t sum = 0;
	for (size_t lane = 0; lane < 8; lane++)
		sum += sums[lane];
	printf("%.0f\n", took);
	/* Pages that are in memory hold something, and the sum must not be left out by the compiler. */
	return sum == 0;
}

int main(int count, char **arguments)
{
	if (count == 4 && !strcmp(arguments[1], "hold"))
		return hold(arguments[2], strtoul(arguments[3], NULL, 10));
	if (count == 5 && !strcmp(arguments[1], "read"))
		return read_pages(atoi(arguments[2]), arguments[3], strtoul(arguments[4], NULL, 10));
	return 2;
}
