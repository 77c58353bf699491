//! BTF made by hand, in both byte orders, whole and damaged.

use super::*;
use crate::layout::{Bits, Member};

/// BTF as it is being written.
struct Writer {
    words: Vec<u32>,
    strings: Vec<u8>,
    strings_before: usize,
}

impl Writer {
    fn new() -> Writer {
        Writer {
            words: Vec::new(),
            strings: vec![0],
            strings_before: 0,
        }
    }

    /// What is split from a base.
    fn over(base: &Writer) -> Writer {
        Writer {
            words: Vec::new(),
            strings: Vec::new(),
            strings_before: base.strings.len(),
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings_before + self.strings.len();
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at as u32
    }

    /// A type: name, kind, count with the flag in bit 31, size or type, and what follows.
    fn add(&mut self, name: &str, kind: u32, count: u32, word: u32, rest: &[u32]) {
        let name = self.name(name);
        let info = kind << 24 | count;
        self.words.extend([name, info, word]);
        self.words.extend(rest);
    }

    fn int(&mut self, name: &str, bytes: u32) {
        self.add(name, INT, 0, bytes, &[bytes * 8]);
    }

    /// Members as name, type, and the word that says where.
    fn composite(&mut self, kind: u32, flag: u32, name: &str, bytes: u32, of: &[(&str, u32, u32)]) {
        let mut rest = Vec::new();
        for (name, of, place) in of {
            rest.extend([self.name(name), *of, *place]);
        }
        self.add(name, kind, flag << 31 | of.len() as u32, bytes, &rest);
    }

    fn bytes(&self, big_endian: bool) -> Vec<u8> {
        let length = 4 * self.words.len() as u32;
        let header = [HEADER as u32, 0, length, length, self.strings.len() as u32];
        let word = |word: u32| match big_endian {
            true => word.to_be_bytes(),
            false => word.to_le_bytes(),
        };
        let mark = match big_endian {
            true => MAGIC.to_be_bytes(),
            false => MAGIC.to_le_bytes(),
        };
        let mut bytes = [mark[0], mark[1], 1, 0].to_vec();
        bytes.extend(header.into_iter().flat_map(word));
        bytes.extend(self.words.iter().copied().flat_map(word));
        bytes.extend(&self.strings);
        bytes
    }
}

/// Of every kind one or more.
fn every_kind() -> Writer {
    let mut btf = Writer::new();
    btf.int("unsigned int", 4); // 1
    btf.int("char", 1); // 2
    btf.add("", PTR, 0, 4, &[]); // 3: const char *
    btf.add("", CONST, 0, 2, &[]); // 4
    btf.add("", ARRAY, 0, 0, &[2, 1, 10]); // 5: char[10]
    btf.add("", ARRAY, 0, 0, &[5, 1, 2]); // 6: char[2][10]
    btf.add("", ARRAY, 0, 0, &[2, 1, 0]); // 7: char[0]
    btf.composite(STRUCT, 0, "list", 16, &[("next", 9, 0), ("prev", 9, 64)]); // 8
    btf.add("", PTR, 0, 8, &[]); // 9: struct list *
    btf.composite(UNION, 0, "", 16, &[("node", 8, 0), ("key", 1, 0)]); // 10
    btf.add("", FUNC_PROTO, 2, 1, &[0, 9, 0, 0]); // 11: (struct list *, ...)
    btf.add("", PTR, 0, 11, &[]); // 12
    btf.add("state", ENUM64, 1, 8, &[0, 1, 1]); // 13
    btf.add("mode", ENUM, 1, 4, &[0, 1]); // 14
    btf.add("double", FLOAT, 0, 8, &[]); // 15
    btf.add("later", FWD, 0, 0, &[]); // 16
    btf.add("", PTR, 0, 18, &[]); // 17: struct later *, tagged
    btf.add("rcu", TYPE_TAG, 0, 16, &[]); // 18
    btf.add("count_t", TYPEDEF, 0, 20, &[]); // 19
    btf.add("", VOLATILE, 0, 1, &[]); // 20
    btf.add("", ARRAY, 0, 0, &[8, 1, 3]); // 21: struct list[3]
    btf.add("tag", DECL_TAG, 0, 22, &[0]); // 22: of what follows
    btf.add("", RESTRICT, 0, 9, &[]); // 23
    btf.add("f", FUNC, 0, 11, &[]); // 24
    btf.add("v", VAR, 0, 1, &[0]); // 25
    btf.add(".data", DATASEC, 1, 4, &[25, 0, 4]); // 26
    let bits = |count: u32, bit: u32| count << 24 | bit;
    btf.composite(
        STRUCT,
        1,
        "conn",
        232,
        &[
            ("flags", 1, 0),
            ("low", 1, bits(3, 32)),
            ("high", 1, bits(20, 35)),
            ("", 10, 64),
            ("__cacheline_group_begin__hot", 7, 192),
            ("name", 3, 192),
            ("pad", 6, 256),
            ("mode", 14, 416),
            ("state", 13, 448),
            ("ratio", 15, 512),
            ("call", 12, 576),
            ("later", 17, 640),
            ("count", 19, 704),
            ("__cacheline_group_end__hot", 7, 736),
            ("lists", 21, 768),
            ("self", 28, 1152),
            ("only", 23, 1216),
            ("small", 1, bits(4, 1280)),
            ("byte", 2, 1288),
            ("tail", 7, 1296),
        ],
    ); // 27
    btf.add("", PTR, 0, 27, &[]); // 28
    btf.composite(STRUCT, 0, "packed", 5, &[("c", 2, 0), ("i", 1, 8)]); // 29
    btf.add("conn_t", TYPEDEF, 0, 27, &[]); // 30
    btf
}

fn member<'l>(layout: &'l StructLayout, name: &str) -> &'l Member {
    let found = layout.member(name);
    found.unwrap_or_else(|| panic!("no member {name} of {:?}", layout.members))
}

