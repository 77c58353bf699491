// Executes the passes that tests/machine_code/aarch64.rs has written; see scripts/check-aarch64.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef uint64_t u64;
typedef uint32_t u32;

static u64 *next_word;
static u64 word(void) { return *next_word++; }
static void *bytes(u64 n)
{
	void *at = next_word;
	next_word += (n + 7) / 8;
	return at;
}

static void *memory(u64 n, int prot)
{
	void *at = mmap(NULL, n, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		perror("mmap");
		exit(3);
	}
	return at;
}

// The lock that the code finds taken, and what a slow path leaves in it.
static char *arena;
static u64 held_at, taken, nodes_at;
static int calls, wrong_calls;

// Lose every register that a function called may lose.
static void clobber(void)
{
	asm volatile("mov x0, #-1\n mov x1, #-1\n mov x2, #-1\n mov x3, #-1\n mov x4, #-1\n"
		     "mov x5, #-1\n mov x6, #-1\n mov x7, #-1\n mov x8, #-1\n mov x9, #-1\n"
		     "mov x10, #-1\n mov x11, #-1\n mov x12, #-1\n mov x13, #-1\n mov x14, #-1\n"
		     "mov x15, #-1\n mov x16, #-1\n mov x17, #-1\n" ::
			     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10",
			       "x11", "x12", "x13", "x14", "x15", "x16", "x17", "cc", "memory");
}

static void slow(char *at, int right)
{
	calls++;
	if (at != arena + held_at || !right || (u64)__builtin_frame_address(0) % 16 != 0)
		wrong_calls++;
	*(u64 *)at = taken;
	clobber();
}
static void one(char *at) { slow(at, 1); clobber(); }
static void ticket(char *at, u32 mine) { slow(at, mine == 1); clobber(); }
static void queued(char *at, char *nodes, u64 thread)
{
	slow(at, nodes == arena + nodes_at && thread == 3);
	clobber();
}

// The time of a thread that waits is over; see `expired` of the context.
static u64 expired(void)
{
	calls++;
	clobber();
	return 1;
}

// Have every call that is of nothing known be one of `expired`.
static void relocate_expired(u32 *code, u64 words, const u64 *known)
{
	for (u64 n = 4; n < words; n++) {
		u64 value = 0;
		if (code[n] != 0xd63f0200) // blr x16
			continue;
		for (int half = 0; half < 4; half++)
			value |= (u64)(code[n - 4 + half] >> 5 & 0xffff) << (16 * half);
		int is_known = 0;
		for (int k = 0; k < 5; k++)
			is_known |= value == known[k];
		if (is_known)
			continue;
		for (int half = 0; half < 4; half++) {
			code[n - 4 + half] &= ~(0xffffu << 5);
			code[n - 4 + half] |= (u32)((u64)expired >> (16 * half) & 0xffff) << 5;
		}
	}
}

// Put `to` where the code has the address `from` in four instructions.
static void relocate(u32 *code, u64 words, u64 from, u64 to)
{
	for (u64 n = 0; n + 4 <= words; n++) {
		u64 value = 0;
		int is = 1;
		for (int half = 0; half < 4; half++) {
			u32 op = (half ? 0xf2800000 : 0xd2800000) | half << 21;
			is &= (code[n + half] & 0xffe00000) == op;
			is &= (code[n + half] & 31) == (code[n] & 31);
			value |= (u64)(code[n + half] >> 5 & 0xffff) << (16 * half);
		}
		if (!is || value != from)
			continue;
		for (int half = 0; half < 4; half++) {
			code[n + half] &= ~(0xffffu << 5);
			code[n + half] |= (u32)(to >> (16 * half) & 0xffff) << 5;
		}
	}
}

// Call the code with values in the registers that it has to give back; whether it does.
static int call(void *code, void *context, void *base, u64 passes)
{
	register u64 x0 asm("x0") = (u64)context;
	register u64 x1 asm("x1") = (u64)base;
	register u64 x2 asm("x2") = passes;
	register u64 x3 asm("x3") = (u64)code;
	u64 sum;
	asm volatile("mov x19, #19\n mov x20, #20\n mov x21, #21\n mov x22, #22\n mov x23, #23\n"
		     "mov x24, #24\n mov x25, #25\n mov x26, #26\n mov x27, #27\n mov x28, #28\n"
		     "blr x3\n"
		     "sub x19, x19, #19\n sub x20, x20, #20\n sub x21, x21, #21\n"
		     "sub x22, x22, #22\n sub x23, x23, #23\n sub x24, x24, #24\n"
		     "sub x25, x25, #25\n sub x26, x26, #26\n sub x27, x27, #27\n"
		     "sub x28, x28, #28\n"
		     "orr x19, x19, x20\n orr x19, x19, x21\n orr x19, x19, x22\n"
		     "orr x19, x19, x23\n orr x19, x19, x24\n orr x19, x19, x25\n"
		     "orr x19, x19, x26\n orr x19, x19, x27\n orr x0, x19, x28\n"
		     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
		     :
		     : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
		       "x16", "x17", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
		       "x28", "x30", "cc", "memory");
	sum = x0;
	return sum == 0;
}

