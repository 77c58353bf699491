//! Scenarios: which thread faults in which VMA, and who writes what meanwhile.
//!
//! Here: the registry. Each scenario is a file of its own that reads top to bottom as what its
//! threads do; `script` says what a scenario is. Not here: how the threads are driven
//! (`backend`, `sim`).

pub mod churn;
pub mod one_vma;
pub mod random_vma;
pub mod readers_writer;
pub mod rmap_neighbour;
pub mod script;
pub mod swap_in;
pub mod vma_per_thread;

use script::Script;

macro_rules! built_in {
    (($d:tt) $($variant:ident = $module:ident::$value:ident),* $(,)?) => {
        /// A scenario that comes with `hitm`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum BuiltIn {
            $($variant),*
        }

        impl BuiltIn {
            /// All built-in scenarios.
            pub const ALL: &[BuiltIn] = &[$(BuiltIn::$variant),*];

            /// Its name on the command line and in the CSV.
            pub fn name(self) -> &'static str {
                match self {
                    $(BuiltIn::$variant => <$module::$value as Script>::NAME),*
                }
            }

            /// One line: who does what.
            pub fn about(self) -> &'static str {
                match self {
                    $(BuiltIn::$variant => <$module::$value as Script>::ABOUT),*
                }
            }

            /// The fewest threads it makes sense with.
            pub fn min_threads(self) -> usize {
                match self {
                    $(BuiltIn::$variant => <$module::$value as Script>::MIN_THREADS),*
                }
            }
        }

        /// Evaluate an expression with a name bound to the scenario as a value of a type of its
        /// own.
        macro_rules! with_scenario {
            ($d scenario:expr, |$d name:ident| $d body:expr) => {
                match $d scenario {
                    $($crate::program::fault::scenario::BuiltIn::$variant => {
                        let $d name = $crate::program::fault::scenario::$module::$value;
                        $d body
                    })*
                }
            };
        }
        pub(super) use with_scenario;
    };
}

// One line a scenario: its name here, its file and its type there.
built_in! {
    ($)
    OneVma = one_vma::OneVma,
    VmaPerThread = vma_per_thread::VmaPerThread,
    RandomVma = random_vma::RandomVma,
    ReadersWriter = readers_writer::ReadersWriter,
    RmapNeighbour = rmap_neighbour::RmapNeighbour,
    SwapIn = swap_in::SwapIn,
    ChurnCallRcu = churn::CallRcu,
    ChurnTypesafe = churn::Typesafe,
}
