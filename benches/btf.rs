//! How long the running kernel's BTF takes: `index` (parsing it, and the name and size of every
//! struct), `dentry` (that and one layout), `all` (that and the layouts of all). The file is in
//! memory already. Without /sys/kernel/btf/vmlinux nothing is measured.

#[path = "support/config.rs"]
mod config;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use hitm::layout::{Btf, KERNEL_BTF};
use std::hint::black_box;

criterion_group! {
    name = benches;
    config = config::criterion("btf", 15, [300, 4000]);
    targets = btf
}
criterion_main!(benches);

fn btf(criterion: &mut Criterion) {
    let bytes = match std::fs::read(KERNEL_BTF) {
        Ok(bytes) => bytes,
        Err(why) => return eprintln!("hitm: nothing is measured: {KERNEL_BTF}: {why}"),
    };
    let mut group = criterion.benchmark_group("btf");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function("index", |bencher| {
        bencher.iter(|| {
            let btf = Btf::parse(&bytes, None).ok()?;
            let sizes = btf.structs().map(|(name, bytes)| name.len() as u64 + bytes);
            Some(black_box(sizes.sum::<u64>()))
        });
    });
    group.bench_function("dentry", |bencher| {
        bencher.iter(|| {
            let btf = Btf::parse(&bytes, None).ok()?;
            black_box(btf.struct_layout("dentry", KERNEL_BTF).ok())
        });
    });
    // A pass takes long: fewer samples, so that there are several passes in one.
    group.sample_size(10);
    group.bench_function("all", |bencher| {
        bencher.iter(|| {
            let btf = Btf::parse(&bytes, None).ok()?;
            Some(black_box(
                btf.layouts(KERNEL_BTF).filter(Result::is_ok).count(),
            ))
        });
    });
    group.finish();
}