#[test]
fn every_kind_is_read_in_both_byte_orders() {
    for big_endian in [false, true] {
        let bytes = every_kind().bytes(big_endian);
        let btf = Btf::parse(&bytes, None).unwrap();
        let layout = btf.struct_layout("conn", "a test").unwrap();
        let place = |name: &str| {
            let member = member(&layout, name);
            (member.offset, member.bytes, member.type_name.as_str())
        };
        assert_eq!((layout.bytes, layout.align), (232, 8));
        assert_eq!(layout.source, "a test");
        assert_eq!(place("flags"), (0, 4, "unsigned int"));
        assert_eq!(place("node"), (8, 16, "struct list"));
        assert_eq!(place("node.prev"), (16, 8, "struct list *"));
        assert_eq!(place("key"), (8, 4, "unsigned int"));
        assert_eq!(place("__cacheline_group_begin__hot"), (24, 0, "char[0]"));
        assert_eq!(place("name"), (24, 8, "const char *"));
        assert_eq!(place("pad"), (32, 20, "char[2][10]"));
        assert_eq!(
            (
                member(&layout, "pad").element,
                member(&layout, "pad").count()
            ),
            (1, 20)
        );
        assert_eq!(place("mode"), (52, 4, "enum mode"));
        assert_eq!(place("state"), (56, 8, "enum state"));
        assert_eq!(place("ratio"), (64, 8, "double"));
        assert_eq!(
            place("call"),
            (72, 8, "unsigned int (*)(struct list *, ...)")
        );
        assert_eq!(place("later"), (80, 8, "struct later *"));
        assert_eq!(place("count"), (88, 4, "count_t"));
        assert_eq!(place("lists"), (96, 48, "struct list[3]"));
        assert_eq!(place("lists[0].prev"), (104, 8, "struct list *"));
        assert_eq!(place("only"), (152, 8, "struct list *restrict"));
        assert_eq!(place("tail"), (162, 0, "char[0]"));
        assert_eq!(layout.holes(), [(7, 1), (92, 4), (162, 70)]);
        let union: Vec<&str> = layout
            .members
            .iter()
            .filter(|member| member.in_union)
            .map(|member| member.name.as_str())
            .collect();
        assert_eq!(union, ["node", "node.next", "key", "node.prev"]);
        assert!(member(&layout, "lists").aggregate && !member(&layout, "pad").aggregate);
        assert_eq!(member(&layout, "lists[0].prev").depth, 1);
        let typedef = btf.struct_layout("conn_t", "a test").unwrap();
        assert_eq!(typedef.members, layout.members);
    }
}

