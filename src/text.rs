//! Types that are text at the edge, in files and on the terminal.
//!
//! Here: enums whose values are words (one list for printing, parsing and serde), serde for what
//! has `Display` and `FromStr`, and which names a layout may have. Not here: the types.

/// Names that begin so are kept for arms that are made from the baseline.
const RESERVED: &str = "baseline-";

/// Why no layout may have this name, if so. An `@`, which stands between the name and a kernel
/// configuration, is not looked for.
pub(crate) fn layout_name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("the name is empty");
    }
    if name.starts_with(RESERVED) {
        return Some("names that begin with baseline- are those of hitm's own arms");
    }
    if name.contains([',', '+', '%']) || name.contains(char::is_control) {
        return Some(
            "a name of a layout holds no comma, plus sign, per cent sign or control character",
        );
    }
    None
}

/// An enum of words: `ALL`, `name`, `Display`, `FromStr`, and serde as the word.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident as $what:literal {
        $($(#[$of:meta])* $variant:ident = $word:literal),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$of])* $variant),*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// Its word in files and on the terminal.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $word),*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::Error;

            fn from_str(text: &str) -> $crate::error::Result<$name> {
                let found = $name::ALL.iter().find(|one| one.name() == text);
                found.copied().ok_or_else(|| {
                    let names = $name::ALL.iter().map(|one| one.name());
                    $crate::error::Error::unknown($what, text, names)
                })
            }
        }

        $crate::text::serde_as_text!($name);
    };
}

/// Serde of types as their text.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(
                &self,
                to: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(
                from: D,
            ) -> std::result::Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use {serde_as_text, words};
