// The classes of conn-cc.elf.
namespace net {
struct Base { int x; char y; virtual void f() {} };
struct Other { int x; };
template <class T> class alignas(64) Conn : public Base, public Other {
public:
	T value;
	static int count;
	struct In { char c; } in;
	int &ref;
	bool flag : 1;
	Conn(int &r) : ref(r) {}
};
struct Virtual : virtual Base { int k; };
}

int zero;
net::Conn<long> conn(zero);
net::Virtual v;