#[test]
fn a_bit_field_lies_in_its_storage_unit_but_never_in_another_member() {
    let bytes = every_kind().bytes(false);
    let btf = Btf::parse(&bytes, None).unwrap();
    let layout = btf.struct_layout("struct conn", "").unwrap();
    let bits = |name: &str| {
        let member = member(&layout, name);
        (member.offset, member.bytes, member.bits.unwrap())
    };
    assert_eq!(bits("low"), (4, 4, Bits { first: 0, count: 3 }));
    assert_eq!(
        bits("high"),
        (
            4,
            4,
            Bits {
                first: 3,
                count: 20
            }
        )
    );
    // `byte` lies in the unit of four bytes that `small` is declared with.
    assert_eq!(bits("small"), (160, 1, Bits { first: 0, count: 4 }));

    // The same bits in memory order: 35 to 54 are the lower ones of bytes 4, 5, 6.
    let bytes = every_kind().bytes(true);
    let btf = Btf::parse(&bytes, None).unwrap();
    let layout = btf.struct_layout("conn", "").unwrap();
    let high = member(&layout, "high");
    let bits = Bits {
        first: 1,
        count: 20,
    };
    assert_eq!((high.offset, high.bytes, high.bits), (4, 3, Some(bits)));
}

#[test]
fn a_bit_field_of_old_btf_has_its_bits_in_the_type() {
    let mut btf = Writer::new();
    btf.add("unsigned int", INT, 0, 4, &[5 << 16 | 3]);
    btf.composite(STRUCT, 0, "s", 4, &[("b", 1, 0)]);
    let bytes = btf.bytes(false);
    let layout = Btf::parse(&bytes, None)
        .unwrap()
        .struct_layout("s", "")
        .unwrap();
    let bits = Some(Bits { first: 5, count: 3 });
    assert_eq!((layout.members[0].bytes, layout.members[0].bits), (4, bits));
}

#[test]
fn a_packed_struct_has_no_alignment() {
    let bytes = every_kind().bytes(false);
    let btf = Btf::parse(&bytes, None).unwrap();
    let layout = btf.struct_layout("packed", "").unwrap();
    assert_eq!((layout.bytes, layout.align), (5, 1));
}

#[test]
fn split_btf_is_read_over_its_base() {
    let base = every_kind();
    let mut module = Writer::over(&base);
    // Ids go on after the 30 of the base.
    module.composite(
        STRUCT,
        0,
        "device",
        248,
        &[("conn", 27, 0), ("list", 32, 1856)],
    ); // 31
    module.add("list_t", TYPEDEF, 0, 8, &[]); // 32
    let (base, module) = (base.bytes(false), module.bytes(false));
    let why = Btf::parse(&module, None).err().unwrap().to_string();
    assert!(why.contains("--btf-base"), "{why}");
    let base = Btf::parse(&base, None).unwrap();
    let btf = Btf::parse(&module, Some(&base)).unwrap();
    let layout = btf.struct_layout("device", "").unwrap();
    assert_eq!(member(&layout, "conn.lists[0].prev").offset, 104);
    assert_eq!(member(&layout, "list.next").offset, 232);
    assert_eq!(btf.structs().collect::<Vec<_>>(), [("device", 248)]);
    assert!(btf.has("conn"), "the base's structs are found as well");
}

