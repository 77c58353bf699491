//! What the documentation shows is true of the program: its cases parse, its commands exist.

use assert_cmd::Command;
use hitm::case::Case;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page that people read.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("METHODOLOGY.md")];
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|of| of == "md")));
    pages
}

/// Name and text of each case in a page: a block of TOML below the comment `<!-- case NAME -->`.
fn cases(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("<!-- case ").skip(1).map(|block| {
        let (name, rest) = block.split_once(" -->\n```toml\n").unwrap();
        (name, rest.split_once("```\n").unwrap().0)
    });
    blocks.collect()
}

/// Subcommands that the help of `hitm ARGS` lists.
fn subcommands(args: &[&str]) -> BTreeSet<String> {
    let mut hitm = Command::cargo_bin("hitm").unwrap();
    let output = hitm.args(args).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let listed = help.split("Commands:\n").nth(1).unwrap_or("");
    let lines = listed.lines().take_while(|line| !line.is_empty());
    // Names stand two blanks from the left; what they mean may run over several lines.
    let names = lines.filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' '));
    let names = names.filter_map(|line| line.split(' ').next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn cases_in_the_documentation_are_cases() {
    let mut found = 0;
    for page in pages() {
        for (name, text) in cases(&read(&page)) {
            Case::parse(name, text).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
            found += 1;
        }
    }
    assert!(found > 0);
}

#[test]
fn the_tutorials_case_keeps_its_rules_where_the_tutorial_says_so() {
    let path = root().join("docs/examples/dentry-lockref.toml");
    let case = Case::load(path.to_str().unwrap()).unwrap();
    let keeps = |layout: &str| {
        let checks = case.check(case.layout(layout).unwrap(), 16).unwrap();
        checks.iter().all(|check| check.breach.is_none())
    };
    assert!(keeps("as-built"));
    assert!(!keeps("before"));
}

#[test]
fn the_readme_names_every_command_and_no_other() {
    let readme = read(&root().join("README.md"));
    let commands = subcommands(&[]);
    assert!(commands.contains("run"), "{commands:?}");
    for command in &commands {
        assert!(readme.contains(&format!("`hitm {command}")), "{command}");
    }
    for group in ["case", "layout"] {
        for command in subcommands(&[group]) {
            let command = format!("`hitm {group} {command}");
            assert!(readme.contains(&command), "{command}");
        }
    }
    for page in pages() {
        for named in read(&page).split("`hitm ").skip(1) {
            let word: String = named.chars().take_while(char::is_ascii_lowercase).collect();
            let is_known = word.is_empty() || commands.contains(&word);
            assert!(is_known, "{}: hitm {word}", page.display());
        }
    }
}
