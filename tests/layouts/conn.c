/* The struct of the files made by `make-files`; pahole.txt is `pahole -C conn` of it without _Atomic. */
#include <stdatomic.h>

struct lock { int val; };

struct conn {
	atomic_int refs;
	unsigned int flags;
	const char *name;
	unsigned char state:3, dirty:1;
	_Alignas(64) atomic_long bytes;
	union { int a; void *p; } u;
	struct { int x, y; };
	char pad[2][10];
	int (*cb)(struct conn *, int);
	struct lock locks[2];
	unsigned int w:5;
	unsigned long z:40;
	struct later *later;
	char tail[];
};

typedef struct { short s; } anon_t;

struct __attribute__((packed)) packed { char c; int i; unsigned b:3, d:30; char e; };

struct conn *conn;
anon_t anon;
struct packed packed;
