//! The case of a run, as `environment.json` keeps it: its whole text, so that the run can go on
//! where the file has gone or changed.

use super::content_hash;
use crate::case::Case;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A case with the text that it was read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CaseText", into = "CaseText")]
pub struct CaseFile(Arc<Case>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: String,
    /// FNV-1a of the text, 64 bits, in hexadecimal.
    hash: String,
    text: String,
}

impl CaseFile {
    /// Of a case that was read.
    pub fn new(case: Case) -> CaseFile {
        CaseFile(Arc::new(case))
    }

    /// The case.
    pub fn get(&self) -> &Arc<Case> {
        &self.0
    }
}

impl From<CaseFile> for CaseText {
    fn from(CaseFile(case): CaseFile) -> CaseText {
        CaseText {
            name: case.name.clone(),
            hash: format!("{:016x}", content_hash(&case.text)),
            text: case.text.clone(),
        }
    }
}

impl TryFrom<CaseText> for CaseFile {
    type Error = Error;

    fn try_from(file: CaseText) -> Result<CaseFile> {
        if format!("{:016x}", content_hash(&file.text)) != file.hash {
            return Err(Error::Input(format!(
                "the text of case {} is not the one that its hash was made of",
                file.name
            )));
        }
        Case::parse(&file.name, &file.text).map(CaseFile::new)
    }
}
