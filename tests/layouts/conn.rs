// The types of conn-rs.o.
#![no_std]

pub enum Kind { A(u32), B { x: u64, y: u8 }, C }
pub struct Gen<T>(pub T, pub [u16; 5]);
pub struct Conn { pub refs: core::sync::atomic::AtomicU32, pub kind: Kind, pub generic: Gen<u64>, pub next: Option<&'static Conn> }
#[unsafe(no_mangle)]
pub static mut CONN: Option<Conn> = None;
