//! Names of types as C writes them: `struct list_head *`, `char[40]`, `int (*)(void *)`.

use super::types::{Composite, DEEPEST, Name, Type, Types};
use crate::error::Result;

/// Bytes of a name; what is longer is cut, and ends with `…`.
const LONGEST: usize = 400;

/// The name of the type, `void` for none.
pub fn type_name<T: Types>(types: &T, id: Option<T::Id>) -> Result<String> {
    named(types, id, 0)
}

/// C writes a type around what is declared: pointers before it, arrays and functions after it,
/// and what the innermost of them leads to in front of all.
fn named<T: Types>(types: &T, id: Option<T::Id>, nested: usize) -> Result<String> {
    let (mut next, mut declared) = (id, String::new());
    // Qualifiers that wait for the pointer or the name that they belong to.
    let mut qualifiers: Vec<&str> = Vec::new();
    let mut after_pointer = false;
    for _ in 0..DEEPEST {
        if declared.len() > LONGEST {
            break;
        }
        let Some(id) = next else {
            return Ok(joined(&qualifiers, "void", &declared));
        };
        let of = types.get(id)?;
        if after_pointer && matches!(of, Type::Array { .. } | Type::Function { .. }) {
            declared = format!("({declared})");
        }
        after_pointer &= matches!(
            &of,
            Type::Alias {
                name: Name::Qualifier(_),
                ..
            }
        );
        match of {
            Type::Scalar { name, .. }
            | Type::Incomplete { name }
            | Type::Alias {
                name: Name::Typedef(name),
                ..
            } => {
                return Ok(joined(&qualifiers, &name, &declared));
            }
            Type::Composite(Composite { name, union, .. }) => {
                let name = match (name.as_str(), union) {
                    ("", true) => "union",
                    ("", false) => "struct",
                    (name, _) => name,
                };
                return Ok(joined(&qualifiers, name, &declared));
            }
            Type::Alias {
                name: Name::Qualifier(word),
                to,
            } => {
                if !word.is_empty() && !qualifiers.contains(&word) {
                    qualifiers.push(word);
                }
                next = to;
            }
            Type::Pointer { to, mark, .. } => {
                let own = qualifiers.join(" ");
                let blank = match own.is_empty() || declared.is_empty() {
                    true => "",
                    false => " ",
                };
                declared = format!("{mark}{own}{blank}{declared}");
                qualifiers.clear();
                after_pointer = true;
                next = to;
            }
            Type::Array { element, count } => {
                declared.push_str(&format!("[{count}]"));
                next = Some(element);
            }
            Type::Function {
                returns,
                parameters,
                more,
            } => {
                declared.push('(');
                declared.push_str(&list(types, &parameters, more, nested)?);
                declared.push(')');
                next = returns;
            }
        }
    }
    Ok(joined(&qualifiers, "…", &declared))
}

/// The parameters of a function.
fn list<T: Types>(
    types: &T,
    parameters: &[Option<T::Id>],
    more: bool,
    nested: usize,
) -> Result<String> {
    if parameters.is_empty() && !more {
        return Ok("void".to_owned());
    }
    let mut text = String::new();
    for parameter in parameters {
        if !text.is_empty() {
            text.push_str(", ");
        }
        if nested == 4 || text.len() > LONGEST {
            text.push('…');
            return Ok(text);
        }
        text.push_str(&named(types, *parameter, nested + 1)?);
    }
    if more {
        text.push_str(if text.is_empty() { "..." } else { ", ..." });
    }
    Ok(text)
}

fn joined(qualifiers: &[&str], name: &str, declared: &str) -> String {
    let mut text = String::new();
    for word in qualifiers {
        text.push_str(word);
        text.push(' ');
    }
    text.push_str(name);
    if !declared.is_empty() && !declared.starts_with('[') {
        text.push(' ');
    }
    text.push_str(declared);
    if text.len() > LONGEST {
        let cut = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
        text.push('…');
    }
    text
}
