//! System calls that the kernel refuses to this thread and to what it starts.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// The errors that calls of counters are made to fail with.
pub const ERRNOS: [(i32, &str); 10] = [
    (libc::EPERM, "EPERM"),
    (libc::EACCES, "EACCES"),
    (libc::ENOENT, "ENOENT"),
    (libc::EIO, "EIO"),
    (libc::EINVAL, "EINVAL"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
];

/// From now on `call` fails with `errno`: always, or where the argument of that index has that
/// 32-bit value.
pub fn refuse(call: i64, argument: Option<(u8, u32)>, errno: i32) {
    let rule = |(index, value): (u8, u32)| {
        let (length, value) = (SeccompCmpArgLen::Dword, u64::from(value));
        let is_it = SeccompCondition::new(index, length, SeccompCmpOp::Eq, value).unwrap();
        SeccompRule::new(vec![is_it]).unwrap()
    };
    let filter = SeccompFilter::new(
        [(call, argument.map(rule).into_iter().collect())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}
