//! The house: which file of `src/` uses which, and that it is built from the bottom up.
//!
//! Read from the sources as text: `use` trees, and paths that begin with `crate`, `super` or a
//! module of the file's own. Code of unit tests does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rooms from the bottom: a file uses its own room and rooms below it, never one above.
const ROOMS: [&[&str]; 19] = [
    &["error", "text", "units"],
    &["space"],
    &["layout"],
    &["case"],
    &["stats"],
    &["machine"],
    &["counters"],
    &["prefetch"],
    &["program"],
    &["sim"],
    &["suggest"],
    &["experiment"],
    &["judge"],
    &["results"],
    &["backend"],
    &["calibrate"],
    &["report"],
    &["study"],
    &["commands"],
];

/// A module by its path from the crate: `["machine", "cpu"]`.
type Module = Vec<String>;

/// What one file says of other modules.
#[derive(Default)]
struct Source {
    /// Paths that it uses, from the crate.
    uses: Vec<Module>,
    /// Names that it brings in, for itself and the modules in it, and where they are from.
    imports: BTreeMap<String, Module>,
}

/// Every module of the crate but those of tests.
struct House(BTreeMap<Module, Source>);

impl House {
    fn read() -> House {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut texts = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let module = path.strip_prefix(&root).unwrap().with_extension("");
                    let mut module: Module =
                        module.iter().map(|s| s.to_str().unwrap().into()).collect();
                    let last = module.last().unwrap().as_str();
                    match last {
                        "main" | "tests" => continue,
                        "mod" | "lib" => drop(module.pop()),
                        _ => {}
                    }
                    texts.insert(module, std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let modules: BTreeSet<Module> = texts.keys().cloned().collect();
        let source = |(module, text): (Module, String)| {
            let source = Source::parse(&module, &text, &modules);
            (module, source)
        };
        House(texts.into_iter().map(source).collect())
    }

    /// The module that a path leads to, through names that are only brought in.
    fn resolve(&self, path: &[String]) -> Module {
        let depth = (0..=path.len())
            .rev()
            .find(|n| self.0.contains_key(&path[..*n]));
        let (module, rest) = path.split_at(depth.unwrap());
        match rest
            .first()
            .and_then(|name| self.0[module].imports.get(name))
        {
            Some(from) => self.resolve(from),
            None => module.to_vec(),
        }
    }

    /// Which module uses which.
    fn arrows(&self) -> BTreeSet<(String, String)> {
        let mut arrows = BTreeSet::new();
        for (from, source) in &self.0 {
            let targets = source.uses.iter().map(|path| self.resolve(path));
            for to in targets.filter(|to| to != from && !to.is_empty() && !from.is_empty()) {
                arrows.insert((from.join("::"), to.join("::")));
            }
        }
        arrows
    }
}

impl Source {
    fn parse(module: &[String], text: &str, modules: &BTreeSet<Module>) -> Source {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        let mut source = Source::default();
        let mut at = 0;
        while at < code.len() {
            let word = ident(&code[at..]);
            if word.is_empty() {
                at += code[at..].chars().next().unwrap().len_utf8();
                continue;
            }
            let inside = code[..at].ends_with("::");
            at += word.len();
            if inside || !code[at..].starts_with("::") {
                continue;
            }
            let mut child = module.to_vec();
            child.push(word.to_owned());
            let base = match word {
                "crate" => Vec::new(),
                "super" => module[..module.len() - 1].to_vec(),
                _ if modules.contains(&child) => child,
                _ => continue,
            };
            let mut found = Vec::new();
            let end = tree(&code[at + 2..], base, &mut found);
            if code[..at - word.len()].trim_end().ends_with("use") {
                let named = |path: &Module| (path.last().unwrap().clone(), path.clone());
                source.imports.extend(found.iter().map(named));
            }
            source.uses.extend(found);
            at += 2 + end;
        }
        source
    }
}

/// The identifier that `text` begins with.
fn ident(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The paths below `base` that `text` begins with, `{…}` spelled out; returns their length.
fn tree(text: &str, mut base: Module, found: &mut Vec<Module>) -> usize {
    let mut at = 0;
    loop {
        if text[at..].starts_with('{') {
            at += 1;
            while !text[at..].starts_with('}') {
                match ident(&text[at..]) {
                    "" => at += 1,
                    _ => at += tree(&text[at..], base.clone(), found),
                }
            }
            return at + 1;
        }
        match ident(&text[at..]) {
            "super" => drop(base.pop()),
            "self" => {}
            word => base.extend((!word.is_empty()).then(|| word.to_owned())),
        }
        at += ident(&text[at..]).len();
        if let Some(renamed) = text[at..].strip_prefix(" as ") {
            at += " as ".len() + ident(renamed).len();
        }
        if !text[at..].starts_with("::") {
            found.push(base);
            return at;
        }
        at += 2;
    }
}

fn arrows() -> BTreeSet<(String, String)> {
    House::read().arrows()
}

fn floor(module: &str) -> usize {
    let room = module.split("::").next().unwrap();
    let floor = ROOMS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("{room} has no place in the order of rooms"))
}

#[test]
fn no_room_uses_a_room_above_it() {
    let up = |(from, to): &(String, String)| floor(to) > floor(from);
    let upward: Vec<_> = arrows().into_iter().filter(up).collect();
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut uses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let arrows = arrows();
    for (from, to) in &arrows {
        uses.entry(from).or_default().push(to);
    }
    let leads_back = |(from, to): &&(String, String)| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![to.as_str()]);
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(uses.get(module).into_iter().flatten());
            }
        }
        seen.contains(from.as_str())
    };
    let circles: Vec<_> = arrows.iter().filter(leads_back).collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let modules = ["a", "a::b", "a::c", "d"].map(module).into();
    let text = "use crate::d::{self, X, y::{Z, W as V}};\nuse super::c::Q;\n// crate::no\n\
                pub use b::K;\nfn f() { b::g(); other::b::h(); crate::d::call(1) }\n\
                #[cfg(test)]\nmod tests {\n use crate::no::N; }";
    let mut found = Source::parse(&module("a"), text, &modules);
    found.uses.sort();
    let expected = [
        "a::b::K", "a::b::g", "c::Q", "d", "d::X", "d::call", "d::y::W", "d::y::Z",
    ];
    assert_eq!(found.uses, expected.map(module));
    assert_eq!(found.imports["K"], module("a::b::K"));
    assert_eq!(found.imports["W"], module("d::y::W"));
    assert_eq!(found.imports.get("g"), None);
}