// Compare; print the first word that differs.
static int same(int pass, const char *what, const u64 *expected, const u64 *found, u64 words)
{
	for (u64 n = 0; n < words; n++)
		if (expected[n] != found[n]) {
			printf("pass %d: %s, byte %llu: %016llx, not %016llx\n", pass, what,
			       (unsigned long long)n * 8, (unsigned long long)found[n],
			       (unsigned long long)expected[n]);
			return 0;
		}
	return 1;
}

static int one_pass(int pass)
{
	u64 code_bytes = word(), passes = word(), frame_bytes = word(), context_bytes = word();
	u64 draws_at = word(), arena_bytes = word();
	nodes_at = word();
	u64 tables = word(), hosts[8], guests[8];
	for (u64 n = 0; n < tables && n < 8; n++) {
		hosts[n] = word();
		u64 count = word();
		guests[n] = (u64)bytes(4 * count);
	}
	u64 slow_paths[5];
	for (int n = 0; n < 5; n++)
		slow_paths[n] = word();
	held_at = word();
	taken = word();
	u64 left = word();
	u64 apart = word();
	u64 room = (code_bytes + 4095) / 4096 * 4096;
	u32 *code = memory(room, PROT_READ | PROT_WRITE);
	memcpy(code, bytes(code_bytes), code_bytes);
	for (u64 n = 0; n < tables; n++)
		relocate(code, code_bytes / 4, hosts[n], guests[n]);
	u64 stubs[5] = { (u64)one, (u64)ticket, (u64)queued, (u64)one, (u64)one };
	relocate_expired(code, code_bytes / 4, slow_paths);
	for (int n = 0; n < 5; n++)
		relocate(code, code_bytes / 4, slow_paths[n], stubs[n]);
	__builtin___clear_cache((char *)code, (char *)code + code_bytes);
	mprotect(code, room, PROT_READ | PROT_EXEC);

	// Frame without its padding: 12 words and 64 counters.
	u64 frame_words = 4 + 8 + 64;
	char *context = memory(context_bytes, PROT_READ | PROT_WRITE);
	memcpy(context, bytes(8 * frame_words), 8 * frame_words);
	memcpy(context + draws_at, bytes(4 * 4096), 4 * 4096);
	arena = memory(arena_bytes, PROT_READ | PROT_WRITE);
	memcpy(arena, bytes(arena_bytes), arena_bytes);
	u64 *pointers = (u64 *)(arena + 4096);
	for (int n = 0; n < 512; n++)
		pointers[n] += (u64)arena;
	*(u64 *)(context + frame_bytes) = (u64)arena + nodes_at;
	*(u64 *)(context + frame_bytes + 8) = 3;

	calls = wrong_calls = 0;
	int right = 1;
	if (!call(code, context, arena, passes)) {
		printf("pass %d: a register is not given back\n", pass);
		right = 0;
	}
	if (calls != (held_at != 0) + (left != 0) || wrong_calls) {
		printf("pass %d: %d calls, %d wrong\n", pass, calls, wrong_calls);
		right = 0;
	}
	// Behind the frame: nodes, thread, left.
	if (*(u64 *)(context + frame_bytes + 16) != left) {
		printf("pass %d: another number of passes is left\n", pass);
		right = 0;
	}
	for (int n = 0; n < 512; n++)
		pointers[n] -= (u64)arena;
	u64 *expected = bytes(8 * frame_words), *found = (u64 *)context;
	for (int n = 0; n < 64; n++)
		if (apart >> n & 1)
			expected[12 + n] = found[12 + n] = 0;
	right &= same(pass, "private words", expected, found, frame_words);
	right &= same(pass, "arena", bytes(arena_bytes), (u64 *)arena, arena_bytes / 8);
	munmap(code, room);
	munmap(context, context_bytes);
	munmap(arena, arena_bytes);
	return right;
}

int main(int argc, char **argv)
{
	FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
	if (!file) {
		fprintf(stderr, "give a file of passes\n");
		return 3;
	}
	fseek(file, 0, SEEK_END);
	u64 size = ftell(file);
	rewind(file);
	u64 *all = malloc(size);
	if (!all || fread(all, 1, size, file) != size) {
		fprintf(stderr, "cannot read %s\n", argv[1]);
		return 3;
	}
	next_word = all;
	int passes = 0, agreed = 0;
	while (next_word < all + size / 8) {
		agreed += one_pass(passes);
		passes++;
	}
	printf("%d of %d passes agree with the interpreter\n", agreed, passes);
	return passes == 0 || agreed != passes;
}