#[test]
fn an_unknown_struct_is_answered_with_the_nearest_names() {
    let bytes = every_kind().bytes(false);
    let btf = Btf::parse(&bytes, None).unwrap();
    let why = btf.struct_layout("con", "").unwrap_err().to_string();
    assert!(why.contains("'con'") && why.contains("conn"), "{why}");
}

/// What a hostile file can be made of ends with an error, soon.
#[test]
fn circles_and_explosions_are_refused() {
    let refused = |btf: &Writer| {
        let bytes = btf.bytes(false);
        let btf = Btf::parse(&bytes, None).unwrap();
        btf.struct_layout("s", "").unwrap_err().to_string()
    };
    let mut circle = Writer::new();
    circle.composite(STRUCT, 0, "s", 8, &[("a", 2, 0)]);
    circle.add("t", TYPEDEF, 0, 3, &[]);
    circle.add("", CONST, 0, 2, &[]);
    assert!(refused(&circle).contains("circle"));

    let mut array = Writer::new();
    array.composite(STRUCT, 0, "s", 8, &[("a", 2, 0)]);
    array.add("", ARRAY, 0, 0, &[2, 2, 1]);
    assert!(refused(&array).contains("circle"));

    let mut own = Writer::new();
    own.composite(STRUCT, 0, "s", 8, &[("", 1, 0)]);
    assert!(refused(&own).contains("circle"));

    let mut function = Writer::new();
    function.composite(STRUCT, 0, "s", 8, &[("a", 2, 0)]);
    function.add("", PTR, 0, 3, &[]);
    function.add("", FUNC_PROTO, 3, 2, &[0, 2, 0, 2, 0, 2]);
    let bytes = function.bytes(false);
    let layout = Btf::parse(&bytes, None)
        .unwrap()
        .struct_layout("s", "")
        .unwrap();
    assert!(layout.members[0].type_name.len() < 1000);

    // Each level has eight of the next: 8 to the 20th members.
    let mut many = Writer::new();
    for level in 0..20 {
        let of = [("m", level + 2, 0); 8];
        many.composite(UNION, 0, if level == 0 { "s" } else { "" }, 8, &of);
    }
    many.int("int", 4);
    assert!(refused(&many).contains("more than"));

    let mut large = Writer::new();
    large.composite(STRUCT, 0, "s", 8, &[("a", 2, 0)]);
    large.add("", ARRAY, 0, 0, &[3, 1, u32::MAX]);
    large.add("", ARRAY, 0, 0, &[4, 1, u32::MAX]);
    large.add("", ARRAY, 0, 0, &[5, 1, u32::MAX]);
    large.int("int", 4);
    assert!(refused(&large).contains("memory"));

    let mut outside = Writer::new();
    outside.composite(STRUCT, 0, "s", 4, &[("a", 2, 8)]);
    outside.int("int", 4);
    assert!(refused(&outside).contains("does not lie in"));

    let mut void = Writer::new();
    void.composite(STRUCT, 0, "s", 4, &[("a", 0, 0)]);
    assert!(refused(&void).contains("_Atomic"));
}

#[test]
fn damaged_btf_is_an_error_and_no_panic() {
    let look = |bytes: &[u8]| {
        let Ok(btf) = Btf::parse(bytes, None) else {
            return;
        };
        let _ = btf.struct_layout("conn", "");
        let _ = btf.structs().count();
        let _ = btf.layouts("").filter(Result::is_ok).count();
    };
    for big_endian in [false, true] {
        let whole = every_kind().bytes(big_endian);
        for length in 0..whole.len() {
            look(&whole[..length]);
            assert!(
                Btf::parse(&whole[..length], None).is_err(),
                "{length} bytes"
            );
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= [0xff, 0x80, 0x01][at % 3];
            look(&damaged);
        }
    }
}
