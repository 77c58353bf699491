//! Cases as programs: what their threads access, and what that comes to.

use hitm::case::Case;
use hitm::error::Result;
use hitm::program::fault::layouts::VmaLayout;
use hitm::program::fault::{self, scenario::BuiltIn};
use hitm::program::steps::StepsSpec;
use hitm::program::trace::{Access, trace};
use hitm::program::{Blueprint, Program, WithProgram};
use hitm::space::arena::Arena;
use std::sync::Arc;

/// The accesses of the first thread's second step: field, bytes, what is done.
struct Names;

impl WithProgram for Names {
    type Out = Vec<(String, usize, Access)>;

    fn call<P: Program>(self, program: P) -> Self::Out {
        let map = program.map();
        let once = trace(&program, 0, 1).len();
        let twice = trace(&program, 0, 2);
        let named = twice[once..].iter().map(|access| {
            let name = map.name(access.at);
            let field = name.rsplit(' ').next().unwrap().to_owned();
            (field, access.bytes, access.access)
        });
        named.collect()
    }
}

fn accesses<B: Blueprint>(spec: &B) -> Result<Vec<(String, usize, Access)>> {
    spec.with(Arena::new(spec.bytes())?, Names)
}

fn spec(case: &str, layout: &str, threads: usize) -> StepsSpec {
    let case = Arc::new(Case::load(case).unwrap());
    StepsSpec {
        layout: case.layout_number(layout).unwrap(),
        case,
        threads,
        first_slot: 0,
        seed: 1,
    }
}

#[test]
fn the_case_of_the_fault_path_accesses_what_the_compiled_path_does() {
    let compiled = VmaLayout::parse("embedded-refcount-192").unwrap();
    let compiled = fault::Spec::new(compiled, BuiltIn::OneVma, 2);
    let expected = accesses(&compiled).unwrap();
    assert_eq!(accesses(&spec("vma-fault", "6.15", 2)).unwrap(), expected);
}
